//! Creating operations.
//!
//! ```text
//! check ─ lineage ─ key reserved? ─ broker takes messages? ─ store ─ publish ─ answer
//! ```
//!
//! Once it is stored, an operation is in the outbox and will reach the
//! broker whatever happens to this process; so a publish that fails after that
//! is no failure of the create. A broker that reports beforehand that it takes
//! nothing is a failure: better to push back than to fill the store.

mod create_batcher;
mod many;

use std::time::Duration;

use drumline_api::{CreateOperation, FieldError, Invalid};
use drumline_backend::broker::Trouble;
use drumline_backend::store::{self, Created, NewOperation, Stamp};
use drumline_protocol::message::{Offer, Route, Source};
use drumline_protocol::operation::{first_header, series_header};
use drumline_protocol::{
    Body, ChainKey, Operation, OperationId, QueueName, Report, Rules, TokenPolicy,
};
use drumline_telemetry::current_context;
use tokio::time::timeout;
use tracing::{Instrument, Span, field, info_span};
use uuid::Uuid;

pub(in crate::service) use create_batcher::CreateBatcher;
pub(in crate::service) use many::{OnFault, Plan};

use super::series::no_time;
use super::{Actor, QueueManager};
use crate::error::{Error, Result};
use crate::options::GRAMMAR;
use crate::recurrence;

/// The time that a create waits for the broker's confirm. The operation is
/// stored by then, and the outbox holds it; waiting only keeps producers
/// from being faster than the broker.
const ANSWERED_AFTER: Duration = Duration::from_secs(2);

/// The result of a create.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The operation: as it was created, or, if the idempotency key was used
    /// before, as it is now.
    pub operation: Operation,
    /// True if this call created the operation.
    pub is_new: bool,
}

/// The position of an operation among those that belong together.
#[derive(Clone, Copy, Debug)]
struct Lineage {
    /// The number of operations above it.
    depth: u32,
    /// The correlation id of the group, and of the operation too unless it
    /// names another.
    correlation_id: Option<Uuid>,
}

impl Lineage {
    /// The lineage of an operation that no handler creates.
    const TOP: Self = Self {
        depth: 0,
        correlation_id: None,
    };

    /// The lineage of an operation, as a caller may know it. An operation of
    /// another tenant does not exist for the caller, and not even its depth is
    /// reported.
    fn of(operation: &Operation, actor: &Actor) -> Option<Self> {
        let body = &operation.body;
        let is_ours = body.organization == actor.organization;
        is_ours.then_some(Self {
            depth: body.depth,
            correlation_id: Some(body.correlation_id),
        })
    }
}

impl QueueManager {
    /// Creates an operation and offers it to the workers.
    ///
    /// With an idempotency `key`, a repetition gets the operation of the first
    /// call, also when both run at the same time, on different managers.
    ///
    /// If the future is dropped, the operation may or may not have been
    /// created.
    ///
    /// # Errors
    /// When the request breaks a rule, the key was used for another request, or
    /// the store or the broker is unavailable.
    pub async fn create(
        &self,
        actor: &Actor,
        request: CreateOperation,
        key: Option<&str>,
    ) -> Result<Creation> {
        let span = create_span(&request);
        let created = async {
            self.accept(&request)?;
            let lineage = self.lineage(actor, &request).await?;
            let mut id = self.fresh_id(actor, &request);
            if let Some(key) = key {
                let fresh = id;
                id = self.reserve(actor, key, &request, id).await?;
                if id != fresh {
                    if let Some(operation) = self.look(id).await? {
                        return Ok(self.repeated(operation));
                    }
                    self.refuse_removed(id).await?;
                }
            }
            self.comes_due(&request)?;
            self.shared.backend.broker.check()?;
            self.check_queue(&request.queue)?;
            let new = self.plan(actor, request, id, lineage);
            match self.store_one(&new).await? {
                Some(Created::New { sequence, offer }) => {
                    let operation = stored_as(new, sequence);
                    self.announce(&operation, offer).await;
                    let is_new = true;
                    Ok(Creation { operation, is_new })
                }
                // Only the key can have led two requests to one id.
                Some(Created::Exists(operation)) if key.is_some() => Ok(self.repeated(*operation)),
                Some(Created::Exists(_)) => Err(Error::Internal(format!("the id {id} came twice"))),
                None => Err(no_answer()),
            }
        };
        created.instrument(span).await
    }

    /// Stores an operation together with those that other callers create now.
    async fn store_one(&self, new: &NewOperation) -> store::Result<Option<Created>> {
        if let Some(created) = self.shared.creates.create(new.clone()).await {
            return created.map(Some);
        }
        // The manager is closed, or the store is slow or unavailable. Whatever
        // came of the first try, a repetition recognises it.
        let stored = self.store().create(vec![new.clone()]).await?;
        Ok(stored.into_iter().next())
    }

    /// The answer for a key that was used before.
    fn repeated(&self, operation: Operation) -> Creation {
        self.metrics().creates_repeated.inc();
        let is_new = false;
        Creation { operation, is_new }
    }

    /// Returns an error if the request breaks a rule, including the rules of
    /// this deployment.
    fn accept(&self, request: &CreateOperation) -> Result<()> {
        request.check(&GRAMMAR)?;
        let url = request.webhook_url.as_deref();
        match url.and_then(|url| self.options().webhooks.objection(url)) {
            Some(why) => Err(Invalid::arguments(vec![FieldError::new("webhookUrl", why)]).into()),
            None => Ok(()),
        }
    }

    /// Refuses a pool of workers whose work queue the broker refuses to
    /// declare, as this manager has found itself. Such a queue is set up
    /// wrongly: its operations go round it, and an operator is to be notified
    /// before there are more.
    fn check_queue(&self, queue: &QueueName) -> Result<()> {
        let work = Route {
            queue: queue.clone(),
            source: Source::Work,
        };
        match self.shared.bypass.own_trouble(&work) {
            Some(Trouble::Refused(why)) => Err(Error::QueueUnusable {
                queue: queue.clone(),
                why,
            }),
            Some(Trouble::Silent | Trouble::Unconsumable | Trouble::ConsumerRefused(_)) | None => {
                Ok(())
            }
        }
    }

    /// Returns an error if a recurring request has no time that is still to
    /// come. Operations that were created before are not checked: a repetition
    /// may come when all times are over.
    fn comes_due(&self, request: &CreateOperation) -> Result<()> {
        let Some(pattern) = &request.recurrence_pattern else {
            return Ok(());
        };
        let now = self.store().now();
        match recurrence::begin(pattern, request.recurrence_start_time, now) {
            (_, Some(_first)) => Ok(()),
            (_, None) => Err(no_time("recurrencePattern").into()),
        }
    }

    /// The lineage of the operation, below the one whose handler creates it.
    async fn lineage(&self, actor: &Actor, request: &CreateOperation) -> Result<Lineage> {
        let Some(parent) = parent_of(request) else {
            return Ok(Lineage::TOP);
        };
        let parent = self.look(parent).await?;
        self.lineage_below(parent.and_then(|parent| Lineage::of(&parent, actor)))
    }

    /// The lineage of an operation below a parent at this lineage. An operation
    /// without a parent, or with a foreign one, is at the top.
    fn lineage_below(&self, parent: Option<Lineage>) -> Result<Lineage> {
        let Some(parent) = parent else {
            return Ok(Lineage::TOP);
        };
        let depth = parent.depth.saturating_add(1);
        let limit = self.options().limits.depth;
        if depth > limit {
            return Err(Error::TooDeep { depth, limit });
        }
        Ok(Lineage { depth, ..parent })
    }

    fn fresh_id(&self, actor: &Actor, request: &CreateOperation) -> OperationId {
        let partition = self.shared.partitions.choose(chain(actor, request));
        self.ids().operation(self.store().now(), partition)
    }

    /// The operation to store. Its trace goes on from the current span.
    fn plan(
        &self,
        actor: &Actor,
        request: CreateOperation,
        id: OperationId,
        lineage: Lineage,
    ) -> NewOperation {
        Span::current().record("messaging.message.id", field::display(id));
        let now = self.store().now();
        let rules = Rules {
            operation_type: request.operation_type,
            // A series waits in no chain: its occurrences do.
            chain: chain(actor, &request).filter(|_| request.recurrence_pattern.is_none()),
            token_policy: self.token_policy(&request),
            transient: !request.retain_job_history,
            webhook: request.webhook_url.is_some(),
            at_most_once: request.at_most_once,
            retry: request.retry,
        };
        let commit = self.ids().commit();
        let header = match &request.recurrence_pattern {
            None => first_header(rules, request.postpone_until, commit, now),
            Some(pattern) => {
                let start = request.recurrence_start_time;
                let (recurrence, first) = recurrence::begin(pattern, start, now);
                // The rule still had a time a moment ago, when the request was
                // accepted.
                let first = first.unwrap_or(now);
                series_header(rules, recurrence, Some(first), commit, now)
            }
        };
        NewOperation {
            id,
            header,
            body: Body {
                name: request.name,
                message_name: request.message_name,
                queue: request.queue,
                dependency_token: request.dependency_token,
                data: request.data,
                correlation_id: request
                    .correlation_id
                    .or(lineage.correlation_id)
                    .unwrap_or_else(|| self.ids().uuid()),
                request_id: request.request_id,
                parent_id: request.parent_id,
                depth: lineage.depth,
                primary_entity_type: request.primary_entity_type,
                regarding_object_id: request.regarding_object_id,
                organization: actor.organization.clone(),
                owner: actor.caller.clone(),
                created_on: now,
                retain_job_history: request.retain_job_history,
                webhook_url: request.webhook_url,
                trace: current_context(),
            },
        }
    }

    /// The token policy of a new operation. The deployment's default is about
    /// tokens: asynchronous requests have none, and a failed one must not stop
    /// all others of its organization.
    fn token_policy(&self, request: &CreateOperation) -> TokenPolicy {
        if request.in_order_of_requests {
            return TokenPolicy::Continue;
        }
        request.token_policy.unwrap_or(self.options().token_policy)
    }

    /// Publishes a new operation, if it may run at all yet.
    async fn announce(&self, operation: &Operation, offer: Option<Stamp>) {
        self.metrics().created.inc();
        let Some(stamp) = offer else {
            return;
        };
        let queue = &operation.body.queue;
        let span = info_span!(
            "send",
            otel.name = %format_args!("send {queue}"),
            otel.kind = "client",
            messaging.system = "drumline",
            messaging.operation.type = "send",
            messaging.operation.name = "send",
            messaging.destination.name = %queue,
            messaging.message.id = %operation.id,
        );
        let published = self.dispatcher().publish(operation, stamp).instrument(span);
        match timeout(ANSWERED_AFTER, published).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                self.metrics().left_to_relay.inc();
                tracing::debug!(id = %operation.id, %error, "stored, and left to the relay");
            }
            Err(_elapsed) => {
                self.metrics().left_to_relay.inc();
                tracing::debug!(id = %operation.id, "stored, and not confirmed yet");
            }
        }
    }

    /// Publishes new operations that may run, as many as there are.
    async fn announce_all(&self, offers: Vec<(Offer, Stamp)>) {
        let count = offers.len();
        let span = info_span!(
            "send",
            otel.name = "send batch",
            otel.kind = "client",
            messaging.system = "drumline",
            messaging.operation.type = "send",
            messaging.operation.name = "send",
            messaging.batch.message_count = count,
        );
        let published = self.dispatcher().publish_all(offers).instrument(span);
        let left = match timeout(ANSWERED_AFTER, published).await {
            Ok(answers) => answers.iter().filter(|answer| answer.is_err()).count(),
            Err(_elapsed) => count,
        };
        if left > 0 {
            self.metrics().left_to_relay.inc_by(left as u64);
            tracing::debug!(left, count, "stored, and left to the relay");
        }
    }
}

/// The span of one create, which the processing span will be linked to.
fn create_span(request: &CreateOperation) -> Span {
    let queue = &request.queue;
    info_span!(
        "create",
        otel.name = %format_args!("create {queue}"),
        otel.kind = "producer",
        messaging.system = "drumline",
        messaging.operation.type = "create",
        messaging.operation.name = "create",
        messaging.destination.name = %queue,
        messaging.message.id = field::Empty,
    )
}

/// The operation whose handler creates the new one, if it is an operation of
/// this service.
fn parent_of(request: &CreateOperation) -> Option<OperationId> {
    OperationId::from_bytes(request.parent_id?.into_bytes())
}

fn chain(actor: &Actor, request: &CreateOperation) -> Option<ChainKey> {
    if request.in_order_of_requests {
        return Some(ChainKey::of_requests(&actor.organization));
    }
    let token = request.dependency_token.as_ref()?;
    Some(ChainKey::new(&actor.organization, token))
}

pub(crate) fn stored_as(new: NewOperation, sequence: u64) -> Operation {
    Operation {
        id: new.id,
        header: new.header,
        body: new.body,
        report: Report::default(),
        sequence,
    }
}

fn no_answer() -> Error {
    Error::Store(unavailable("the store gave no answer"))
}

fn unavailable(message: &str) -> store::Error {
    store::Error::Unavailable {
        message: message.to_owned(),
        source: None,
    }
}

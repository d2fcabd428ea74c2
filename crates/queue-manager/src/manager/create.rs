//! Creating operations.
//!
//! ```text
//! check ─ place ─ key reserved? ─ broker takes messages? ─ store ─ publish ─ answer
//! ```
//!
//! Once it is stored, an operation is in the dispatch set and will reach the
//! broker whatever happens to this process; so a publish that fails after that
//! is no failure of the create. A broker that says beforehand that it takes
//! nothing is: better to push back than to fill the store.

mod gathered;
mod many;

use std::time::Duration;

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

pub(in crate::manager) use gathered::Gathered;
pub(in crate::manager) use many::{OnFault, Plan};

use super::series::no_time;
use super::{Caller, QueueManager};
use crate::error::{Error, Invalid, Result, Wrong};
use crate::request::{CreateRequest, Recurring};

/// The time that a create waits for the broker's confirm. It is stored by then, and
/// the dispatch set holds it; waiting only keeps producers from being faster than
/// the broker.
const ANSWERED_AFTER: Duration = Duration::from_secs(2);

/// What became of a create.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The operation: as it was created, or, where the idempotency key was
    /// used before, as it is now.
    pub operation: Operation,
    /// Whether it was created by this call.
    pub is_new: bool,
}

/// Where an operation is among those that belong together.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// How many operations are above it.
    depth: u32,
    /// What they are known by, and it too unless it says something else.
    correlation_id: Option<Uuid>,
}

impl Place {
    /// No handler creates it.
    const TOP: Self = Self {
        depth: 0,
        correlation_id: None,
    };

    /// Where an operation is, as a caller may know it: another tenant's does
    /// not exist for it, and not even its depth is told.
    fn of(operation: &Operation, caller: &Caller) -> Option<Self> {
        let body = &operation.body;
        let is_ours = body.organization == caller.organization;
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
    /// Dropping the future leaves it open whether the operation was created.
    ///
    /// # Errors
    /// When the request breaks a rule, the key was used for another, or the
    /// store or the broker are away.
    pub async fn create(
        &self,
        caller: &Caller,
        request: CreateRequest,
        key: Option<&str>,
    ) -> Result<Creation> {
        let span = create_span(&request);
        let created = async {
            self.accept(&request)?;
            let place = self.place(caller, &request).await?;
            let mut id = self.fresh_id(caller, &request);
            if let Some(key) = key {
                let fresh = id;
                id = self.reserve(caller, key, &request, id).await?;
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
            let new = self.plan(caller, request, id, place);
            match self.store_one(&new).await? {
                Some(Created::New { sequence, offer }) => {
                    let operation = stored_as(new, sequence);
                    self.announce(&operation, offer).await;
                    let is_new = true;
                    Ok(Creation { operation, is_new })
                }
                // Only the key can have led two of us to one id.
                Some(Created::Exists(operation)) if key.is_some() => Ok(self.repeated(*operation)),
                Some(Created::Exists(_)) => Err(Error::Internal(format!("the id {id} came twice"))),
                None => Err(no_answer()),
            }
        };
        created.instrument(span).await
    }

    /// Stores an operation together with what others create now.
    async fn store_one(&self, new: &NewOperation) -> store::Result<Option<Created>> {
        if let Some(created) = self.shared.gathered.create(new.clone()).await {
            return created.map(Some);
        }
        // A manager that is closed, or a store that is slow or away. Whatever
        // became of the first try, a repetition recognises it.
        let stored = self.store().create(vec![new.clone()]).await?;
        Ok(stored.into_iter().next())
    }

    /// The answer where the key was used before.
    fn repeated(&self, operation: Operation) -> Creation {
        self.metrics().creates_repeated.inc();
        let is_new = false;
        Creation { operation, is_new }
    }

    /// Whether the request keeps the rules, those of this deployment too.
    fn accept(&self, request: &CreateRequest) -> Result<()> {
        request.check()?;
        let url = request.webhook_url.as_deref();
        match url.and_then(|url| self.options().webhooks.objection(url)) {
            Some(why) => Err(Invalid::arguments(vec![Wrong::new("webhookUrl", why)]).into()),
            None => Ok(()),
        }
    }

    /// Refuses a pool of workers whose work queue the broker refuses to declare,
    /// as this manager has found itself. Such a queue is set up wrongly: its
    /// operations go round it, and an operator is to hear of it before there are
    /// more.
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

    /// Whether it is still to have a time, where it recurs. Not asked of what
    /// was created before: a repetition may come when all is over.
    fn comes_due(&self, request: &CreateRequest) -> Result<()> {
        let first = |recurring: &Recurring| recurring.begin(self.store().now()).1;
        match &request.recurrence {
            Some(recurring) if first(recurring).is_none() => {
                Err(no_time("recurrencePattern").into())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Where the operation would be, below the one whose handler creates it.
    async fn place(&self, caller: &Caller, request: &CreateRequest) -> Result<Place> {
        let Some(parent) = parent_of(request) else {
            return Ok(Place::TOP);
        };
        let parent = self.look(parent).await?;
        self.place_below(parent.and_then(|parent| Place::of(&parent, caller)))
    }

    /// Where an operation is below one at this place; an operation without a
    /// parent, or with one that is not ours, is at the top.
    fn place_below(&self, parent: Option<Place>) -> Result<Place> {
        let Some(parent) = parent else {
            return Ok(Place::TOP);
        };
        let depth = parent.depth.saturating_add(1);
        let limit = self.options().limits.depth;
        if depth > limit {
            return Err(Error::TooDeep { depth, limit });
        }
        Ok(Place { depth, ..parent })
    }

    fn fresh_id(&self, caller: &Caller, request: &CreateRequest) -> OperationId {
        let partition = self.shared.partitions.choose(chain(caller, request));
        self.ids().operation(self.store().now(), partition)
    }

    /// The operation to store. Its trace goes on from the current span.
    fn plan(
        &self,
        caller: &Caller,
        request: CreateRequest,
        id: OperationId,
        place: Place,
    ) -> NewOperation {
        Span::current().record("messaging.message.id", field::display(id));
        let now = self.store().now();
        let rules = Rules {
            operation_type: request.operation_type,
            // A series waits in no chain: its occurrences do.
            chain: chain(caller, &request).filter(|_| request.recurrence.is_none()),
            token_policy: self.token_policy(&request),
            transient: !request.retain_job_history,
            webhook: request.webhook_url.is_some(),
            at_most_once: request.at_most_once,
            retry: request.retry,
        };
        let commit = self.ids().commit();
        let header = match request.recurrence.map(|recurring| recurring.begin(now)) {
            None => first_header(rules, request.postpone_until, commit, now),
            Some((recurrence, first)) => {
                // It had a time to come a moment ago, when it was accepted.
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
                    .or(place.correlation_id)
                    .unwrap_or_else(|| self.ids().uuid()),
                request_id: request.request_id,
                parent_id: request.parent_id,
                depth: place.depth,
                primary_entity_type: request.primary_entity_type,
                regarding_object_id: request.regarding_object_id,
                organization: caller.organization.clone(),
                owner: caller.owner.clone(),
                created_on: now,
                retain_job_history: request.retain_job_history,
                webhook_url: request.webhook_url,
                trace: current_context(),
            },
        }
    }

    /// What its end means for those behind it. The deployment's default is about
    /// tokens: asynchronous requests have none, and one that fails must not stop
    /// all others of its organization.
    fn token_policy(&self, request: &CreateRequest) -> TokenPolicy {
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
        let published = self.outlet().publish(operation, stamp).instrument(span);
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
        let published = self.outlet().publish_all(offers).instrument(span);
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

/// The span of one create: what the processing span will be linked to.
fn create_span(request: &CreateRequest) -> Span {
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

/// The operation whose handler creates it, where that is one of ours.
fn parent_of(request: &CreateRequest) -> Option<OperationId> {
    OperationId::from_bytes(request.parent_id?.into_bytes())
}

fn chain(caller: &Caller, request: &CreateRequest) -> Option<ChainKey> {
    if request.in_order_of_requests {
        return Some(ChainKey::of_requests(&caller.organization));
    }
    let token = request.dependency_token.as_ref()?;
    Some(ChainKey::new(&caller.organization, token))
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

//! Creating operations.
//!
//! ```text
//! check ─ depth ─ key reserved? ─ broker takes messages? ─ store ─ publish ─ answer
//! ```
//!
//! Once it is stored, an operation is in the dispatch set and will reach the
//! broker whatever happens to this process; so a publish that fails after that
//! is no failure of the create. A broker that says beforehand that it takes
//! nothing is: better to push back than to fill the store.

use drumline_backend::store::{self, Created, NewOperation};
use drumline_protocol::operation::first_header;
use drumline_protocol::{Body, ChainKey, Operation, OperationId, Report, Rules};
use drumline_telemetry::current_context;
use futures_util::future::join_all;
use tracing::{Instrument, Span, field, info_span};

use super::{Caller, QueueManager};
use crate::error::{Error, Result};
use crate::request::CreateRequest;

/// Operations of a batch that go to the store in one call. Larger ones keep
/// other callers waiting.
const CHUNK: usize = 256;

/// What became of a create.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The operation: as it was created, or, where the idempotency key was
    /// used before, as it is now.
    pub operation: Operation,
    /// Whether it was created by this call.
    pub is_new: bool,
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
            request.check()?;
            let depth = self.depth(&request).await?;
            let mut id = self.fresh_id(caller, &request);
            if let Some(key) = key {
                id = self.reserve(caller, key, &request, id).await?;
                if let Some(operation) = self.look(id).await? {
                    self.metrics().creates_repeated.inc();
                    let is_new = false;
                    return Ok(Creation { operation, is_new });
                }
            }
            self.shared.backend.broker.check()?;
            let new = self.plan(caller, request, id, depth);
            let stored = self.store().create(vec![new.clone()]).await?;
            match stored.into_iter().next() {
                Some(Created::New { sequence, offer }) => {
                    let operation = stored_as(new, sequence);
                    self.announce(&operation, offer).await;
                    let is_new = true;
                    Ok(Creation { operation, is_new })
                }
                // Only the key can have led two of us to one id.
                Some(Created::Exists(operation)) if key.is_some() => {
                    self.metrics().creates_repeated.inc();
                    let operation = *operation;
                    let is_new = false;
                    Ok(Creation { operation, is_new })
                }
                Some(Created::Exists(_)) => Err(Error::Internal(format!("the id {id} came twice"))),
                None => Err(no_answer()),
            }
        };
        created.instrument(span).await
    }

    /// Creates operations in the order of the list, so that those with one
    /// token run in that order; the answers are in that order too.
    ///
    /// Each stands for itself, up to the first that meets the store or the
    /// broker away: those behind it are not tried, or they would overtake it.
    ///
    /// Dropping the future leaves it open which of them were created.
    pub async fn create_many(
        &self,
        caller: &Caller,
        requests: Vec<CreateRequest>,
    ) -> Vec<Result<Operation>> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter();
        let mut publishing = Vec::new();
        loop {
            let chunk: Vec<CreateRequest> = requests.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                break;
            }
            let mut planned = Vec::new();
            let mut places = Vec::new();
            let mut away: Option<String> = None;
            for request in chunk {
                if let Some(message) = &away {
                    answers.push(Err(Error::Store(unavailable(message))));
                    continue;
                }
                match self.plan_one(caller, request).await {
                    Ok(new) => {
                        places.push(answers.len());
                        planned.push(new);
                        answers.push(Err(no_answer()));
                    }
                    Err(error) => {
                        if matches!(error, Error::Store(_) | Error::Broker(_)) {
                            away = Some(error.to_string());
                        }
                        answers.push(Err(error));
                    }
                }
            }
            let stored = match self.store().create(planned.clone()).await {
                Ok(stored) => stored,
                Err(error) => {
                    let message = error.to_string();
                    for place in places.drain(..) {
                        answers[place] = Err(Error::Store(unavailable(&message)));
                    }
                    away = Some(message);
                    Vec::new()
                }
            };
            for ((place, new), created) in places.into_iter().zip(planned).zip(stored) {
                answers[place] = match created {
                    Created::New { sequence, offer } => {
                        let operation = stored_as(new, sequence);
                        publishing.push((operation.clone(), offer));
                        Ok(operation)
                    }
                    Created::Exists(_) => {
                        Err(Error::Internal(format!("the id {} came twice", new.id)))
                    }
                };
            }
            if let Some(message) = away {
                let untried = || Err(Error::Store(unavailable(&message)));
                answers.extend(requests.by_ref().map(|_untried| untried()));
                break;
            }
        }
        join_all(
            publishing
                .iter()
                .map(|(operation, offer)| self.announce(operation, *offer)),
        )
        .await;
        answers
    }

    /// Everything about one operation of a batch up to its storing.
    async fn plan_one(&self, caller: &Caller, request: CreateRequest) -> Result<NewOperation> {
        request.check()?;
        self.shared.backend.broker.check()?;
        let depth = self.depth(&request).await?;
        let id = self.fresh_id(caller, &request);
        let span = create_span(&request);
        Ok(span.in_scope(|| self.plan(caller, request, id, depth)))
    }

    /// How deep the operation would be below the one whose handler creates it.
    async fn depth(&self, request: &CreateRequest) -> Result<u32> {
        let parent = request.parent_id.map(uuid::Uuid::into_bytes);
        let Some(parent) = parent.and_then(OperationId::from_bytes) else {
            return Ok(0);
        };
        let Some(parent) = self.look(parent).await? else {
            return Ok(0);
        };
        let depth = parent.body.depth.saturating_add(1);
        let limit = self.options().limits.depth;
        if depth > limit {
            return Err(Error::TooDeep { depth, limit });
        }
        Ok(depth)
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
        depth: u32,
    ) -> NewOperation {
        Span::current().record("messaging.message.id", field::display(id));
        let now = self.store().now();
        let rules = Rules {
            operation_type: request.operation_type,
            chain: chain(caller, &request),
            at_most_once: request.at_most_once,
            retry: request.retry,
        };
        NewOperation {
            id,
            header: first_header(rules, request.postpone_until, self.ids().commit(), now),
            body: Body {
                name: request.name,
                message_name: request.message_name,
                queue: request.queue,
                dependency_token: request.dependency_token,
                data: request.data,
                correlation_id: request.correlation_id.unwrap_or_else(|| self.ids().uuid()),
                request_id: request.request_id,
                parent_id: request.parent_id,
                depth,
                primary_entity_type: request.primary_entity_type,
                regarding_object_id: request.regarding_object_id,
                organization: caller.organization.clone(),
                owner: caller.owner.clone(),
                created_on: now,
                retain_job_history: request.retain_job_history,
                trace: current_context(),
            },
        }
    }

    /// Publishes a new operation, if it may run at all yet.
    async fn announce(&self, operation: &Operation, offer: Option<store::Stamp>) {
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
        if let Err(error) = published.await {
            self.metrics().left_to_relay.inc();
            tracing::debug!(id = %operation.id, %error, "stored, and left to the relay");
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

fn chain(caller: &Caller, request: &CreateRequest) -> Option<ChainKey> {
    let token = request.dependency_token.as_ref()?;
    Some(ChainKey::new(&caller.organization, token))
}

fn stored_as(new: NewOperation, sequence: u64) -> Operation {
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

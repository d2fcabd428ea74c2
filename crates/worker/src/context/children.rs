//! Creating operations from within a handler.
//!
//! ```text
//! check all ─ plan all ─ store, a chunk at a time ─ publish
//!                           └── while this run holds its operation, no longer
//! ```
//!
//! A child belongs to its parent: the same trace, `parentId`, `correlationId`,
//! organization and owner, and one level deeper. A child that is stored is in the
//! outbox, and reaches the broker even if this process dies.
//!
//! A handler may be started again after it has created children. So the
//! `identity` of a child follows from its parent and its key: a child that an
//! earlier run has created is found, and not created a second time. For the
//! same reason the store need not ask for the parent's fence. A child that a
//! stale run has created at the last moment is the very child that the next run
//! is about to create.

mod error;
mod identity;
mod new_child;

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drumline_api::Origin;
use drumline_backend::store::{self, Created, NewOperation, QueueUse, Stamp, Store};
use drumline_backend::{Random, Tally};
use drumline_protocol::message::Offer;
use drumline_protocol::operation::{TraceContext, first_header};
use drumline_protocol::{Body, ChainKey, Creator, Operation, OperationId, Report, Timestamp};
use tracing::{Span, info_span};

use self::identity::{Content, Identity};
use self::new_child::Checked;
use super::execution::Execution;
use crate::backoff;
use crate::publisher::Publisher;

pub use self::error::CreateError;
pub use self::new_child::{DATA_BYTES, NewChild};

/// The number of children in one call of the store. More would keep the worker's
/// claims and renewals waiting behind them.
const CHUNK: usize = 256;
/// The bytes of payload from which on a call takes no more children, for the
/// same reason.
const CHUNK_BYTES: usize = 8 << 20;

/// The children of one run.
pub(crate) struct Children {
    store: Arc<dyn Store>,
    publisher: Arc<Publisher>,
    tally: Arc<Tally>,
    random: Random,
    /// The depth to which operations may create operations.
    depth: u32,
    /// The number of children without a key that this run has had, by content.
    without_key: Mutex<HashMap<Content, u32>>,
}

impl Children {
    /// The worker's source of random numbers.
    pub(crate) const fn random(&self) -> &Random {
        &self.random
    }

    /// A run without children.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        publisher: Arc<Publisher>,
        tally: Arc<Tally>,
        random: Random,
        depth: u32,
    ) -> Self {
        Self {
            store,
            publisher,
            tally,
            random,
            depth,
            without_key: Mutex::default(),
        }
    }

    /// Creates all children, in order, or none if one of them breaks a rule.
    /// Tries until the store has answered, or this run does not hold its
    /// operation any more.
    pub(crate) async fn create(
        &self,
        execution: &Execution,
        children: Vec<NewChild>,
    ) -> Result<Vec<OperationId>, CreateError> {
        let depth = execution.operation.body.depth.saturating_add(1);
        let limit = self.depth;
        if depth > limit {
            return Err(CreateError::TooDeep { depth, limit });
        }
        let checked: Vec<Checked> = children
            .into_iter()
            .map(|child| child.check(&execution.operation.body.queue))
            .collect::<Result<_, _>>()?;
        let planned: Vec<NewOperation> = checked
            .into_iter()
            .map(|child| self.plan(execution, child, depth))
            .collect();
        self.enter_queues(execution, &planned).await?;
        for chunk in chunks(&planned) {
            let created = self.store(execution, chunk).await?;
            for (new, created) in chunk.iter().zip(&created) {
                if matches!(created, Created::New { .. }) {
                    self.tally.created(&new.body);
                }
            }
            let offers = chunk.iter().zip(created);
            let offers = offers.filter_map(|(new, created)| offer(new, &created));
            self.publisher.announce(offers.collect()).await;
        }
        Ok(planned.into_iter().map(|new| new.id).collect())
    }

    /// Notes that the organization uses the queues of the children. That of the parent is
    /// in use. The queue managers have given the store the limit.
    async fn enter_queues(
        &self,
        execution: &Execution,
        planned: &[NewOperation],
    ) -> Result<(), CreateError> {
        let parent = &execution.operation.body;
        let queues = planned.iter().map(|new| &new.body.queue);
        let others = queues.filter(|queue| **queue != parent.queue && !queue.is_default());
        for queue in others.collect::<BTreeSet<_>>() {
            let wanted = QueueUse::new(&parent.organization, queue);
            let use_queue = || self.store.use_queue(&wanted, None);
            if !self.until_answered(execution, use_queue).await? {
                return Err(CreateError::TooManyQueues {
                    queue: queue.clone(),
                });
            }
        }
        Ok(())
    }

    /// The operation to store.
    fn plan(&self, execution: &Execution, child: Checked, depth: u32) -> NewOperation {
        let parent = &execution.operation;
        let now = self.store.now();
        let token = child.request.dependency_token.as_ref();
        let chain = token.map(|token| ChainKey::new(&parent.body.organization, token));
        let rules = child.rules(chain);
        let Checked {
            mut request,
            key,
            start,
        } = child;
        let identity = match &key {
            Some(key) => Identity::of_key(parent.id, key),
            None => {
                let content = Content::of(&request);
                Identity::of_content(parent.id, &content, self.count(content))
            }
        };
        let id = identity.operation(parent.id, chain, self.store.partitions());
        let commit = identity.commit(&rules, &request.message_name, &request.queue);
        let origin = Origin {
            organization: parent.body.organization.clone(),
            owner: parent.body.owner.clone(),
            correlation_id: parent.body.correlation_id,
            depth,
            created_on: now,
            trace: create_trace(execution, id, request.queue.as_str()),
        };
        request.parent_id = Some(uuid::Uuid::from_bytes(*parent.id.as_bytes()));
        NewOperation {
            id,
            header: first_header(rules, start.time(now), commit, now),
            body: Body {
                creator: Creator::Handler,
                ..request.into_body(origin)
            },
            key: None,
        }
    }

    /// The number of children of this content before this one.
    fn count(&self, content: Content) -> u32 {
        let mut counts = self
            .without_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(content).or_default();
        let before = *count;
        *count = before.saturating_add(1);
        before
    }

    /// Stores a chunk. Asks again while the store is unavailable.
    async fn store(
        &self,
        execution: &Execution,
        chunk: &[NewOperation],
    ) -> Result<Vec<Created>, CreateError> {
        let create = || self.store.create(chunk.to_vec());
        self.until_answered(execution, create).await
    }

    /// Asks the store until it answers, or this run does not hold its operation any more.
    async fn until_answered<T, F: Future<Output = store::Result<T>>>(
        &self,
        execution: &Execution,
        ask: impl Fn() -> F,
    ) -> Result<T, CreateError> {
        let mut backoff = backoff::for_store(&self.random);
        loop {
            if !execution.may_act() {
                return Err(CreateError::NotHeld);
            }
            let answered = tokio::select! {
                biased;
                answered = ask() => answered,
                () = execution.stop.lost() => return Err(CreateError::NotHeld),
            };
            match answered {
                Ok(answer) => return Ok(answer),
                Err(error @ store::Error::Unavailable { .. }) => {
                    tracing::debug!(%error, "children are created later");
                    backoff.sleep().await;
                }
                Err(error @ (store::Error::Corrupt(_) | store::Error::Unfit(_))) => {
                    return Err(CreateError::Store(error));
                }
            }
        }
    }
}

impl std::fmt::Debug for Children {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Children").finish_non_exhaustive()
    }
}

/// The offer to publish for a child that was stored. `None` if the child is
/// postponed or parked, or was offered by an earlier run.
fn offer(new: &NewOperation, created: &Created) -> Option<(Offer, Stamp)> {
    let (
        Created::New {
            sequence, offer, ..
        },
        None,
    ) = (created, new.header.postpone_until)
    else {
        // A child of an earlier run may have another header than this run has
        // planned (only one of the two may postpone the child, say). So the
        // relay has to publish such a child.
        return None;
    };
    let operation = Operation {
        id: new.id,
        header: new.header.clone(),
        body: new.body.clone(),
        report: Report::default(),
        sequence: *sequence,
    };
    Some((Offer::of(&operation), (*offer)?))
}

/// The time at which a child may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Now,
    At(Timestamp),
    In(Duration),
}

impl Start {
    fn time(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Now => None,
            Self::At(time) => Some(time),
            Self::In(delay) => Some(now.saturating_add(delay)),
        }
    }
}

/// The trace context of the span that creates a child, under the span of the
/// run. The runs of the child will be linked to the creating span.
fn create_trace(execution: &Execution, id: OperationId, queue: &str) -> TraceContext {
    let span: Span = info_span!(
        target: "drumline::worker",
        parent: &execution.span,
        "create",
        otel.name = %format_args!("create {queue}"),
        otel.kind = "producer",
        messaging.system = "drumline",
        messaging.operation.name = "create",
        messaging.operation.r#type = "create",
        messaging.destination.name = queue,
        messaging.message.id = %id,
    );
    let inherited = &execution.operation.body.trace;
    if span.is_disabled() && !inherited.traceparent.is_empty() {
        return inherited.clone();
    }
    span.in_scope(drumline_telemetry::current_context)
}

/// The children in chunks that fit one call. Each chunk has at least one child.
fn chunks(planned: &[NewOperation]) -> impl Iterator<Item = &[NewOperation]> {
    let mut rest = planned;
    std::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fits = |new: &&NewOperation| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(1 + new.body.data.as_ref().map_or(0, String::len));
            is_first || bytes <= CHUNK_BYTES
        };
        let count = rest.iter().take(CHUNK).take_while(fits).count();
        let (chunk, behind) = rest.split_at(count);
        rest = behind;
        (!chunk.is_empty()).then_some(chunk)
    })
}

//! Creating operations, one or many: a single create is a list of one.
//!
//! ```text
//! chunk:  check ─ lineage ─ circumstances ─ key ─ known already? ─ store ─┬─ next chunk …
//!         └────────────────────── plan ──────────────────────────┘        └─ publish ─┐
//! answers ───────────────────────────────────────────── when all are through ┘
//! ```
//!
//! Every step looks at a whole chunk, so that a thousand creates cost the store
//! some round trips and not some thousand. Single creates share their round
//! trips with those of other callers instead ([`CreateBatcher`]). While one
//! chunk is published, the next is stored. Chunks are stored one after the
//! other, and so each token keeps the order of the list.
//!
//! No create may overtake one that found the store or the broker unavailable,
//! so the list is cut behind the first such create. A caller that wants to stop
//! at the first fault of any kind has the list cut there before the chunk is
//! stored, and so nothing behind the fault is ever created. Creates without an order
//! ([`QueueManager::create_each`]) are not cut, unless a whole chunk met an outage.
//!
//! Once it is stored, an operation is in the outbox and will reach the
//! broker whatever happens to this process; so a publish that fails after that
//! is no failure of the create. A broker that reports beforehand that it takes
//! nothing is a failure: better to push back than to fill the store.

mod check;
mod create_batcher;
mod lineage;
mod new_operation;
mod plan;
mod publish;
mod store;

use drumline_api::CreateOperation;
use drumline_api::execute::KeyedCreate;
use drumline_protocol::Operation;
use tracing::{Instrument, Span, field, info_span};

pub(in crate::service) use create_batcher::CreateBatcher;
pub(in crate::service) use plan::{KeyedBy, PlannedCreate};
pub(in crate::service) use publish::Publishing;
pub(crate) use store::stored_as;

use super::{Actor, QueueManager};
use crate::error::{Error, Result};

/// Operations that go to the store in one call. Larger chunks keep other
/// callers waiting; in smaller ones the round trips would show.
const CHUNK: usize = 256;
/// The chunk of a store that [shares writes](drumline_backend::Store::shares_writes): each
/// waits for the disk, so a batch of the usual size is one.
const SHARED_CHUNK: usize = 1_000;

/// Lists of [`QueueManager::create_each`] that are worked on at the same time: more would
/// not make the store quicker, and each may be of some megabytes.
pub(super) const LISTS_AT_ONCE: usize = 16;

/// The result of a create.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The operation: as it was created, or, if the idempotency key was used
    /// before, as it is now.
    pub operation: Operation,
    /// True if this call created the operation.
    pub is_new: bool,
}

/// The meaning of a fault for the creates behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) enum OnFault {
    /// Nothing: each create stands for itself, as long as the store and the
    /// broker are available.
    GoOn,
    /// Nothing at all: the creates have no order among them, so none can overtake another.
    Ignore,
    /// They are not created, and there is no answer for them.
    Stop,
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
        let key = key.map(str::to_owned);
        let list = vec![KeyedCreate { request, key }];
        let created = async {
            // The span is current, and covers all steps.
            let span_of = |_: &CreateOperation| Span::current();
            let planned = self
                .plan(actor, list, OnFault::Stop, KeyedBy::Create, None, span_of)
                .await;
            let (mut created, offers) = self.store_planned(planned, OnFault::Stop).await;
            self.publish(offers).await;
            created.pop().unwrap_or_else(|| Err(no_answer()))
        };
        created.instrument(span).await
    }

    /// Creates operations in the order of the list, so that those with one
    /// token run in that order; the answers are in that order too.
    ///
    /// Each create stands for itself, up to the first that finds the store or
    /// the broker unavailable: the creates behind it are not tried, or they
    /// would overtake it.
    ///
    /// If the future is dropped, some of them may or may not have been created.
    pub async fn create_many(
        &self,
        actor: &Actor,
        requests: Vec<CreateOperation>,
    ) -> Vec<Result<Operation>> {
        let list = requests
            .into_iter()
            .map(|request| KeyedCreate { request, key: None });
        let created = self.create_in_order(actor, list.collect(), OnFault::GoOn);
        let operation = |creation: Creation| creation.operation;
        let created = created.await.into_iter();
        created.map(|one| one.map(operation)).collect()
    }

    /// Creates operations that have nothing to do with one another: a create that is
    /// refused, or meets the store unavailable, keeps no other from being created. Waits
    /// while many such lists are worked on, because their operations are in memory.
    ///
    /// If the future is dropped, some of them may or may not have been created.
    pub(crate) async fn create_each(
        &self,
        actor: &Actor,
        list: Vec<KeyedCreate>,
    ) -> Vec<Result<Creation>> {
        // Closed never.
        let _permit = self.shared.lists_at_once.acquire().await;
        self.create_in_order(actor, list, OnFault::Ignore).await
    }

    /// [`Self::create_many`], with idempotency keys. With [`OnFault::Stop`] the
    /// answers end with the first fault, and so do the creates.
    pub(in crate::service) async fn create_in_order(
        &self,
        actor: &Actor,
        list: Vec<KeyedCreate>,
        on_fault: OnFault,
    ) -> Vec<Result<Creation>> {
        let count = list.len();
        let mut answers = Vec::with_capacity(count);
        let mut list = list.into_iter();
        let mut publishing = Publishing::default();
        let keyed_by = match on_fault {
            OnFault::GoOn | OnFault::Ignore => KeyedBy::Create,
            // A key that is used for something else is a fault, which must be
            // known before anything behind it is created.
            OnFault::Stop => KeyedBy::Plan,
        };
        let chunk_len = match self.store().shares_writes() {
            true => SHARED_CHUNK,
            false => CHUNK,
        };
        while answers.len() < count {
            let chunk: Vec<KeyedCreate> = list.by_ref().take(chunk_len).collect();
            let planned = self
                .plan(actor, chunk, on_fault, keyed_by, None, create_span)
                .await;
            let (mut created, offers) = self.store_planned(planned, on_fault).await;
            publishing.start(self, offers);
            // Cut once more: the store may have been unavailable for all that
            // was new.
            cut(&mut created, on_fault);
            let is_over = match on_fault {
                OnFault::Stop => false,
                OnFault::GoOn => created.last().is_some_and(was_unavailable),
                // An outage: the creates behind would only wait for it once more.
                OnFault::Ignore => created.iter().all(was_unavailable),
            };
            answers.append(&mut created);
            match answers.last() {
                Some(Err(error)) if is_over => {
                    let message = error.to_string();
                    let untried = || Err(unavailable(&message));
                    answers.resize_with(count, untried);
                }
                Some(Err(_)) if on_fault == OnFault::Stop => break,
                // Every plan has its answer; this is no endless loop.
                Some(_) | None => {}
            }
        }
        publishing.finished().await;
        answers
    }
}

/// Cuts a list behind the first answer that decides about those behind it.
fn cut<T>(list: &mut Vec<Result<T>>, on_fault: OnFault) {
    let first = list.iter().position(|one| match one {
        Ok(_) => false,
        Err(error) => match on_fault {
            OnFault::Stop => true,
            OnFault::GoOn => is_unavailable(error),
            OnFault::Ignore => false,
        },
    });
    if let Some(first) = first {
        list.truncate(first + 1);
    }
}

/// Returns true if the error is not the caller's fault, and may be over soon.
const fn is_unavailable(error: &Error) -> bool {
    matches!(error, Error::Store(_) | Error::Broker(_))
}

fn was_unavailable<T>(created: &Result<T>) -> bool {
    created.as_ref().is_err_and(is_unavailable)
}

/// The span of one create, which the processing span will be linked to.
pub(in crate::service) fn create_span(request: &CreateOperation) -> Span {
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

fn no_answer() -> Error {
    unavailable("the store did not answer")
}

fn unavailable(message: &str) -> Error {
    Error::Store(store_unavailable(message))
}

fn store_unavailable(message: &str) -> drumline_backend::store::Error {
    drumline_backend::store::Error::Unavailable {
        message: message.to_owned(),
        source: None,
    }
}

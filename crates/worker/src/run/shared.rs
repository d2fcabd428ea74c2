//! The state that all parts of a running worker share.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use drumline_backend::bypass::Bypass;
use drumline_backend::dispatch::Dispatcher;
use drumline_backend::store::{Promoted, Stamp};
use drumline_backend::{Backend, Ids, MemberId};
use drumline_protocol::message::Offer;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::handlers::Registry;
use crate::options::Options;
use crate::run::committer::Committer;
use crate::run::leases::Held;
use crate::run::task_scope::TaskScope;
use crate::throttle::{Throttles, Ticket};

/// The state that all parts of a running worker share.
pub(crate) struct Shared {
    pub(crate) backend: Backend,
    /// The way round queues that do not work; the backend's broker is behind it.
    pub(crate) bypass: Arc<Bypass>,
    pub(crate) ids: Ids,
    pub(crate) member: MemberId,
    pub(crate) options: Options,
    pub(crate) handlers: Registry,
    pub(crate) committer: Committer,
    pub(crate) held: Arc<Held>,
    pub(crate) throttles: Throttles,
    /// One permit per operation that may run.
    pub(crate) slots: Arc<Semaphore>,
    /// Offers that wait for a slot.
    pub(crate) waiting: AtomicUsize,
    /// Claims and runs.
    pub(crate) runs: TaskScope,
    /// No new operation is taken.
    pub(crate) draining: CancellationToken,
    /// The time at which the last handler of a draining worker is dropped.
    pub(crate) drained_by: OnceLock<Instant>,
    dispatcher: Mutex<Option<Dispatcher>>,
}

/// The parts that an [`Shared`] is made of.
pub(crate) struct Parts {
    pub(crate) backend: Backend,
    pub(crate) bypass: Arc<Bypass>,
    pub(crate) member: MemberId,
    pub(crate) ids: Ids,
    pub(crate) options: Options,
    pub(crate) handlers: Registry,
    pub(crate) committer: Committer,
    pub(crate) held: Arc<Held>,
    pub(crate) dispatcher: Dispatcher,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(parts.options.concurrency)),
            backend: parts.backend,
            bypass: parts.bypass,
            ids: parts.ids,
            member: parts.member,
            options: parts.options,
            handlers: parts.handlers,
            committer: parts.committer,
            held: parts.held,
            throttles: Throttles::default(),
            waiting: AtomicUsize::new(0),
            runs: TaskScope::default(),
            draining: CancellationToken::new(),
            drained_by: OnceLock::new(),
            dispatcher: Mutex::new(Some(parts.dispatcher)),
        }
    }

    /// Admits an operation with this message name.
    ///
    /// # Errors
    /// When the operation is to be put off; the error is the delay.
    pub(crate) fn admit(&self, message_name: &str) -> Result<Ticket, Duration> {
        let own = self.handlers.find(message_name);
        let own = own.and_then(|registered| registered.limits.throttle);
        self.throttles
            .admit(message_name, own.or(self.options.throttle))
    }

    /// The number of operations that run now.
    pub(crate) fn running(&self) -> usize {
        self.options
            .concurrency
            .saturating_sub(self.slots.available_permits())
    }

    /// Publishes a promoted operation that this worker does not go on with. The
    /// operation is in the outbox, so nothing is lost if publishing
    /// fails.
    pub(crate) fn hand_on(&self, promoted: &Promoted) {
        let dispatcher = self
            .dispatcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(dispatcher) = &*dispatcher {
            dispatcher.enqueue(promoted);
        }
    }

    /// Publishes operations that were just stored, and waits for the broker. If
    /// publishing fails, a queue manager will do it.
    pub(crate) async fn announce(&self, offers: Vec<(Offer, Stamp)>) {
        let dispatcher = self
            .dispatcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(dispatcher) = dispatcher else {
            return;
        };
        let count = offers.len();
        let published = dispatcher.publish_all(offers).await;
        let left = published.iter().filter(|answer| answer.is_err()).count();
        if left > 0 {
            tracing::debug!(left, count, "stored, and left to the relay");
        }
    }

    /// Lets the dispatcher end once it has published its backlog.
    pub(crate) fn close_dispatcher(&self) {
        drop(
            self.dispatcher
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }
}

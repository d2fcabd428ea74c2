//! The state that the parts of a running worker share.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use drumline_backend::apply_event::Signature;
use drumline_backend::bypass::Bypass;
use drumline_backend::formats::WrittenFormats;
use drumline_backend::{Backend, CriticalTasks, Ids, MemberId, Random, Tally};
use drumline_protocol::{Author, Body};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::committer::Committer;
use super::leases::Held;
use super::task_scope::TaskScope;
use crate::handlers::registry::Registry;
use crate::metrics::{Metrics, RunLabels, RunMetrics};
use crate::options::Options;
use crate::publisher::Publisher;
use crate::throttle::{Throttles, Ticket};

/// The state that the parts of a running worker share.
pub(crate) struct Shared {
    pub(crate) backend: Backend,
    /// The bypass of queues that do not work. `backend.broker` is this bypass, too.
    pub(crate) bypass: Arc<Bypass>,
    /// The formats that every live member reads.
    pub(crate) formats: WrittenFormats,
    pub(crate) ids: Ids,
    pub(crate) random: Random,
    pub(crate) member: MemberId,
    /// The author of this worker's commits.
    pub(crate) author: Author,
    pub(crate) options: Options,
    pub(crate) handlers: Registry,
    pub(crate) committer: Committer,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) held: Arc<Held>,
    pub(crate) throttles: Throttles,
    pub(crate) metrics: Metrics,
    /// The metrics of runs, by queue and registered name.
    of_runs: RwLock<HashMap<String, HashMap<String, Arc<RunMetrics>>>>,
    /// The counts of this worker that are not in the store's rollups yet.
    pub(crate) tally: Arc<Tally>,
    /// The slots: one permit per operation that may run.
    pub(crate) slots: Arc<Semaphore>,
    /// The number of offers that wait for a slot.
    pub(crate) waiting: AtomicUsize,
    /// The tasks of claims and runs.
    pub(crate) runs: TaskScope,
    /// The tasks that the worker cannot do without.
    pub(crate) critical: CriticalTasks,
    /// Cancelled when the worker drains: no new operation is taken then.
    pub(crate) draining: CancellationToken,
    /// Cancelled when the worker drains or stops: the tasks that bring work in may end
    /// from then on.
    pub(crate) taking_ends: CancellationToken,
    /// Cancelled when the worker is drained by its process, or stops. All tasks may end
    /// from then on. One that was asked to drain by the service goes on until then.
    pub(crate) stopping: CancellationToken,
    /// The time at which the last handler of a draining worker is dropped.
    pub(crate) drained_by: OnceLock<Instant>,
}

/// The parts that a [`Shared`] is made of.
pub(crate) struct Parts {
    pub(crate) backend: Backend,
    pub(crate) bypass: Arc<Bypass>,
    pub(crate) member: MemberId,
    pub(crate) ids: Ids,
    pub(crate) random: Random,
    pub(crate) options: Options,
    pub(crate) handlers: Registry,
    pub(crate) committer: Committer,
    pub(crate) publisher: Publisher,
    pub(crate) held: Arc<Held>,
    pub(crate) critical: CriticalTasks,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            author: Author::worker(&parts.options.host),
            slots: Arc::new(Semaphore::new(parts.options.concurrency)),
            tally: Arc::new(Tally::new(
                Arc::clone(&parts.backend.store),
                parts.random.clone(),
            )),
            backend: parts.backend,
            bypass: parts.bypass,
            formats: WrittenFormats::default(),
            ids: parts.ids,
            random: parts.random,
            member: parts.member,
            options: parts.options,
            handlers: parts.handlers,
            committer: parts.committer,
            publisher: Arc::new(parts.publisher),
            held: parts.held,
            throttles: Throttles::default(),
            metrics: Metrics::default(),
            of_runs: RwLock::default(),
            waiting: AtomicUsize::new(0),
            runs: TaskScope::new(&parts.critical),
            critical: parts.critical,
            draining: CancellationToken::new(),
            taking_ends: CancellationToken::new(),
            stopping: CancellationToken::new(),
            drained_by: OnceLock::new(),
        }
    }

    /// Takes no new operation from now on. What runs goes on, and the next beat says so.
    pub(crate) fn take_nothing_new(&self) {
        self.taking_ends.cancel();
        self.draining.cancel();
    }

    /// The signature of this worker's commits.
    pub(crate) const fn signature(&self) -> Signature<'_> {
        Signature::new(&self.ids, &self.author)
    }

    /// Admits an operation with this message name.
    ///
    /// # Errors
    /// When the operation is to be postponed. The error is the delay.
    pub(crate) fn admit(&self, message_name: &str) -> Result<Ticket, Duration> {
        let own = self.handlers.find(message_name);
        let own = own.and_then(|registered| registered.limits.throttle);
        self.throttles
            .admit(message_name, own.or(self.options.throttle))
    }

    /// The metrics of the runs of an operation.
    pub(crate) fn run_metrics(&self, body: &Body) -> Arc<RunMetrics> {
        let queue = body.queue.as_str();
        let message = self.handlers.registered_name(&body.message_name);
        // Each change is a single insertion.
        let known = self.of_runs.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(queue).and_then(|queue| queue.get(message));
        if let Some(found) = found {
            return Arc::clone(found);
        }
        drop(known);
        let labels = RunLabels {
            queue: queue.to_owned(),
            message: message.to_owned(),
        };
        let new = Arc::new(self.metrics.of_runs(labels));
        let mut known = self.of_runs.write().unwrap_or_else(PoisonError::into_inner);
        let of_queue = known.entry(queue.to_owned()).or_default();
        of_queue.insert(message.to_owned(), Arc::clone(&new));
        new
    }

    /// The metrics, in the text format that Prometheus reads.
    pub(crate) fn metrics_text(&self) -> String {
        let counts = self.tally.since_start();
        let (running, slots) = (self.running(), self.options.concurrency);
        self.metrics
            .text(running, slots, &counts, self.held.refused())
    }

    /// The number of operations that run now.
    pub(crate) fn running(&self) -> usize {
        self.options
            .concurrency
            .saturating_sub(self.slots.available_permits())
    }
}

//! A running worker, and its ways to stop.
//!
//! ```text
//! drain: take nothing new ─→ wait for runs ─→ ask handlers to stop ─→ write their ends
//!          ─→ close subscriptions, publish the rest ─→ leave ─→ end all tasks
//! asked by the service: take nothing new, and wait for one of the others
//! stop_now, drop, a critical task that fails: end all tasks
//! ```

use std::sync::{Arc, Weak};
use std::time::Duration;

use drumline_backend::{MemberId, TaskFailure};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::context::stop::StopReason;
use crate::later::later;
use crate::run::leases::Renewals;
use crate::run::shared::Shared;
use crate::run::task_scope::TaskScope;

/// The time for writing the ends of handlers, after the latest time at which
/// they are dropped.
const FINISHING: Duration = Duration::from_secs(3);
/// The time for closing subscriptions and publishing what is left.
const CLOSING: Duration = Duration::from_secs(5);

/// A worker that runs. A worker that is dropped stops as with [`Self::stop_now`],
/// and nothing waits for its end.
pub struct RunningWorker {
    pub(crate) shared: Arc<Shared>,
    /// The delivery queue, which starts runs. Ends by itself when the worker
    /// drains.
    pub(crate) taking: TaskScope,
    /// The heartbeat.
    pub(crate) heartbeat: TaskScope,
    /// The tasks that bring work in. They end by themselves when the worker drains.
    pub(crate) feeds: TaskScope,
    /// The tasks that are needed to the very end: the committer, and
    /// acknowledgements.
    pub(crate) services: TaskScope,
    pub(crate) dispatching: TaskTracker,
    pub(crate) renewals: Option<Renewals>,
    pub(crate) ready: watch::Receiver<bool>,
}

/// The result of draining a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Handlers that could not be stopped in time. Other workers take their
    /// operations over when the leases end, and the attempt counts as lost.
    pub left_behind: usize,
}

/// A reader of a worker's metrics, which does not keep the worker alive.
#[derive(Clone, Debug, Default)]
pub struct MetricsReader(Weak<Shared>);

impl MetricsReader {
    /// The metrics in the text format that Prometheus reads; nothing after the worker
    /// has ended.
    #[must_use]
    pub fn text(&self) -> String {
        let shared = self.0.upgrade();
        shared.map_or_else(String::new, |shared| shared.metrics_text())
    }
}

impl RunningWorker {
    /// The member of the fleet that this worker is.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.shared.member
    }

    /// Returns true if the worker takes nothing new: it is being drained, or the service
    /// has asked it to drain. In the second case it runs what it has, and stays a member
    /// until the process drains it.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.is_cancelled()
    }

    /// The number of operations that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.shared.running()
    }

    /// A reader of the worker's metrics.
    #[must_use]
    pub fn metrics(&self) -> MetricsReader {
        MetricsReader(Arc::downgrade(&self.shared))
    }

    /// Receives true while the worker takes work, which is while at least one
    /// subscription is open.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Waits until the worker takes work, or has ended. Cancel-safe.
    pub async fn until_ready(&self) {
        let mut ready = self.ready();
        // An error says that the worker has ended, and that waiting is of no use.
        let _ended = ready.wait_for(|ready| *ready).await;
    }

    /// Waits until a task has ended that the worker cannot do without: by a panic,
    /// or for no reason. The worker has stopped then, as with [`Self::stop_now`],
    /// and other workers take its operations over when the leases end. Pending for
    /// ever in a healthy worker. Cancel-safe.
    pub async fn failed(&self) -> TaskFailure {
        tokio::select! {
            failure = self.shared.critical.failed() => failure,
            failure = self.shared.backend.critical.failed() => failure,
        }
    }

    /// Stops the worker when a critical task fails. A worker whose leases are not
    /// renewed must not go on, whether or not the program waits for
    /// [`Self::failed`].
    pub(crate) fn stop_after_a_failure(&self) {
        let shared = Arc::clone(&self.shared);
        let tasks = self.tasks();
        self.dispatching.spawn(async move {
            tokio::select! {
                _ = shared.critical.failed() => tasks.cut(&shared),
                _ = shared.backend.critical.failed() => tasks.cut(&shared),
                () = shared.stopping.cancelled() => {}
            }
        });
    }

    fn tasks(&self) -> Tasks {
        Tasks {
            taking: self.taking.clone(),
            heartbeat: self.heartbeat.clone(),
            feeds: self.feeds.clone(),
            services: self.services.clone(),
            renewals: self.renewals.as_ref().map(Renewals::ending),
        }
    }

    /// Stops gracefully: takes nothing new, lets handlers come to their end,
    /// and gives back the operations that have not ended in time. Such attempts
    /// do not count.
    ///
    /// Handlers may run until [`Options::drain_timeout`](crate::Options). They are
    /// asked to stop one grace earlier. Dropping the future stops the worker at
    /// once.
    pub async fn drain(mut self) -> Drained {
        let shared = Arc::clone(&self.shared);
        let (grace, limit) = (shared.options.grace, shared.options.drain_timeout);
        tracing::info!(running = shared.running(), "draining");
        let drained_by = *shared
            .drained_by
            .get_or_init(|| later(Instant::now(), limit));
        shared.stopping.cancel();
        shared.take_nothing_new();
        // No run is started after this, so the wait below is for all runs.
        self.taking.done().await;
        if timeout(limit.saturating_sub(grace), shared.runs.done())
            .await
            .is_err()
        {
            shared.held.stop_all(StopReason::Drain);
            let end = later(drained_by, FINISHING);
            if tokio::time::timeout_at(end, shared.runs.done())
                .await
                .is_err()
            {
                tracing::warn!("some handlers do not stop");
            }
        }
        let left_behind = shared.runs.len();
        shared.runs.end();
        shared.tally.write_all().await;
        shared.publisher.close();
        self.dispatching.close();
        let closing = async {
            self.feeds.done().await;
            self.dispatching.wait().await;
            // No beat may follow the goodbye.
            self.heartbeat.end();
            self.heartbeat.done().await;
            shared.backend.membership.leave(shared.member).await
        };
        match timeout(CLOSING, closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the member was not removed; it expires"),
            Err(_elapsed) => tracing::debug!("the worker was not closed in time"),
        }
        self.end().await;
        tracing::info!(left_behind, "drained");
        Drained { left_behind }
    }

    /// Stops as a crash would: handlers are dropped at once, nothing is written,
    /// nothing is given back. For tests.
    pub async fn stop_now(mut self) {
        self.end().await;
    }

    async fn end(&mut self) {
        self.cut();
        self.services.done().await;
        self.feeds.done().await;
        if let Some(renewals) = self.renewals.take() {
            renewals.done().await;
        }
    }

    fn cut(&self) {
        self.tasks().cut(&self.shared);
    }
}

/// The tasks of a worker, to end them at once.
struct Tasks {
    taking: TaskScope,
    heartbeat: TaskScope,
    feeds: TaskScope,
    services: TaskScope,
    renewals: Option<CancellationToken>,
}

impl Tasks {
    fn cut(&self, shared: &Shared) {
        shared.taking_ends.cancel();
        shared.stopping.cancel();
        shared.runs.end();
        self.taking.end();
        self.feeds.end();
        self.heartbeat.end();
        self.services.end();
        shared.publisher.close();
        if let Some(renewals) = &self.renewals {
            renewals.cancel();
        }
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.cut();
    }
}

impl std::fmt::Debug for RunningWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningWorker")
            .field("id", &self.id())
            .field("running", &self.running())
            .finish_non_exhaustive()
    }
}

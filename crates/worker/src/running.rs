//! A running worker, and its ways to stop.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::MemberId;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::context::stop::StopReason;
use crate::run::leases::Renewals;
use crate::run::shared::Shared;
use crate::run::task_scope::TaskScope;

/// The time for writing the ends of handlers, after the latest time at which
/// they are dropped.
const FINISHING: Duration = Duration::from_secs(3);
/// The time for closing subscriptions and publishing what is left.
const CLOSING: Duration = Duration::from_secs(5);

/// A worker that runs. Dropped, it stops as [`Self::stop_now`] does, without
/// waiting.
pub struct RunningWorker {
    pub(crate) shared: Arc<Shared>,
    /// Starts runs; ends by itself when the worker drains.
    pub(crate) taking: TaskScope,
    /// Says that the worker is alive.
    pub(crate) heartbeat: TaskScope,
    /// Bring work in; end by themselves when the worker drains.
    pub(crate) feeds: TaskScope,
    /// Needed to the very end.
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

impl RunningWorker {
    /// The member of the fleet that this worker is.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.shared.member
    }

    /// The number of operations that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.shared.running()
    }

    /// Receives true while the worker takes work: at least one subscription
    /// stands.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Stops gracefully: takes nothing new, lets handlers come to their end,
    /// and gives back the operations that have not ended in time. Such attempts
    /// do not count.
    ///
    /// Handlers may run until [`Options::drain_timeout`](crate::Options); they
    /// are asked to stop one grace before. Dropping the future stops the
    /// worker at once.
    pub async fn drain(mut self) -> Drained {
        let shared = Arc::clone(&self.shared);
        let (grace, limit) = (shared.options.grace, shared.options.drain_timeout);
        tracing::info!(running = shared.running(), "draining");
        let drained_by = *shared.drained_by.get_or_init(|| Instant::now() + limit);
        shared.draining.cancel();
        // After this no run is started any more, so waiting for runs is waiting
        // for all of them.
        self.taking.done().await;
        if timeout(limit.saturating_sub(grace), shared.runs.done())
            .await
            .is_err()
        {
            shared.held.stop_all(StopReason::Drain);
            let end = drained_by + FINISHING;
            if tokio::time::timeout_at(end, shared.runs.done())
                .await
                .is_err()
            {
                tracing::warn!("some handlers do not stop");
            }
        }
        let left_behind = shared.runs.len();
        shared.runs.end();
        shared.publisher.close();
        self.dispatching.close();
        let closing = async {
            self.feeds.done().await;
            self.dispatching.wait().await;
            // No sign of life may follow the goodbye.
            self.heartbeat.end();
            self.heartbeat.done().await;
            shared.backend.membership.leave(shared.member).await
        };
        match timeout(CLOSING, closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "did not say goodbye"),
            Err(_elapsed) => tracing::debug!("did not close in time"),
        }
        self.end().await;
        tracing::info!(left_behind, "drained");
        Drained { left_behind }
    }

    /// Stops as a crash would: handlers are dropped where they stand, nothing
    /// is written, nothing is given back. For tests.
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
        self.shared.runs.end();
        self.taking.end();
        self.feeds.end();
        self.heartbeat.end();
        self.services.end();
        self.shared.publisher.close();
        if let Some(renewals) = &self.renewals {
            renewals.end();
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

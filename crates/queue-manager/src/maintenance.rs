//! Maintenance: work that would stand still if no manager looked for it.
//!
//! ```text
//! members ── which partitions are mine ──┬─ relay      outbox → broker
//!                                        ├─ due        Suspended → Ready
//!                                        ├─ leases     lost workers' operations
//!                                        ├─ reconcile  what the broker has lost
//!                                        ├─ redirect   what is in queues that do not work
//!                                        ├─ notices    ends, reported by webhook
//!                                        └─ retention  what ended long ago
//! ```
//!
//! Any number of managers do it side by side. Each partition falls to one of
//! them by rendezvous hashing over the live ones. If two managers disagree for
//! a moment, both look after it, which costs a look and nothing else, because
//! every step is a compare-and-set.
//!
//! A task looks at its partitions concurrently, in bounded batches, then
//! rests. When the store is unavailable it waits longer each time.

mod heartbeat;
mod lease_reaper;
mod lost_messages;
mod notices;
mod redirect;
mod relay;
mod retention;
mod scheduler;
mod task;

use std::time::Duration;

use drumline_backend::broker::UNDECIDED_MAX;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::service::QueueManager;

pub use retention::Retention;

/// The intervals of maintenance. Shorter is quicker and busier: each look is
/// one round trip per partition, the partitions of a look at once.
#[derive(Clone, Debug)]
pub struct MaintenanceOptions {
    /// Between looks for operations whose time has come. Default 200 ms, which
    /// is their largest delay on an idle system.
    pub due: Duration,
    /// Between looks at the outbox. Default 500 ms.
    pub relay: Duration,
    /// The time that an entry of the outbox is left to its maker. Default
    /// 1 s, far longer than a publish takes; a shorter time publishes twice.
    pub relay_age: Duration,
    /// Between looks at the locks. Default 500 ms, which is the largest delay
    /// of a take-over.
    pub leases: Duration,
    /// Between looks at queues that do not work. Default 500 ms, which is the
    /// largest delay before their operations are offered again. A look costs
    /// nothing while all queues work.
    pub redirect: Duration,
    /// Between looks for operations that the broker has lost. Default 5 s.
    pub reconcile: Duration,
    /// The time that an operation may wait in the broker before it is checked.
    /// Default 10 s.
    pub reconcile_grace: Duration,
    /// The time, after a marker has come back, for which the deliveries before
    /// it may still be in a worker's hands. Default 3 s: half a second more
    /// than workers keep an undecided delivery ([`UNDECIDED_MAX`]), for the
    /// claim that a free slot has just begun. A shorter time publishes twice.
    pub reconcile_settle: Duration,
    /// The time after which a marker that has not come back is looked for, and
    /// sent once more if it may be lost. The time doubles with each. Default 15
    /// s.
    pub marker_patience: Duration,
    /// Between looks for ends that are to be reported by webhook. Default 500
    /// ms, which is the largest delay of a webhook on an idle system.
    pub notices: Duration,
    /// Between looks for operations that ended long ago. Default 5 s.
    pub retention: Duration,
    /// Operations of one partition in one batch. Default 256.
    pub batch: usize,
}

impl Default for MaintenanceOptions {
    fn default() -> Self {
        Self {
            due: Duration::from_millis(200),
            relay: Duration::from_millis(500),
            relay_age: Duration::from_secs(1),
            leases: Duration::from_millis(500),
            redirect: Duration::from_millis(500),
            reconcile: Duration::from_secs(5),
            reconcile_grace: Duration::from_secs(10),
            reconcile_settle: UNDECIDED_MAX + Duration::from_millis(500),
            marker_patience: Duration::from_secs(15),
            notices: Duration::from_millis(500),
            retention: Duration::from_secs(5),
            batch: 256,
        }
    }
}

/// Running maintenance. Stop it; dropped, it stops too, but nothing waits for
/// it.
#[derive(Debug)]
pub struct Maintenance {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Maintenance {
    /// Starts all tasks, and the heartbeat that makes this manager known.
    #[must_use]
    pub fn start(manager: &QueueManager) -> Self {
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let (announce, share) = watch::channel(heartbeat::Share::default());
        tasks.spawn(heartbeat::run(manager.clone(), announce, stop.clone()));
        let all = task::Tasks {
            manager: manager.clone(),
            share,
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        all.start(relay::Relay::default());
        all.start(redirect::Redirect::default());
        all.start(scheduler::Scheduler);
        all.start(lease_reaper::LeaseReaper::default());
        all.start(lost_messages::LostMessages::default());
        all.start(retention::Retain::new());
        if let Some(notices) = notices::Notices::new(&manager.options().webhooks) {
            all.start(notices);
        }
        Self { tasks, stop }
    }

    /// Stops all tasks and notifies the other managers, which take the
    /// partitions over. Work that was begun is done or will be done by another
    /// manager.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

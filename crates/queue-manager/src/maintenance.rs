//! Maintenance: work that would stand still if no manager looked for it.
//!
//! ```text
//! heartbeat ── my partitions ──┬─ relay          outbox → broker
//!                              ├─ scheduler      Suspended → Ready
//!                              ├─ lease reaper   operations of lost workers
//!                              ├─ lost messages  offers that the broker has lost
//!                              ├─ handlers       operations that have found a worker
//!                              ├─ redirect       offers in queues that do not work
//!                              ├─ pauses         operations that no pause holds any more
//!                              ├─ actions        actions on many operations
//!                              ├─ queues         queues that are not used any more
//!                              ├─ notices        ends, reported by webhook
//!                              └─ retention      operations that ended long ago
//! ```
//!
//! Any number of managers maintain side by side. Each partition falls to one of
//! the live managers, by rendezvous hashing; its notices, to one of those that can
//! send webhooks. If two managers disagree for a
//! moment, both maintain the partition, which costs a look and nothing else,
//! because every step is a compare-and-set.
//!
//! A task looks at its partitions concurrently, in bounded batches, then rests.
//! While the store is unavailable it rests longer each time. A task that panics
//! ends all of maintenance: see [`QueueManager::failed`].

mod actions;
mod changes;
mod handlers;
mod heartbeat;
mod lease_reaper;
mod lost_messages;
mod notices;
mod oldest;
mod options;
mod pauses;
mod queues;
mod redirect;
mod relay;
mod retention;
mod scheduler;
mod task;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::service::QueueManager;

pub use options::{MaintenanceOptions, Retention};

/// Running maintenance. Stop it; dropped, it stops too, but nothing waits for
/// it.
#[derive(Debug)]
pub struct Maintenance {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Maintenance {
    /// Starts maintenance with the default options.
    #[must_use]
    pub fn start(manager: &QueueManager) -> Self {
        Self::start_with(manager, &MaintenanceOptions::default())
    }

    /// Starts all tasks, and the heartbeat that makes this manager known.
    #[must_use]
    pub fn start_with(manager: &QueueManager, options: &MaintenanceOptions) -> Self {
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let (announce, share) = watch::channel(heartbeat::Share::default());
        let notices = notices::Notices::new(&manager.options().webhooks);
        let (notices, webhooks) = notices
            .map(|notices| {
                let (announce, share) = watch::channel(heartbeat::Share::default());
                ((notices, share), announce)
            })
            .unzip();
        let (workers, known_workers) = watch::channel(handlers::Workers::default());
        let (all_count, counted) = watch::channel(false);
        let announce = heartbeat::Announce {
            share: announce,
            all_count,
            webhooks,
            workers,
        };
        let beat = heartbeat::run(manager.clone(), announce, stop.clone());
        tasks.spawn(manager.critical().guard("heartbeat", &stop, beat));
        tasks.spawn(stop_after_a_failure(manager.clone(), stop.clone()));
        let (known, changes) = watch::channel(None);
        let rest = options.shortest_rest();
        let watching = changes::watch(manager.clone(), rest, counted, known, stop.clone());
        tasks.spawn(manager.critical().guard("changes", &stop, watching));
        let all = task::Tasks {
            manager: manager.clone(),
            share,
            changes,
            stop: stop.clone(),
            tasks: tasks.clone(),
        };
        all.start(options.relay, relay::Relay::new(options));
        all.start(options.redirect, redirect::Redirect::new(options));
        all.start(options.due, scheduler::Scheduler::new(options));
        let handlers = handlers::Handlers::new(options, known_workers);
        all.start(options.handlers, handlers);
        all.start(options.leases, lease_reaper::LeaseReaper::new(options));
        let lost_messages = lost_messages::LostMessages::new(options);
        all.start(
            options.reconcile / lost_messages::LOOKS_PER_SWEEP,
            lost_messages,
        );
        all.start(options.pauses, pauses::KeepPauses::new(options));
        all.start(options.retention, retention::Retain::new(options));
        all.start(queues::REST, queues::UnusedQueues::new(options));
        all.start(oldest::REST, oldest::Oldest::default());
        let executing = actions::run(manager.clone(), options.actions, stop.clone());
        tasks.spawn(manager.critical().guard("actions", &stop, executing));
        if let Some((notices, share)) = notices {
            let able = task::Tasks { share, ..all };
            able.start(options.notices, notices);
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

/// Stops maintenance when a critical task of the manager fails, so that the
/// heartbeat leaves and other managers take the partitions over.
async fn stop_after_a_failure(manager: QueueManager, stop: CancellationToken) {
    tokio::select! {
        _ = manager.failed() => stop.cancel(),
        () = stop.cancelled() => {}
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

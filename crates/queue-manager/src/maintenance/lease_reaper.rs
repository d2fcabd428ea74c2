//! Lease reaper: takes over the operations of workers that are lost.
//!
//! No clock is compared with another. Each renewal changes the lock's beat. If a
//! beat has not changed for a whole lease, on the monotonic clock of this
//! process, then the worker has stopped its handler by itself: it does so after
//! three quarters of a lease without a renewal. The take-over is made only if
//! the lock is still as it was watched.
//!
//! When the store was unavailable, or came back as another incarnation, the
//! watch starts again: the holders could not renew either.

use std::collections::HashMap;

use drumline_backend::apply_event::{Applied, apply_event_to_summary};
use drumline_backend::store::{self, Guard, Holding, Lock, Summary, Work};
use drumline_protocol::{Author, Event, EventKind, OperationId, Partition};
use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;

use super::MaintenanceOptions;
use super::task::{Look, Task, for_each};
use crate::service::QueueManager;

/// Take-overs at the same time: enough to hide the round trips. One that fails an
/// operation reads its report, which may be large.
const AT_ONCE: usize = 16;

/// The task that takes over operations of lost workers.
#[derive(Debug)]
pub(super) struct LeaseReaper {
    batch: usize,
    watched: HashMap<OperationId, Watched>,
    incarnation: Option<String>,
}

/// A lock as it was first seen with this beat.
#[derive(Clone, Copy, Debug)]
struct Watched {
    holding: Holding,
    beat: u64,
    since: Instant,
}

impl Task for LeaseReaper {
    const NAME: &'static str = "leases";

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        let looked = self.watch(manager, share).await;
        if looked.is_err() {
            self.watched.clear();
        }
        looked
    }
}

impl LeaseReaper {
    pub(super) fn new(options: &MaintenanceOptions) -> Self {
        Self {
            batch: options.batch,
            watched: HashMap::new(),
            incarnation: None,
        }
    }

    async fn watch(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        let store = manager.store();
        let with_locks = store.with_work(Work::Locks, share).await?.partitions;
        if with_locks.is_empty() {
            self.watched.clear();
            return Ok(Look::Nothing(None));
        }
        let incarnation = store.incarnation().await?;
        if self.incarnation.as_ref() != Some(&incarnation) {
            self.watched.clear();
            self.incarnation = Some(incarnation);
        }
        let seen = for_each(&with_locks, |partition| async move {
            let asked = Instant::now();
            let locks = store.locks(partition).await?;
            Ok((asked, locks, Instant::now()))
        })
        .await?;
        let mut watched = HashMap::new();
        let mut expired = Vec::new();
        for (asked, locks, answered) in seen {
            for lock in locks {
                let (watch, is_expired) = self.judge(&lock, asked, answered);
                watched.insert(lock.id, watch);
                if is_expired {
                    expired.push(lock);
                }
            }
        }
        self.watched = watched;
        for batch in expired.chunks(self.batch) {
            take_over(manager, batch).await?;
        }
        Ok(Look::Clear)
    }

    /// Returns the lock as it is watched from now on, and true if it has stood
    /// still for a whole lease: at least from the *answer* that first showed it
    /// to the *question* that showed it last.
    fn judge(&self, lock: &Lock, asked: Instant, answered: Instant) -> (Watched, bool) {
        let before = self.watched.get(&lock.id);
        let still =
            before.filter(|before| before.holding == lock.holding() && before.beat == lock.beat);
        match still {
            Some(before) => {
                let stood = asked.saturating_duration_since(before.since);
                (*before, stood >= lock.lease)
            }
            None => {
                let fresh = Watched {
                    holding: lock.holding(),
                    beat: lock.beat,
                    since: answered,
                };
                (fresh, false)
            }
        }
    }
}

async fn take_over(manager: &QueueManager, locks: &[Lock]) -> store::Result<()> {
    let ids: Vec<OperationId> = locks.iter().map(|lock| lock.id).collect();
    let operations = manager.summaries(&ids).await?;
    let mut expiries = Vec::new();
    for (lock, operation) in locks.iter().zip(operations) {
        expiries.extend(operation.map(|operation| expire(manager, lock, operation)));
    }
    let mut expired = stream::iter(expiries).buffer_unordered(AT_ONCE);
    let mut outcome = Ok(());
    while let Some(expired) = expired.next().await {
        outcome = outcome.and(expired);
    }
    outcome
}

async fn expire(manager: &QueueManager, lock: &Lock, operation: Summary) -> store::Result<()> {
    let guard = Guard::Unchanged {
        holding: lock.holding(),
        beat: lock.beat,
    };
    let author = Author::manager("lease reaper");
    let by = manager.signature(&author);
    let event = Event::LeaseExpired;
    let decided = apply_event_to_summary(manager.store(), by, &operation, event, guard);
    match decided.await? {
        Applied::Done(header, done) => {
            manager.metrics().taken_over.inc();
            tracing::warn!(
                id = %operation.id,
                host = operation.header.host_id.as_deref(),
                status = header.status.name(),
                "the worker of an operation was lost"
            );
            let before = operation.header.clone();
            let operation = Summary {
                header,
                ..operation
            };
            manager.count_end(&before, &operation, EventKind::LeaseExpired);
            manager.dispatcher().enqueue_summary(&operation, &done);
        }
        // The worker has finished after all, or renewed at last.
        Applied::Fenced | Applied::Missing | Applied::NotHead | Applied::Held => {}
        Applied::Refused(refused) => {
            tracing::debug!(id = %operation.id, %refused, "a lock has no running operation");
        }
    }
    Ok(())
}

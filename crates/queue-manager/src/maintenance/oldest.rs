//! The oldest that could run: for each queue, the time for which the operation waits that
//! waits longest of those that a worker could claim.
//!
//! An operation that a time, a pause or a predecessor keeps does not count, and the head of a
//! chain counts from the moment at which it became the head. So the age says whether a queue
//! moves, whatever its length.
//!
//! The time is that of an offer. An offer that is made again, because the broker may have
//! lost it, begins no new time: the first one is remembered for as long as the operation
//! does not change.

use std::collections::HashMap;
use std::time::Duration;

use drumline_backend::store::{self, Stamp, Work};
use drumline_protocol::{OperationId, Partition, QueueName, State, Timestamp};

use super::task::{Look, Task, for_each};
use crate::service::QueueManager;

/// Between looks. An alert waits for minutes.
pub(super) const REST: Duration = Duration::from_secs(30);
/// Queues that are looked at: the default one, and the first of the others by name. Each
/// is a label of a metric, and costs some calls for each partition with offers.
const QUEUES: usize = 64;
/// Operations of one partition and queue that are looked at.
const COUNTED: usize = 64;
/// Operations of these that are compared: of each organization those that were created
/// first, about so many together.
const COMPARED: usize = 8;

/// The task that measures it, each manager in its own partitions.
#[derive(Default)]
pub(super) struct Oldest {
    /// The operations of the last look.
    known: HashMap<OperationId, Waiting>,
}

/// An operation that could run.
#[derive(Clone, Copy)]
struct Waiting {
    changed: Timestamp,
    /// The first offer since that change that was seen.
    offered: Stamp,
}

impl Task for Oldest {
    const NAME: &'static str = "oldest";

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        let store = manager.store();
        let mut partitions = store.with_work(Work::Outbox, share).await?.partitions;
        partitions.extend(store.with_work(Work::Offered, share).await?.partitions);
        partitions.sort_unstable();
        partitions.dedup();
        let (mut ages, mut seen) = (Vec::new(), HashMap::new());
        if !partitions.is_empty() {
            let mut queues = vec![QueueName::default()];
            queues.extend(store.queues(None, QUEUES - 1).await?);
            for queue in queues {
                let looks = for_each(&partitions, |partition| waiting(manager, &queue, partition));
                let mut oldest: Option<Stamp> = None;
                for (id, mut one) in looks.await?.into_iter().flatten() {
                    let before = self.known.get(&id);
                    if let Some(before) = before.filter(|before| before.changed == one.changed) {
                        one.offered = one.offered.min(before.offered);
                    }
                    oldest = oldest.into_iter().chain([one.offered]).min();
                    seen.insert(id, one);
                }
                if let Some(since) = oldest {
                    ages.push((queue, age(since, store.now())));
                }
            }
        }
        self.known = seen;
        manager.metrics().oldest(&ages);
        Ok(Look::Clear)
    }
}

/// Some of a queue's operations that could run, with the times of their last offers.
async fn waiting(
    manager: &QueueManager,
    queue: &QueueName,
    partition: Partition,
) -> store::Result<Vec<(OperationId, Waiting)>> {
    let store = manager.store();
    let found = store.runnable(partition, queue, COUNTED, COMPARED).await?;
    if found.first.is_empty() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for summary in manager.summaries(&found.first).await?.into_iter().flatten() {
        // Another queue may have the same hash, and a member of an earlier build may have
        // changed an operation without its sets.
        let is_ready = summary.header.status.state() == State::Ready;
        if !is_ready || summary.body.queue != *queue {
            continue;
        }
        // A stamp of 0 is that of one that was withdrawn meanwhile.
        let offer = store.last_offer(summary.id).await?;
        let offered = offer.map(|offer| offer.stamp).filter(|stamp| stamp.0 > 0);
        if let Some(offered) = offered {
            let changed = summary.header.modified_on;
            all.push((summary.id, Waiting { changed, offered }));
        }
    }
    Ok(all)
}

/// The time since a stamp, which is one in microseconds.
fn age(since: Stamp, now: Timestamp) -> Duration {
    let now = u64::try_from(now.as_millis()).unwrap_or(0);
    Duration::from_micros(now.saturating_mul(1_000).saturating_sub(since.0))
}

//! The operations of a queue that could run now, and the room that its workers have:
//! for a program that starts and ends workers.
//!
//! The lengths of the queues in the broker do not tell: an operation may have several
//! offers there, and offers of operations that were paused stay. So the store is
//! asked, partition by partition, until the time is over. It reads the flows of the
//! queue alone, so the backlog of other queues hides nothing.

use std::collections::HashSet;
use std::time::Duration;

use drumline_backend::membership::{Member, Role};
use drumline_protocol::{Partition, QueueName, Timestamp};
use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::QueueManager;
use crate::error::Result;

/// Operations that are counted in one partition. With a backlog of that size in a
/// partition, more workers are wanted than a step of any autoscaler starts.
const COUNTED: usize = 1_024;
/// Operations of one partition whose ages are compared.
const COMPARED: usize = 16;
/// Members on a page.
const MEMBERS: usize = 500;
/// Partitions that are asked at the same time.
const AT_ONCE: usize = 8;
/// The time after which the answer is given as it is.
const SEARCH: Duration = Duration::from_millis(500);

/// The load of one queue, as of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scale {
    /// The operations that a worker could claim now: Ready, not held by a pause, and
    /// without a predecessor. At least so many: no more than some 1,000 are counted in
    /// a partition.
    pub runnable: u64,
    /// The operations that the queue's workers run now, of any of their queues.
    pub running: u64,
    /// The operations that the queue's workers can run at the same time.
    pub capacity: u64,
    /// The time since the last change of the operation that was changed first, of the
    /// runnable ones that were offered first in their organization: since it was
    /// created, resumed or woken.
    pub oldest: Duration,
}

impl Scale {
    /// The operations that should run at the same time: those that run, and those that
    /// could.
    #[must_use]
    pub const fn wanted(&self) -> u64 {
        self.runnable.saturating_add(self.running)
    }
}

impl QueueManager {
    /// Looks at the load of a queue. Costs two calls per partition, one per 500 members, and
    /// the summaries of some 32 operations of each partition. Half a second after its
    /// start it asks no more, and answers what it has found.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn scale(&self, queue: &QueueName) -> Result<Scale> {
        let end = Instant::now() + SEARCH;
        let mut scale = Scale::default();
        let mut seen = HashSet::new();
        let mut after = None;
        loop {
            let page = self.backend().membership.members(after, MEMBERS).await?;
            let serves = |member: &&Member| {
                member.profile.role == Role::Worker && member.profile.queues.contains(queue)
            };
            for worker in page.members.iter().filter(serves) {
                // One whose profile changes meanwhile may be on two pages.
                if !seen.insert(worker.id) {
                    continue;
                }
                scale.running = scale.running.saturating_add(worker.running.into());
                if !worker.profile.draining {
                    let room = worker.profile.concurrency.into();
                    scale.capacity = scale.capacity.saturating_add(room);
                }
            }
            after = page.next;
            if after.is_none() || Instant::now() >= end {
                break;
            }
        }
        let now = self.store().now();
        let all: Vec<_> = self.store().partitions().all().collect();
        for some in all.chunks(AT_ONCE) {
            let looks = some
                .iter()
                .map(|partition| self.runnable(queue, *partition));
            for (count, changed) in try_join_all(looks).await? {
                scale.runnable = scale.runnable.saturating_add(count);
                let waits = changed.map_or(Duration::ZERO, |changed| now.since(changed));
                scale.oldest = scale.oldest.max(waits);
            }
            if Instant::now() >= end {
                break;
            }
        }
        Ok(scale)
    }

    /// The number of the queue's runnable operations in a partition, and the earliest of
    /// their last changes.
    async fn runnable(
        &self,
        queue: &QueueName,
        partition: Partition,
    ) -> Result<(u64, Option<Timestamp>)> {
        let store = self.store();
        let found = store.runnable(partition, queue, COUNTED, COMPARED).await?;
        if found.first.is_empty() {
            return Ok((found.count, None));
        }
        let some = store.summaries(&found.first).await?.into_iter().flatten();
        // Another queue may have the same hash.
        let of_queue = some.filter(|summary| summary.body.queue == *queue);
        let changed = of_queue.map(|summary| summary.header.modified_on).min();
        Ok((found.count, changed))
    }
}

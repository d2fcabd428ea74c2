//! Redirect: operations whose offers are in a queue that does not work are
//! offered again, through another queue.
//!
//! A queue that is by-passed may hold offers that were confirmed before. They
//! are not delivered for as long as the queue does not work, which may be long.
//! So their operations are offered once more, once for each time that a queue
//! becomes by-passed. If the queue works again, it delivers duplicates, which
//! the claim drops.
//!
//! ```text
//! a queue is by-passed for some seconds ─ stamp of each partition
//!      ─ pages of what the broker has ─ older than the stamp, and may be in
//!      that queue ─→ offered again
//! ```
//!
//! No marker is sent, because it would not come back. A queue that was only slow
//! is by-passed for a shorter time, and its operations are not offered again.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use drumline_backend::Broker as _;
use drumline_backend::broker::Backlog;
use drumline_backend::store::{self, OfferedPlace, Promoted, Stamp, Summary};
use drumline_protocol::message::{Route, Source};
use drumline_protocol::{OperationId, Partition, Timestamp};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::MaintenanceOptions;
use super::task::{Look, Task, for_each};
use crate::service::QueueManager;

/// Pages of one queue in one look. A million operations in a queue that is lost
/// are offered again within minutes, which is faster than they are executed.
const PAGES: usize = 8;

/// The time that a queue must be by-passed before its operations are offered
/// again: a disk that stands still for a moment must not double all waiting
/// operations.
const GRACE: Duration = Duration::from_secs(2);

/// The time that progress is kept after a queue works again: the reports of
/// other members come and go.
const KEPT: Duration = Duration::from_secs(60);

/// The queues that are by-passed, and the progress with each.
#[derive(Debug)]
pub(super) struct Redirect {
    batch: usize,
    queues: BTreeMap<Route, Queue>,
}

impl Redirect {
    pub(super) const fn new(options: &MaintenanceOptions) -> Self {
        Self {
            batch: options.batch,
            queues: BTreeMap::new(),
        }
    }
}

/// One queue.
#[derive(Debug)]
struct Queue {
    /// The time since which it is by-passed without a break.
    since: Instant,
    /// The last look at which it was by-passed.
    seen: Instant,
    /// The store's time at that look, as a stamp: until then offers went through
    /// another queue.
    seen_at: Stamp,
    /// The earliest offers that may be in the queue.
    from: Stamp,
    partitions: HashMap<Partition, Progress>,
}

/// The progress with one partition.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// Later offers went through another queue.
    until: Stamp,
    /// The place of the last operation that was looked at.
    after: Option<OfferedPlace>,
    is_done: bool,
}

impl Task for Redirect {
    const NAME: &'static str = "redirect";

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        let now = Instant::now();
        let bypassed = manager.bypass().bypassed();
        let mut routes: Vec<Route> = bypassed.into_iter().map(|one| one.route).collect();
        // A queue that other members cannot declare, but this one can, works.
        routes.retain(|route| manager.bypass().trouble(route).is_some());
        self.queues
            .retain(|_, queue| now.duration_since(queue.seen) < KEPT);
        if manager.backend().broker.check().is_err() {
            return Ok(Look::Clear);
        }
        for route in routes {
            let queue = self.queues.entry(route.clone()).or_insert_with(|| Queue {
                since: now,
                seen: now,
                seen_at: Stamp(0),
                from: Stamp(0),
                partitions: HashMap::new(),
            });
            if now.duration_since(queue.seen) > GRACE {
                queue.since = now;
                // The queue has worked in between, and may hold offers of that
                // time.
                if queue.partitions.values().all(|progress| progress.is_done) {
                    queue.from = queue.seen_at;
                }
                queue.partitions.clear();
            }
            queue.seen = now;
            queue.seen_at = stamp_of(manager.store().now());
            // Now, because everything that is offered from now on goes through
            // another queue.
            note_partitions(manager, &route, share, &mut queue.partitions).await?;
            let is_new = now.duration_since(queue.since) < GRACE;
            if is_new || is_unused_spare(manager, &route).await {
                continue;
            }
            offer_pages(
                manager,
                &route,
                queue.from,
                self.batch,
                &mut queue.partitions,
            )
            .await?;
        }
        Ok(Look::Clear)
    }
}

/// A time of the store as a stamp.
fn stamp_of(time: Timestamp) -> Stamp {
    let millis = u64::try_from(time.as_millis()).unwrap_or(0);
    Stamp(millis.saturating_mul(1000))
}

/// Returns true for a spare queue without messages: nearly always nothing went
/// through it.
async fn is_unused_spare(manager: &QueueManager, route: &Route) -> bool {
    if route.source != Source::Spare {
        return false;
    }
    let backlog = manager.backend().broker.backlog(route).await;
    matches!(backlog, Ok(None | Some(Backlog { messages: 0, .. })))
}

/// Notes the partitions whose operations may be in a queue.
async fn note_partitions(
    manager: &QueueManager,
    route: &Route,
    share: &[Partition],
    known: &mut HashMap<Partition, Progress>,
) -> store::Result<()> {
    known.retain(|partition, _| share.contains(partition));
    let may_hold = |partition: &Partition| match route.source {
        Source::Lane(lane) => lane == *partition,
        Source::Work | Source::Spare => true,
    };
    let fresh: Vec<Partition> = share
        .iter()
        .filter(|partition| may_hold(partition) && !known.contains_key(partition))
        .copied()
        .collect();
    let stamps = for_each(&fresh, |partition| async move {
        Ok((partition, manager.store().stamp(partition).await?))
    });
    for (partition, until) in stamps.await? {
        let progress = Progress {
            until,
            after: None,
            is_done: false,
        };
        known.insert(partition, progress);
    }
    Ok(())
}

/// Offers some pages again.
async fn offer_pages(
    manager: &QueueManager,
    route: &Route,
    from: Stamp,
    batch: usize,
    known: &mut HashMap<Partition, Progress>,
) -> store::Result<()> {
    let open = known.iter().filter(|(_, progress)| !progress.is_done);
    let some: Vec<(Partition, Progress)> = open
        .map(|(partition, progress)| (*partition, *progress))
        .take(PAGES)
        .collect();
    for (partition, progress) in some {
        let (offered, next) = manager
            .store()
            .offered(partition, progress.after, batch)
            .await?;
        let old = offered
            .into_iter()
            .filter(|(_, stamp)| from <= *stamp && *stamp <= progress.until);
        offer_again(manager, route, old.collect()).await?;
        known.insert(
            partition,
            Progress {
                after: next,
                is_done: next.is_none(),
                ..progress
            },
        );
    }
    Ok(())
}

async fn offer_again(
    manager: &QueueManager,
    route: &Route,
    candidates: Vec<(OperationId, Stamp)>,
) -> store::Result<()> {
    if candidates.is_empty() {
        return Ok(());
    }
    let ids: Vec<OperationId> = candidates.iter().map(|(id, _)| *id).collect();
    let operations = manager.summaries(&ids).await?.into_iter();
    let of_queue: Vec<(Summary, Stamp)> = operations
        .zip(candidates)
        .filter_map(|(operation, (_, stamp))| Some((operation?, stamp)))
        .filter(|(operation, _)| may_be_in(route, operation))
        .collect();
    let offers = of_queue
        .iter()
        .map(|(operation, seen)| manager.store().reoffer(operation.id, *seen, Duration::ZERO));
    let mut count = 0;
    for ((operation, _), offered) in of_queue.iter().zip(join_all(offers).await) {
        // `None` if another manager was faster.
        if let Some(stamp) = offered? {
            count += 1;
            let promoted = Promoted::new(operation.clone(), stamp);
            manager.dispatcher().enqueue(&promoted);
        }
    }
    if count > 0 {
        manager.metrics().redirected.inc_by(count);
        tracing::info!(count, queue = %route, "operations in a queue that does not work are offered again");
    }
    Ok(())
}

/// Returns true if an operation's offer may be in a queue. Busy workers put
/// offers of lanes into the work queue, and the spare queue has the offers that
/// the work queue did not take.
fn may_be_in(route: &Route, operation: &Summary) -> bool {
    match route.source {
        Source::Lane(_) => operation.offer().route() == *route,
        Source::Work | Source::Spare => operation.body.queue == route.queue,
    }
}

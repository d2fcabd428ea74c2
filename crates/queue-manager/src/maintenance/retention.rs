//! Retention: Completed operations are removed when they are old enough.
//!
//! They are removed in small steps, oldest end first, with a pause after each:
//! so a store with a million old operations answers all other callers as before.
//! Each removal is an ordinary commit. An operation that still holds its chain is
//! refused and stays, and so does an operation whose webhook is not delivered yet and may
//! still be tried.
//!
//! Operations that stay are not read again with each look: the next look begins
//! behind the last end that was seen. Every few minutes a look begins at the
//! front, because some of them may be removed by then.
//!
//! [`room`] removes further ones when all together take too many bytes.

mod room;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use drumline_backend::apply_event::prepare_without_report;
use drumline_backend::store::{self, Committed, Stamp, Summary, Work};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{Author, Event, OperationId, Partition, Timestamp};
use tokio::time::{Instant, sleep};

use self::room::Room;
use super::task::{Look, Task};
use super::{MaintenanceOptions, Retention};
use crate::service::QueueManager;

/// The interval at which a look begins at the front: an operation that had to
/// stay may outlive its time by so long. A shorter interval reads more
/// operations in vain.
const START_OVER: Duration = Duration::from_secs(5 * 60);
/// The part of its time by which an operation may outlive it, where none is old enough now.
/// The entries of all partitions are in no cache of the processor then.
const LATE: u32 = 1_000;
/// The most by which it may.
const LATEST: Duration = Duration::from_secs(60);

impl Retention {
    const fn of(&self, class: EndClass) -> Option<Duration> {
        match class {
            EndClass::Succeeded => self.succeeded,
            EndClass::Unsuccessful => self.unsuccessful,
            EndClass::Transient => self.transient,
        }
    }
}

/// The task that removes old operations.
pub(super) struct Retain {
    keep: Retention,
    /// The stamp up to which the ends have been seen.
    seen: HashMap<(Partition, EndClass), Stamp>,
    /// The time since which `seen` is kept.
    begun: Instant,
    /// The time before which there is no look at the ends of a class.
    rests: HashMap<EndClass, Instant>,
    room: Room,
}

impl Retain {
    pub(super) fn new(options: &MaintenanceOptions) -> Self {
        Self::begin(options.keep.clone())
    }

    /// Begins at the front.
    fn begin(keep: Retention) -> Self {
        Self {
            keep,
            seen: HashMap::new(),
            begun: Instant::now(),
            rests: HashMap::new(),
            room: Room::default(),
        }
    }
}

impl Task for Retain {
    const NAME: &'static str = "retention";

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        if self.begun.elapsed() >= START_OVER {
            *self = Self {
                room: std::mem::take(&mut self.room),
                ..Self::begin(self.keep.clone())
            };
        }
        for class in [
            EndClass::Transient,
            EndClass::Succeeded,
            EndClass::Unsuccessful,
        ] {
            let Some(age) = self.keep.of(class) else {
                continue;
            };
            let rests = self.rests.get(&class);
            if rests.is_some_and(|until| Instant::now() < *until) {
                continue;
            }
            let until = before(manager.store().now(), age);
            let old = Work::Ended(class, until);
            // One partition after the other: no other task has as much time.
            let with_old = manager.store().with_work(old, share).await?;
            if with_old.partitions.is_empty() {
                let rest = (age / LATE).min(LATEST);
                self.rests.insert(class, Instant::now() + rest);
            }
            for partition in with_old.partitions {
                let seen = self.seen.entry((partition, class)).or_insert(Stamp(0));
                remove_old(manager, &self.keep, (partition, class, until), seen).await?;
            }
        }
        self.make_room(manager, share).await?;
        Ok(Look::Clear)
    }
}

/// Removes operations that ended up to `until`, and behind the `seen` stamp, step by
/// step.
async fn remove_old(
    manager: &QueueManager,
    keep: &Retention,
    (partition, class, until): (Partition, EndClass, Stamp),
    seen: &mut Stamp,
) -> store::Result<()> {
    loop {
        let old = manager
            .store()
            .ended(partition, class, *seen, until, keep.step);
        let old = old.await?;
        let Some(&(_, last)) = old.last() else {
            return Ok(());
        };
        let ids: Vec<_> = old.into_iter().map(|(id, _)| id).collect();
        let removed = remove(manager, &ids).await?;
        manager.metrics().removed(class, removed);
        *seen = last;
        sleep(keep.pause).await;
    }
}

/// Removes operations, except those that must stay, and returns the number
/// removed.
async fn remove(manager: &QueueManager, ids: &[OperationId]) -> store::Result<usize> {
    let found = manager.summaries(ids).await?.into_iter().flatten();
    let found: Vec<Summary> = found.collect();
    let awaited = awaited(manager, &found).await?;
    let author = Author::manager("retention");
    let by = manager.signature(&author);
    let mut commits = Vec::new();
    for operation in found {
        let store = manager.store();
        if awaited.contains(&operation.id) {
            continue;
        }
        let commit = prepare_without_report(store, by, &operation, Event::Delete);
        if let Ok(mut commit) = commit {
            commit.remember = manager.remembered(&operation.body);
            commits.push(commit);
        }
    }
    let answers = manager.store().commit(commits).await?;
    let gone = answers
        .iter()
        .filter(|answer| matches!(answer, Committed::Done(_) | Committed::Missing));
    Ok(gone.count())
}

/// The operations whose ends are still to be reported: the notice is made from the
/// operation. A notice that is owed for longer than tries take does not count: the manager
/// that could send it has been gone for days.
async fn awaited(manager: &QueueManager, found: &[Summary]) -> store::Result<HashSet<OperationId>> {
    let now = manager.store().now();
    let longest = manager.options().webhooks.longest();
    let may_be = |operation: &&Summary| {
        let end = operation.header.completed_on;
        operation.header.rules.webhook && end.is_some_and(|end| now.since(end) < longest)
    };
    let asked = found.iter().filter(may_be).map(|operation| operation.id);
    let asked: Vec<OperationId> = asked.collect();
    if asked.is_empty() {
        return Ok(HashSet::new());
    }
    let owed = manager.store().notices_owed(&asked).await?;
    let owed = asked.into_iter().zip(owed);
    Ok(owed
        .filter_map(|(id, is_owed)| is_owed.then_some(id))
        .collect())
}

/// The stamp of ends that lie so long before `now`.
fn before(now: Timestamp, keep: Duration) -> Stamp {
    let now = u128::try_from(now.as_millis()).unwrap_or(0) * 1000;
    let until = now.saturating_sub(keep.as_micros());
    Stamp(u64::try_from(until).unwrap_or(u64::MAX))
}

//! Retention: Completed operations are removed when they are old enough.
//!
//! In small steps, oldest end first, with a pause behind each, so that a store
//! with a million old operations answers all other callers as before. Each
//! removal is an ordinary commit: an operation that still holds its chain, or
//! is too new for its assumed class, is refused and stays.
//!
//! Operations that stay are not read again with each look: the next look goes
//! on behind the last end that was seen. Every few minutes a look begins at the
//! front once more, for some may be free to go by then.

use std::collections::HashMap;
use std::time::Duration;

use drumline_backend::apply_event::prepare_unlocked;
use drumline_backend::store::{self, Committed, Stamp};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{Event, Operation, OperationId, Partition, Timestamp};
use tokio::time::{Instant, sleep};

use super::MaintenanceOptions;
use super::task::{Look, Task};
use crate::service::QueueManager;

/// The interval at which a look begins at the front: an operation that had to
/// stay may outlive its time by so long. A shorter interval reads more
/// operations that must stay, and in vain.
const START_OVER: Duration = Duration::from_secs(5 * 60);

/// The time that Completed operations are kept. `None` keeps them for ever; the
/// store then grows with every operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Succeeded operations. Default 30 days.
    pub succeeded: Option<Duration>,
    /// Failed and Canceled operations. Default 90 days: the reason may still be
    /// wanted.
    pub unsuccessful: Option<Duration>,
    /// Succeeded operations whose creator asked for no history
    /// (`retainJobHistory: false`). Default as long as the other Succeeded
    /// ones. Zero removes them as soon as they have ended, and only a caller
    /// that was waiting sees the result.
    pub transient: Option<Duration>,
    /// Operations that are removed in one step. Default 32: a few milliseconds
    /// of the store. They are read with their payloads.
    pub step: usize,
    /// The pause behind each step. Default 5 ms, so that other callers get
    /// their turn; together with the step it bounds the removals of one manager
    /// to some 5,000 in a second.
    pub pause: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Retention {
    fn default() -> Self {
        Self {
            succeeded: Some(30 * DAY),
            unsuccessful: Some(90 * DAY),
            transient: Some(30 * DAY),
            step: 32,
            pause: Duration::from_millis(5),
        }
    }
}

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
    /// The stamp up to which the ends have been seen.
    seen: HashMap<(Partition, EndClass), Stamp>,
    /// The time since which `seen` is kept.
    begun: Instant,
}

impl Retain {
    pub(super) fn new() -> Self {
        Self {
            seen: HashMap::new(),
            begun: Instant::now(),
        }
    }
}

impl Task for Retain {
    const NAME: &'static str = "retention";

    fn rest(maintenance: &MaintenanceOptions) -> Duration {
        maintenance.retention
    }

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        if self.begun.elapsed() >= START_OVER {
            *self = Self::new();
        }
        // One partition after the other: this is the one task that is never in
        // a hurry.
        for partition in share {
            for class in [
                EndClass::Transient,
                EndClass::Succeeded,
                EndClass::Unsuccessful,
            ] {
                if let Some(keep) = manager.options().retention.of(class) {
                    let seen = self.seen.entry((*partition, class)).or_insert(Stamp(0));
                    remove_old(manager, *partition, class, keep, seen).await?;
                }
            }
        }
        Ok(Look::Clear)
    }
}

/// Removes operations that ended longer ago than `keep`, and behind the `seen`
/// stamp, step by step.
async fn remove_old(
    manager: &QueueManager,
    partition: Partition,
    class: EndClass,
    keep: Duration,
    seen: &mut Stamp,
) -> store::Result<()> {
    let Retention { step, pause, .. } = manager.options().retention;
    let until = before(manager.store().now(), keep);
    loop {
        let old = manager.store().ended(partition, class, *seen, until, step);
        let old = old.await?;
        let Some(&(_, last)) = old.last() else {
            return Ok(());
        };
        let ids: Vec<_> = old.into_iter().map(|(id, _)| id).collect();
        let removed = remove(manager, &ids).await?;
        manager.metrics().removed(class, removed);
        *seen = last;
        sleep(pause).await;
    }
}

/// Removes operations, except those that must stay, and returns the number
/// removed.
async fn remove(manager: &QueueManager, ids: &[OperationId]) -> store::Result<usize> {
    let found = manager.readable(ids).await?;
    let mut commits = Vec::new();
    for operation in found.into_iter().flatten() {
        let store = manager.store();
        if may_be_awaited(manager, &operation, store.now()) {
            continue;
        }
        if let Ok(commit) = prepare_unlocked(store, manager.ids(), &operation, Event::Delete) {
            manager.note_removal(&operation).await?;
            commits.push(commit);
        }
    }
    let answers = manager.store().commit(commits).await?;
    let gone = answers
        .iter()
        .filter(|answer| matches!(answer, Committed::Done(_) | Committed::Missing));
    Ok(gone.count())
}

/// Returns true if the end may still have to be reported: the notice is made
/// from the operation.
fn may_be_awaited(manager: &QueueManager, operation: &Operation, now: Timestamp) -> bool {
    let webhooks = &manager.options().webhooks;
    operation.header.rules.webhook
        && operation
            .header
            .completed_on
            .is_some_and(|end| now.since(end) < webhooks.longest())
}

/// The stamp of ends that lie so long before `now`.
fn before(now: Timestamp, keep: Duration) -> Stamp {
    let now = u128::try_from(now.as_millis()).unwrap_or(0) * 1000;
    let until = now.saturating_sub(keep.as_micros());
    Stamp(u64::try_from(until).unwrap_or(u64::MAX))
}

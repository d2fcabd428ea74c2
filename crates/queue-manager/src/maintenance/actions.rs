//! Actions on many operations: executes them page by page, and removes old ones.
//!
//! ```text
//! open actions ─→ free? ─ take ─→ page ─ write ─→ page ─ write ─→ … ─→ end
//!                  │ no executor; this manager; or the revision has stood still
//!                  └ for a lease, by this manager's own clock
//! ```
//!
//! A manager that stops writes its pages and gives its actions back. One that dies
//! leaves them, and another manager goes on behind the last page that was written. The
//! operations of the page in between are met twice: those that are done already stay as
//! they are, and may be missing in the numbers.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use drumline_backend::store::{self, ActionWrite};
use drumline_protocol::{ActionId, ActionStage, Backoff, BulkAction, Timestamp};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::service::{ACTIONS_OF_ALL, ActionPage, QueueManager};

/// Actions that a manager executes at the same time; further ones wait, or go to
/// other managers.
const AT_ONCE: usize = 4;
/// The time without a new revision after which an action is taken from its executor: a
/// page takes a fraction of a second. To take one too early costs a page.
const LEASE: Duration = Duration::from_secs(5);
/// The time that actions are kept after their start.
const KEEP: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Between removals of old actions.
const REMOVAL: Duration = Duration::from_secs(60);
/// The first and the longest rest while the store is unavailable.
const RESTS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Executes actions until stopped. The actions under way are given back then.
pub(super) async fn run(manager: QueueManager, rest: Duration, stop: CancellationToken) {
    let mut open = Open::default();
    let mut executions = FuturesUnordered::new();
    let mut backoff = Backoff::new(rest, RESTS.1);
    let mut next_look = Instant::now();
    let mut next_removal = Instant::now();
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(id) = executions.next() => {
                open.mine.remove(&id);
                continue;
            }
            () = sleep_until(next_look) => {}
        }
        let mut taken = Vec::new();
        let looked = look(&manager, &mut open, next_removal, &mut taken).await;
        next_look = Instant::now() + rest;
        // After a fault, too: those that were taken before it are this manager's.
        let taken = taken.into_iter();
        executions.extend(taken.map(|action| execute(manager.clone(), action, stop.clone())));
        match looked {
            Ok(has_removed) => {
                if has_removed {
                    next_removal = Instant::now() + REMOVAL;
                }
                backoff.reset();
            }
            Err(error) => {
                manager.metrics().failed("actions");
                tracing::debug!(%error, "actions on many operations wait for the store");
                next_look = Instant::now() + backoff.jittered(manager.jitter());
            }
        }
    }
    // They stop behind their page, which is short.
    while executions.next().await.is_some() {}
}

/// The open actions, as this manager has seen them.
#[derive(Debug, Default)]
struct Open {
    /// Those that it executes.
    mine: HashSet<ActionId>,
    /// The last revision of the others, and the time since which it stands.
    others: HashMap<ActionId, (u64, Instant)>,
}

impl Open {
    /// Returns true if this manager may take an action.
    fn is_free(&mut self, action: &BulkAction, manager: &QueueManager) -> bool {
        if self.mine.contains(&action.id) {
            return false;
        }
        let executor = action.executor.map(|executor| executor.member);
        // Its own, which it does not execute: the answer of the store was lost.
        if executor.is_none_or(|member| member == manager.member().0) {
            return true;
        }
        let now = Instant::now();
        let seen = self.others.entry(action.id);
        let (revision, since) = seen.or_insert((action.revision, now));
        if *revision != action.revision {
            (*revision, *since) = (action.revision, now);
        }
        since.elapsed() >= LEASE
    }
}

/// Looks for actions once, and takes those that are free and that there is room for.
/// Returns true if old actions were removed.
async fn look(
    manager: &QueueManager,
    open: &mut Open,
    next_removal: Instant,
    taken: &mut Vec<BulkAction>,
) -> store::Result<bool> {
    let found = manager.store().open_actions(ACTIONS_OF_ALL).await?;
    let ids: HashSet<_> = found.iter().map(|action| action.id).collect();
    open.others.retain(|id, _| ids.contains(id));
    for action in found {
        if open.mine.len() >= AT_ONCE {
            break;
        }
        if !open.is_free(&action, manager) {
            continue;
        }
        let mine = action.taken_by(manager.member().0);
        match manager.store().put_action(&mine).await? {
            ActionWrite::Written => {
                open.mine.insert(mine.id);
                open.others.remove(&mine.id);
                taken.push(mine);
            }
            // Another manager was faster.
            ActionWrite::Changed | ActionWrite::Full => {}
        }
    }
    let has_removed = Instant::now() >= next_removal;
    if has_removed {
        let now = manager.store().now();
        let keep = i64::try_from(KEEP.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::from_millis(now.as_millis().saturating_sub(keep));
        manager.store().remove_actions(before).await?;
    }
    Ok(has_removed)
}

/// The next change of the record.
#[derive(Debug)]
enum Step {
    /// A page was executed.
    Page(ActionPage),
    /// The action ends.
    End(ActionStage),
    /// Another manager is to go on.
    Release,
}

impl Step {
    fn apply(&self, action: &BulkAction, now: Timestamp) -> BulkAction {
        match self {
            Self::Page(page) => action.advanced(&page.counts, page.below, now),
            Self::End(stage) => action.ended(stage.clone(), now),
            Self::Release => action.released(),
        }
    }

    /// Returns true if the record shows that it was written: the answer was lost.
    fn is_in(&self, action: &BulkAction) -> bool {
        match self {
            Self::Page(page) => page.below.is_some_and(|below| action.below <= below),
            Self::End(_) | Self::Release => false,
        }
    }
}

/// Executes an action until it ends, another manager has it, or this one stops.
async fn execute(
    manager: QueueManager,
    mut action: BulkAction,
    stop: CancellationToken,
) -> ActionId {
    let id = action.id;
    let mut backoff = Backoff::new(RESTS.0, RESTS.1);
    loop {
        let step = if action.is_asked_to_stop() {
            Step::End(ActionStage::Aborted)
        } else if stop.is_cancelled() {
            Step::Release
        } else {
            match manager.action_page(&action).await {
                Ok(page) => {
                    backoff.reset();
                    Step::Page(page)
                }
                Err(Error::Store(store::Error::Unavailable { .. })) => {
                    match as_it_is_now(&manager, action, &mut backoff, &stop).await {
                        Some(now) => action = now,
                        None => return id,
                    }
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%id, %error, "an action on many operations cannot go on");
                    Step::End(ActionStage::Failed(error.to_string()))
                }
            }
        };
        // A store in this process answers at once: the other tasks have their turn.
        yield_now().await;
        match write(&manager, action, &step, &stop).await {
            Some(next) if next.executor.is_some() => action = next,
            Some(_) | None => return id,
        }
    }
}

/// The action after an outage of the store; `None` if this manager does not execute it
/// any more. Another manager may have finished it, or a caller may have aborted it: a page
/// that was executed then would undo what came after.
async fn as_it_is_now(
    manager: &QueueManager,
    action: BulkAction,
    backoff: &mut Backoff,
    stop: &CancellationToken,
) -> Option<BulkAction> {
    loop {
        let rest = backoff.jittered(manager.jitter());
        stop.run_until_cancelled(sleep(rest)).await;
        if stop.is_cancelled() {
            return Some(action);
        }
        match manager.store().action(action.id).await {
            Ok(Some(now)) if now.is_open() && now.executor == action.executor => return Some(now),
            Ok(_) => return None,
            Err(error) => {
                tracing::debug!(id = %action.id, %error, "an action waits for the store");
            }
        }
    }
}

/// Writes a step; `None` if this manager does not execute the action any more.
async fn write(
    manager: &QueueManager,
    mut action: BulkAction,
    step: &Step,
    stop: &CancellationToken,
) -> Option<BulkAction> {
    let executor = action.executor;
    let mut backoff = Backoff::new(RESTS.0, RESTS.1);
    loop {
        let next = step.apply(&action, manager.store().now());
        let written = match manager.store().put_action(&next).await {
            Ok(ActionWrite::Written) => return Some(next),
            Ok(ActionWrite::Changed | ActionWrite::Full) => manager.store().action(action.id).await,
            Err(error) => Err(error),
        };
        match written {
            // A caller has aborted it in between.
            Ok(Some(now)) if now.is_open() && now.executor == executor => {
                if step.is_in(&now) {
                    return Some(now);
                }
                action = now;
            }
            Ok(_) => return None,
            Err(error) => {
                tracing::debug!(id = %action.id, %error, "the progress of an action was not written");
                if stop.is_cancelled() {
                    return None;
                }
                let rest = backoff.jittered(manager.jitter());
                stop.run_until_cancelled(sleep(rest)).await;
            }
        }
    }
}

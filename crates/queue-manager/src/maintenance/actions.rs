//! Actions on many operations: executes them page by page, and removes old ones.
//!
//! ```text
//! open actions ─→ free? ─ take ─→ announce ─ page ─ write ─→ announce ─ … ─→ end
//!                  │ no executor; this manager; or the revision has stood still
//!                  └ for a lease, by this manager's own clock
//! ```
//!
//! An action that runs operations again announces nothing: see [`RunAgainStep`].
//!
//! A manager that stops writes its pages and gives its actions back. One that dies
//! leaves them, and another manager goes on with the page that was announced. It leaves
//! the operations alone whose history shows that they are done.
//!
//! A look reads the heads of the open actions. It reads the record of those that are new,
//! and of those whose revision stands still: what another manager executes is written
//! several times a second.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::time::Duration;

use drumline_api::actions::filter_of;
use drumline_backend::store::{self, ActionWrite, OpenAction};
use drumline_protocol::{ActionId, ActionStage, Backoff, BulkAction, BulkPage, Timestamp};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::service::{
    ACTIONS_OF_ALL, ActionPage, BulkAct, QueueManager, RunAgainStep, is_over_soon,
};

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
/// The rests in the place of one while there is no action. Those that are started here are
/// executed at once; the look finds those of a manager that ended before it could do so.
const IDLE: u32 = 10;
/// The first and the longest rest while the store is unavailable.
const RESTS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Executes actions until stopped. The actions under way are given back then.
pub(super) async fn run(manager: QueueManager, rest: Duration, stop: CancellationToken) {
    let mut executions = FuturesUnordered::new();
    let mut backoff = Backoff::new(rest, RESTS.1);
    let mut looker = Looker::new(manager.clone());
    let mut next_look = Instant::now();
    while !stop.is_cancelled() {
        let mut ended = Vec::new();
        // Beside the executions: a slow look must not cost them their leases.
        let looked = {
            let mut looking = pin!(async {
                let rested = timeout_at(next_look, manager.action_started());
                // Either way it is time to look.
                drop(stop.run_until_cancelled(rested).await?);
                // To its end, so that no action is taken and not executed.
                Some(looker.look().await)
            });
            loop {
                tokio::select! {
                    Some(id) = executions.next() => ended.push(id),
                    looked = &mut looking => break looked,
                }
            }
        };
        for id in ended {
            looker.mine.remove(&id);
        }
        // After a fault, too: those that were taken before it are this manager's.
        for action in looker.taken.drain(..) {
            executions.push(execute(manager.clone(), action, stop.clone()));
        }
        match looked {
            Some(Ok(())) => {
                backoff.reset();
                let rest_now = if looker.is_idle() { rest * IDLE } else { rest };
                next_look = Instant::now() + rest_now;
            }
            Some(Err(error)) => {
                manager.metrics().failed("actions");
                tracing::debug!(%error, "actions on many operations wait for the store");
                next_look = Instant::now() + backoff.jittered(manager.jitter());
            }
            None => {}
        }
    }
    // They stop behind their page, which is short.
    while executions.next().await.is_some() {}
}

/// Looks for actions, and takes those that are free and that there is room for.
#[derive(Debug)]
struct Looker {
    manager: QueueManager,
    /// The actions that this manager executes.
    mine: HashSet<ActionId>,
    /// The other open actions.
    others: HashMap<ActionId, Seen>,
    /// Those that were taken, and are not executed yet.
    taken: Vec<BulkAction>,
    next_removal: Instant,
}

/// An action, as this manager has seen it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The revision at the last look.
    revision: u64,
    /// The revision of the record when it was last read, and the time since which the
    /// record stands still.
    read: Option<(u64, Instant)>,
}

impl Seen {
    /// Returns true if the record is to be read, because this manager may be able to take
    /// the action.
    fn is_worth_reading(&mut self, revision: u64) -> bool {
        let stands_still = self.revision == revision;
        self.revision = revision;
        match self.read {
            // A new one.
            None => true,
            Some((read, since)) if read == revision => since.elapsed() >= LEASE,
            // A manager that executes it writes it several times a second.
            Some(_) => stands_still,
        }
    }

    /// Returns true if the record has stood still for a lease.
    fn is_lost(&mut self, revision: u64) -> bool {
        let now = Instant::now();
        let since = match self.read {
            Some((read, since)) if read == revision => since,
            Some(_) | None => now,
        };
        self.read = Some((revision, since));
        since.elapsed() >= LEASE
    }
}

impl Looker {
    fn new(manager: QueueManager) -> Self {
        Self {
            manager,
            mine: HashSet::new(),
            others: HashMap::new(),
            taken: Vec::new(),
            next_removal: Instant::now(),
        }
    }

    /// Looks once. If the future is dropped, an action may have been taken that is not
    /// executed: another manager takes it after a lease.
    async fn look(&mut self) -> store::Result<()> {
        let manager = self.manager.clone();
        let store = manager.store();
        let heads = store.open_actions(ACTIONS_OF_ALL).await?;
        let ids: HashSet<_> = heads.iter().map(|head| head.id).collect();
        self.others.retain(|id, _| ids.contains(id));
        for OpenAction { id, revision, .. } in heads {
            if self.mine.len() >= AT_ONCE {
                break;
            }
            if self.mine.contains(&id) {
                continue;
            }
            let seen = self.others.entry(id).or_insert(Seen {
                revision,
                read: None,
            });
            if !seen.is_worth_reading(revision) {
                continue;
            }
            match store.action(id).await {
                Ok(Some(action)) => {
                    let is_lost = seen.is_lost(action.revision);
                    self.take(action, is_lost).await?;
                }
                // It has ended meanwhile, and was removed.
                Ok(None) => {}
                Err(error @ store::Error::Corrupt(_)) => {
                    seen.is_lost(revision);
                    tracing::debug!(%id, %error, "an action is left to a later release");
                }
                Err(error) => return Err(error),
            }
        }
        if Instant::now() >= self.next_removal {
            let keep = i64::try_from(KEEP.as_millis()).unwrap_or(i64::MAX);
            let before = store.now().as_millis().saturating_sub(keep);
            store.remove_actions(Timestamp::from_millis(before)).await?;
            self.next_removal = Instant::now() + REMOVAL;
        }
        Ok(())
    }

    /// Returns true if no action is open.
    fn is_idle(&self) -> bool {
        self.mine.is_empty() && self.others.is_empty()
    }

    /// Takes an action, if it is free and this release can execute it.
    async fn take(&mut self, action: BulkAction, is_lost: bool) -> store::Result<()> {
        let member = self.manager.member().0;
        let executor = action.executor.map(|executor| executor.member);
        // Its own, which it does not execute: the answer of the store was lost.
        let is_free = executor.is_none_or(|executor| executor == member) || is_lost;
        if !is_free || !action.is_open() {
            return Ok(());
        }
        if let Err(unknown) = filter_of(&action.conditions) {
            if action.obstacle().is_none() {
                tracing::warn!(id = %action.id, %unknown, "an action on many operations waits for a later release");
                let why = format!("a later release has started it: {unknown}");
                // If another manager has changed it meanwhile, the next look meets it.
                self.manager
                    .store()
                    .put_action(&action.obstructed(&why))
                    .await?;
            }
            return Ok(());
        }
        let mine = action.taken_by(member);
        match self.manager.store().put_action(&mine).await? {
            ActionWrite::Written => {
                self.mine.insert(mine.id);
                self.others.remove(&mine.id);
                self.taken.push(mine);
            }
            // Another manager was faster.
            ActionWrite::Changed | ActionWrite::Full => {}
        }
        Ok(())
    }
}

/// The next change of the record.
#[derive(Debug)]
enum Step {
    /// A page is to be executed.
    Announce(BulkPage),
    /// A page was executed.
    Page(ActionPage),
    /// A page was found that is to run again, or was run again.
    RunAgain(RunAgainStep),
    /// The action ends.
    End(ActionStage),
    /// Another manager is to go on.
    Release,
}

impl Step {
    fn apply(&self, action: &BulkAction, now: Timestamp) -> BulkAction {
        match self {
            Self::Announce(page) => action.announced(page),
            Self::Page(page) => action.advanced(&page.counts, page.below, now),
            Self::RunAgain(RunAgainStep::Found { count, below }) => {
                action.found(*count, *below, now)
            }
            Self::RunAgain(RunAgainStep::Page { counts, .. }) => action.run_again(counts, now),
            Self::End(stage) => action.ended(stage.clone(), now),
            Self::Release => action.released(),
        }
    }

    /// Returns true if the record shows that it was written: the answer was lost.
    fn is_in(&self, action: &BulkAction) -> bool {
        match self {
            Self::Announce(page) => action.page().as_ref() == Some(page),
            Self::Page(page) => page.below.is_some_and(|below| action.below <= below),
            Self::RunAgain(RunAgainStep::Found { below, .. }) => match below {
                Some(below) => action.below <= *below,
                None => action.ahead().is_whole,
            },
            Self::RunAgain(RunAgainStep::Page { above, .. }) => {
                action.ahead().done_to == Some(*above)
            }
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
            match next_step(&manager, &mut action, &stop).await {
                Ok(Some(step)) => {
                    backoff.reset();
                    step
                }
                Ok(None) if action.executor.is_some() => continue,
                Ok(None) => return id,
                Err(error) if is_over_soon(&error) => {
                    tracing::debug!(%id, %error, "an action on many operations waits");
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

/// Announces the next page of an action, and executes it. Returns `None` if that is not
/// to be done: the action is asked to stop, or it is without an executor, because another
/// manager has it.
async fn next_step(
    manager: &QueueManager,
    action: &mut BulkAction,
    stop: &CancellationToken,
) -> Result<Option<Step>, Error> {
    let Some(act) = BulkAct::of(action.change) else {
        let step = manager.run_again_step(action).await?;
        return Ok(Some(Step::RunAgain(step)));
    };
    let planned = manager.plan_page(action, act).await?;
    if let Some(announced) = planned.to_announce() {
        let step = Step::Announce(announced);
        match write(manager, action.clone(), &step, stop).await {
            Some(next) => *action = next,
            None => {
                action.executor = None;
                return Ok(None);
            }
        }
        if action.is_asked_to_stop() {
            return Ok(None);
        }
    }
    let page = manager.execute_page(action, planned).await?;
    Ok(Some(Step::Page(page)))
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

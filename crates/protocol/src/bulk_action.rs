//! Actions on many operations, as records with progress.
//!
//! A queue manager executes an action in pages, newest operation first, and writes
//! the record after each page:
//!
//! ```text
//!            take            page, page, …         nothing left
//! Running ─────────→ Running ────────────→ Running ───────────→ Done
//!   │ no executor       │ executor, fence     │ abort asked ───→ Aborted
//!   └─ abort ─→ Aborted └─ lost: take again   └ cannot go on ──→ Failed
//! ```
//!
//! Each change makes the next revision, and a store writes a revision only on the one
//! before it. So of two executors one writes. An executor announces each page before it
//! changes anything. So the one that goes on after a death knows the page that may be
//! done in part, and changes no operation of it twice: see [`BulkAction::repeats`].
//!
//! Running again goes the other way, because those of a token must keep their order. The
//! executor first looks for the pages from the newest operation down, and notes where
//! each begins. Then it does them from the oldest up: see [`Ahead`]. No page is announced:
//! the idempotency key of each new operation keeps a repeated page from doing anything.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error_code::ErrorCode;
use crate::extensions::{Extensions, Field};
use crate::history::{Author, History};
use crate::id::{Fence, InvalidId, OperationId};
use crate::limits;
use crate::time::Timestamp;
use crate::token::Organization;
use crate::transition::{Action, EventKind};
use crate::version::FormatVersion;

/// The id of an action: a version 7 UUID, in order of creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActionId(OperationId);

impl ActionId {
    /// The action with this UUID, which no operation has.
    #[must_use]
    pub const fn new(id: OperationId) -> Self {
        Self(id)
    }

    /// The id in these bytes, if they are a UUID of version 7.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        OperationId::from_bytes(bytes).map(Self)
    }

    /// The 16 bytes; their order is the order of creation times.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The time when the id was made, by the clock of its maker.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.0.created()
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ActionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(Self)
    }
}

/// The change to each operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BulkChange {
    /// It ends as Canceled.
    Cancel,
    /// It waits for a person.
    Pause,
    /// It goes on.
    Resume,
    /// It waits until this time.
    Postpone(Timestamp),
    /// It is removed, if it is Completed.
    Delete,
    /// A new operation does its work again, if it is Completed.
    RunAgain,
}

/// The kind of a change: the word that a client asks with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkKind {
    /// An action that changes an operation.
    Act(Action),
    /// A new operation does the work again.
    RunAgain,
}

impl BulkKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Act(Action::Cancel),
        Self::Act(Action::Pause),
        Self::Act(Action::Resume),
        Self::Act(Action::Postpone),
        Self::Act(Action::Delete),
        Self::RunAgain,
    ];

    /// The word in addresses and commands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Act(action) => action.name(),
            Self::RunAgain => "run-again",
        }
    }

    /// The kind with this word.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl BulkChange {
    /// The kind that a client asks for.
    #[must_use]
    pub const fn kind(self) -> BulkKind {
        BulkKind::Act(match self {
            Self::Cancel => Action::Cancel,
            Self::Pause => Action::Pause,
            Self::Resume => Action::Resume,
            Self::Postpone(_) => Action::Postpone,
            Self::Delete => Action::Delete,
            Self::RunAgain => return BulkKind::RunAgain,
        })
    }

    /// The time to postpone to.
    #[must_use]
    pub const fn until(self) -> Option<Timestamp> {
        match self {
            Self::Postpone(until) => Some(until),
            Self::Cancel | Self::Pause | Self::Resume | Self::Delete | Self::RunAgain => None,
        }
    }
}

/// The stage of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Operations are left, or were when it was written.
    Running,
    /// All selected operations were acted on or refused.
    Done,
    /// A caller has aborted it. What was done stays done.
    Aborted,
    /// It cannot go on, for this reason. What was done stays done.
    Failed(String),
}

/// The queue manager that executes an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executor {
    /// The member.
    pub member: Uuid,
    /// Its fence: greater than that of each executor before.
    pub fence: Fence,
}

/// A selected operation that refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkRefusal {
    /// The operation.
    pub id: OperationId,
    /// The reason, for programs.
    pub code: ErrorCode,
    /// The reason, for people: at most [`limits::BULK_REFUSAL_CHARS`].
    pub message: String,
}

/// The numbers of selected operations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkCounts {
    /// Selected so far.
    pub counted: u64,
    /// Of these, done.
    pub done: u64,
    /// Of these, refused.
    pub refused: u64,
    /// The first refusals: at most [`limits::BULK_REFUSALS`].
    pub refusals: Vec<BulkRefusal>,
}

/// A page that an executor has announced, and may have done in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkPage {
    /// The operations on it.
    pub ids: Vec<OperationId>,
    /// The id below which the next page begins; `None`: nothing is left behind it.
    pub below: Option<OperationId>,
}

/// The pages of an action that runs operations again: first they are found, from the
/// newest operation down, and then done, from the oldest up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// The id above each page that is not done yet, the newest page first. A page ends
    /// where the next one begins.
    pub above: Vec<OperationId>,
    /// True when all pages are found.
    pub is_whole: bool,
    /// Operations that are older than this id are done with; `None`: no page is done.
    pub done_to: Option<OperationId>,
}

impl Ahead {
    /// The most pages of an action. The record of an action has all of them, at 16
    /// bytes each.
    pub const PAGES: usize = 4_096;
}

/// The version that reads the added fields. An executor of an earlier build leaves them
/// alone, and does its pages without them.
const SINCE: FormatVersion = FormatVersion::new(4, 0);
/// The page that was announced.
const PAGE: Field<BulkPage> = Field::new(1, SINCE);
/// The reason why no manager executes the action at present.
const OBSTACLE: Field<String> = Field::new(2, SINCE);
/// The pages of an action that runs operations again.
const AHEAD: Field<Ahead> = Field::new(3, SINCE);
/// The time by which the clocks of two processes may differ that read the store's.
const CLOCKS: Duration = Duration::from_secs(1);

/// One action on many operations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkAction {
    /// The id.
    pub id: ActionId,
    /// The organization of the caller and of the operations.
    pub organization: Organization,
    /// The change to each operation.
    pub change: BulkChange,
    /// The conditions of a listing: names and values as a caller wrote them. Empty:
    /// every operation.
    pub conditions: Vec<(String, String)>,
    /// The reason, for people: at most [`limits::ACTION_REASON_CHARS`].
    pub reason: String,
    /// The caller, who is the author of each change.
    pub author: Author,
    /// The time at which it was started.
    pub started_on: Timestamp,
    /// The most operations that the caller means; more end it as failed.
    pub expected: Option<u64>,
    /// The stage.
    pub stage: Stage,
    /// The time at which it ended.
    pub ended_on: Option<Timestamp>,
    /// The caller that has aborted it, or asked for that.
    pub aborted_by: Option<Author>,
    /// Operations with this id and newer ones are done with, or were created after
    /// the start.
    pub below: OperationId,
    /// The numbers so far.
    pub counts: BulkCounts,
    /// The manager that executes it.
    pub executor: Option<Executor>,
    /// The fence of the last executor.
    pub last_fence: Fence,
    /// Grows by one with each change; 1 when it is started.
    pub revision: u64,
    /// The fields of later releases.
    pub extensions: Extensions,
}

impl BulkAction {
    /// Returns true until it has ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Running
    }

    /// Returns true if it is to end before its end.
    #[must_use]
    pub const fn is_asked_to_stop(&self) -> bool {
        self.aborted_by.is_some()
    }

    /// The word for the stage, in answers.
    #[must_use]
    pub const fn stage_name(&self) -> &'static str {
        match (&self.stage, &self.aborted_by) {
            (Stage::Running, None) => "running",
            (Stage::Running, Some(_)) => "aborting",
            (Stage::Done, _) => "done",
            (Stage::Aborted, _) => "aborted",
            (Stage::Failed(_), _) => "failed",
        }
    }

    /// The action with a new executor, whose fence is in it.
    #[must_use]
    pub fn taken_by(&self, member: Uuid) -> Self {
        let fence = Fence(self.last_fence.0.saturating_add(1));
        let mut next = self.next();
        next.extensions.remove(&OBSTACLE);
        Self {
            executor: Some(Executor { member, fence }),
            last_fence: fence,
            ..next
        }
    }

    /// The page that may be done in part: it was announced, and its end was not written.
    #[must_use]
    pub fn page(&self) -> Option<BulkPage> {
        let page = self.extensions.get(&PAGE).ok().flatten()?;
        // An executor that does not know the field has gone on behind it.
        let is_behind = page.below.is_some_and(|below| self.below <= below);
        (!is_behind).then_some(page)
    }

    /// The action before a page: its executor may change operations only after this is
    /// written.
    #[must_use]
    pub fn announced(&self, page: &BulkPage) -> Self {
        let mut next = self.next();
        set(&mut next.extensions, &PAGE, page);
        next
    }

    /// The pages of an action that runs operations again.
    #[must_use]
    pub fn ahead(&self) -> Ahead {
        self.extensions
            .get(&AHEAD)
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    /// The action after a page was found, or after a look that has found nothing:
    /// `found` operations are on the page, and everything from `below` up was looked at;
    /// `None`: nothing is left to find.
    #[must_use]
    pub fn found(&self, found: u64, below: Option<OperationId>, now: Timestamp) -> Self {
        let mut next = self.next();
        let mut ahead = self.ahead();
        if found > 0 {
            ahead.above.push(self.below);
            next.counts.counted = next.counts.counted.saturating_add(found);
        }
        match below {
            Some(below) => next.below = next.below.min(below),
            None => ahead.is_whole = true,
        }
        if ahead.is_whole && ahead.above.is_empty() {
            next.end(Stage::Done, now);
        } else {
            set(&mut next.extensions, &AHEAD, &ahead);
        }
        next
    }

    /// The action after its oldest page was run again.
    #[must_use]
    pub fn run_again(&self, page: &BulkCounts, now: Timestamp) -> Self {
        let mut next = self.next();
        // They were counted when they were found.
        next.counts.add(&BulkCounts {
            counted: 0,
            ..page.clone()
        });
        let mut ahead = self.ahead();
        if let Some(above) = ahead.above.pop() {
            ahead.done_to = Some(above);
        }
        if ahead.above.is_empty() {
            next.end(Stage::Done, now);
        } else {
            set(&mut next.extensions, &AHEAD, &ahead);
        }
        next
    }

    /// The reason why no manager executes it at present, for people.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        self.extensions.get(&OBSTACLE).ok().flatten()
    }

    /// The action without an executor, until a manager takes it for which the reason
    /// does not hold.
    #[must_use]
    pub fn obstructed(&self, why: &str) -> Self {
        let mut next = self.released();
        let why = limits::cut(why, limits::BULK_REFUSAL_CHARS).to_owned();
        set(&mut next.extensions, &OBSTACLE, &why);
        next
    }

    /// Returns true if the history of an operation shows the change of this action. An
    /// executor that repeats a page must not change such an operation again: a person
    /// may have changed it since.
    #[must_use]
    pub fn repeats(&self, history: &History) -> bool {
        let clocks = i64::try_from(CLOCKS.as_millis()).unwrap_or(0);
        let since = self.started_on.as_millis().saturating_sub(clocks);
        history.entries.iter().any(|entry| {
            let is_change = match self.change {
                BulkChange::Cancel => {
                    matches!(entry.event, EventKind::Cancel | EventKind::Discard)
                }
                BulkChange::Pause => entry.event == EventKind::Pause,
                // A series goes on with its next time.
                BulkChange::Resume => {
                    matches!(entry.event, EventKind::Resume | EventKind::Reschedule)
                }
                BulkChange::Postpone(until) => {
                    entry.event == EventKind::Postpone && entry.until == Some(until)
                }
                BulkChange::Delete => entry.event == EventKind::Delete,
                // The operation itself does not change.
                BulkChange::RunAgain => false,
            };
            is_change && entry.author == self.author && entry.at.as_millis() >= since
        })
    }

    /// The action without an executor.
    #[must_use]
    pub fn released(&self) -> Self {
        Self {
            executor: None,
            ..self.next()
        }
    }

    /// The action after a page: its numbers, and the id down to which everything was
    /// looked at, `None` at the end.
    #[must_use]
    pub fn advanced(&self, page: &BulkCounts, below: Option<OperationId>, now: Timestamp) -> Self {
        let mut next = self.next();
        next.extensions.remove(&PAGE);
        next.counts.add(page);
        match below {
            // Never up again, whatever an executor has read before.
            Some(below) => next.below = next.below.min(below),
            None => next.end(Stage::Done, now),
        }
        next
    }

    /// The action as it is after a caller has aborted it: at its end if no manager
    /// executes it, and else asked to stop.
    #[must_use]
    pub fn aborted(&self, by: Author, now: Timestamp) -> Self {
        let mut next = self.next();
        next.aborted_by.get_or_insert(by);
        if next.executor.is_none() {
            next.end(Stage::Aborted, now);
        }
        next
    }

    /// The action at its end.
    #[must_use]
    pub fn ended(&self, stage: Stage, now: Timestamp) -> Self {
        let mut next = self.next();
        next.end(stage, now);
        next
    }

    fn next(&self) -> Self {
        Self {
            revision: self.revision.saturating_add(1),
            ..self.clone()
        }
    }

    fn end(&mut self, stage: Stage, now: Timestamp) {
        self.stage = stage;
        self.ended_on = Some(now);
        self.executor = None;
        self.extensions.remove(&PAGE);
        self.extensions.remove(&OBSTACLE);
        self.extensions.remove(&AHEAD);
    }
}

/// Sets an added field, whichever members are alive: one that does not read it keeps it.
fn set<T: Serialize>(extensions: &mut Extensions, field: &Field<T>, value: &T) {
    if extensions.set(field, value, SINCE).is_err() {
        // Without it, the action goes on as in an earlier build.
        extensions.remove(field);
    }
}

impl BulkCounts {
    /// Adds the numbers of a page.
    pub fn add(&mut self, page: &Self) {
        self.counted = self.counted.saturating_add(page.counted);
        self.done = self.done.saturating_add(page.done);
        self.refused = self.refused.saturating_add(page.refused);
        let room = limits::BULK_REFUSALS.saturating_sub(self.refusals.len());
        let refusals = page.refusals.iter().take(room);
        self.refusals.extend(refusals.map(|refusal| BulkRefusal {
            message: limits::cut(&refusal.message, limits::BULK_REFUSAL_CHARS).to_owned(),
            ..refusal.clone()
        }));
    }
}

#[cfg(test)]
mod tests;

//! The same action on everything that a filter selects.
//!
//! A call acts on a bounded share, newest first, and returns the cursor of the
//! next call. So a million operations cost many small calls, each with its own
//! answer, and a client that stops in between knows what was done.
//!
//! The cursor is an id, and ids do not change: operations that leave the filter
//! because of the action shift nothing. Operations that are created meanwhile
//! are newer than the cursor and not met.

use drumline_api::Control;
use drumline_backend::apply_event::{
    Applied, apply_chosen_event_to_summary, prepare_without_report,
};
use drumline_backend::store::{Filter, Guard, Summary};
use drumline_protocol::transition::is_already;
use drumline_protocol::{Action, Author, BulkChange, ErrorCode, Event, Header, OperationId, State};
use futures_util::stream::{self, StreamExt};
use tokio::time::{Duration, Instant};

use super::QueueManager;
use super::commit_batcher::OfMany;
use super::control::event_of;
use crate::error::{Error, Result};

/// Operations that one call selects at most.
pub(crate) const SHARE: usize = 500;
/// Operations that are read at once.
pub(super) const CHUNK: usize = 64;
/// The time after which a call answers with what it has done, and the cursor to go on
/// at: a client waits for it.
const LONGEST: Duration = Duration::from_secs(1);
/// Operations that a call acts on at the same time: enough to hide the round trips, few
/// enough to leave the store to other callers.
const AT_ONCE: usize = 16;
/// Refusals that are reported in full; the others are counted.
const REPORTED: usize = 20;

/// The action that is asked of each operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkAct {
    /// An action.
    Act(Control),
    /// Removal; Completed ones only.
    Delete,
}

impl BulkAct {
    /// The action that clients ask for.
    pub(crate) const fn action(self) -> Action {
        match self {
            Self::Act(Control::Cancel) => Action::Cancel,
            Self::Act(Control::Pause) => Action::Pause,
            Self::Act(Control::Resume) => Action::Resume,
            Self::Act(Control::Postpone(_)) => Action::Postpone,
            Self::Delete => Action::Delete,
        }
    }

    /// The action that a change asks of each operation; `None` for one that leaves the
    /// operations as they are.
    pub(crate) const fn of(change: BulkChange) -> Option<Self> {
        Some(match change {
            BulkChange::Cancel => Self::Act(Control::Cancel),
            BulkChange::Pause => Self::Act(Control::Pause),
            BulkChange::Resume => Self::Act(Control::Resume),
            BulkChange::Postpone(until) => Self::Act(Control::Postpone(until)),
            BulkChange::Delete => Self::Delete,
            BulkChange::RunAgain => return None,
        })
    }

    /// The name of the event in metrics.
    fn name(self) -> &'static str {
        match self {
            Self::Act(act) => event_of(act).name(),
            Self::Delete => Event::Delete.name(),
        }
    }
}

/// An action on everything that a filter selects.
#[derive(Clone, Debug)]
pub struct Bulk {
    /// The action.
    pub act: BulkAct,
    /// The operations to act on.
    pub filter: Filter,
    /// Selects operations older than this one: [`BulkAnswer::next`] of the call
    /// before.
    pub cursor: Option<OperationId>,
    /// The most operations to act on; at most 500.
    pub limit: usize,
    /// Only report what would be done.
    pub is_rehearsal: bool,
    /// The author of the changes.
    pub author: Author,
}

impl Bulk {
    /// Returns true if the action is meant for an operation that the filter
    /// selects. Completed operations are meant only if the filter names them:
    /// "cancel everything of today" asks for nothing from what ended today.
    /// Those that hold their token can be resumed, and so a resume is meant for
    /// them.
    pub(super) fn selects(&self, header: &Header) -> bool {
        if header.status.state() != State::Completed {
            return true;
        }
        let is_possible = match self.act {
            BulkAct::Delete => true,
            BulkAct::Act(Control::Resume) => header.holding,
            BulkAct::Act(Control::Cancel | Control::Pause | Control::Postpone(_)) => false,
        };
        is_possible || self.names_completed()
    }

    /// Returns true if the filter itself says that Completed operations are
    /// meant, or that they are not.
    fn names_completed(&self) -> bool {
        let Filter {
            state,
            status,
            completed_before,
            holding,
            ..
        } = &self.filter;
        state.is_some() || status.is_some() || completed_before.is_some() || *holding == Some(true)
    }
}

/// The result of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BulkAnswer {
    /// Operations that were selected.
    pub matched: u64,
    /// Of these, done; in a rehearsal, those on which the action would succeed.
    pub done: u64,
    /// Of these, refused.
    pub refused_count: u64,
    /// The first refusals.
    pub refused: Vec<BulkRefusal>,
    /// The cursor of the next call; `None`: nothing is left.
    pub next: Option<OperationId>,
}

/// An operation that refused the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkRefusal {
    /// The operation.
    pub id: OperationId,
    /// The reason, for programs.
    pub code: ErrorCode,
    /// The reason, for people.
    pub message: String,
}

impl QueueManager {
    /// Acts on a share of what a filter selects. Call again with
    /// [`BulkAnswer::next`] as the cursor until that is `None`.
    ///
    /// If the future is dropped, the action may or may not have been applied to
    /// some of the operations. A repeated call applies it to the others, and is
    /// refused for these.
    ///
    /// # Errors
    /// When the store is unavailable during the first steps. Later, the call
    /// answers with what was done, and the next call meets the store.
    pub async fn bulk(&self, bulk: &Bulk) -> Result<BulkAnswer> {
        let end = Instant::now() + LONGEST;
        let limit = u64::try_from(bulk.limit.min(SHARE)).unwrap_or(u64::MAX);
        let mut answer = BulkAnswer {
            next: bulk.cursor,
            ..BulkAnswer::default()
        };
        loop {
            let room = usize::try_from(limit - answer.matched).unwrap_or(CHUNK);
            let page = self
                .store()
                .list_summaries(&bulk.filter, answer.next, CHUNK.min(room))
                .await;
            let page = match page {
                Ok(page) => page,
                Err(error) if answer.next == bulk.cursor => return Err(error.into()),
                Err(error) => return Ok(cut_short(answer, &error.into())),
            };
            let selected = page.operations.into_iter();
            let selected = selected.filter(|operation| bulk.selects(&operation.header));
            let outcomes: Vec<_> = stream::iter(selected)
                .map(|operation| self.bulk_one(bulk, operation))
                .buffered(AT_ONCE)
                .collect()
                .await;
            let mut share = BulkAnswer::default();
            for (id, outcome) in outcomes {
                match outcome {
                    Ok(()) => share.note_done(),
                    Err(error) => match BulkRefusal::of(id, error) {
                        Ok(refusal) => share.note_refused(refusal),
                        // Removed meanwhile: it is not selected any more.
                        Err(Error::NotFound { .. }) => {}
                        Err(error) if answer.next == bulk.cursor => return Err(error),
                        Err(error) => return Ok(cut_short(answer, &error)),
                    },
                }
            }
            answer.add(share);
            answer.next = page.next;
            if answer.next.is_none() || answer.matched >= limit || Instant::now() >= end {
                return Ok(answer);
            }
        }
    }

    async fn bulk_one(&self, bulk: &Bulk, operation: Summary) -> (OperationId, Result<()>) {
        let id = operation.id;
        let outcome = if bulk.is_rehearsal {
            self.rehearse(bulk.act, &bulk.author, &operation)
        } else {
            self.act_on_summary(operation, bulk.act, &bulk.author).await
        };
        (id, outcome)
    }

    /// Returns an error if an operation as it stands would refuse the action.
    pub(super) fn rehearse(
        &self,
        act: BulkAct,
        author: &Author,
        operation: &Summary,
    ) -> Result<()> {
        let by = self.signature(author);
        let event = self.event_of_bulk(act, &operation.header)?;
        if is_already(&operation.header, &event) {
            return Ok(());
        }
        // The commit is not made, so its report does not matter.
        prepare_without_report(self.store(), by, operation, event)?;
        Ok(())
    }

    /// Applies an action to an operation without reading its payload.
    pub(super) async fn act_on_summary(
        &self,
        operation: Summary,
        act: BulkAct,
        author: &Author,
    ) -> Result<()> {
        let (by, id) = (self.signature(author), operation.id);
        let target = OfMany {
            batcher: &self.shared.commits,
            store: self.store(),
            // It counts for a commit that removes.
            remember: self.remembered(&operation.body),
        };
        let choose = |header: &Header| self.event_of_bulk(act, header);
        let none = Guard::None;
        let mut applied =
            apply_chosen_event_to_summary(&target, by, &operation, choose, none).await?;
        if act == BulkAct::Act(Control::Cancel) && matches!(applied, Applied::NotHead) {
            // The operation is not the head, so its end does not hold the
            // token.
            let discard = |_: &Header| Result::<_, Error>::Ok(Event::Discard);
            applied = apply_chosen_event_to_summary(&target, by, &operation, discard, none).await?;
        }
        if matches!(applied, Applied::Refused(_)) {
            let now = self.store().summaries(&[id]).await?.pop().flatten();
            let is_done = |now: &Summary| {
                let event = self.event_of_bulk(act, &now.header);
                event.is_ok_and(|event| is_already(&now.header, &event))
            };
            if let Some(now) = now.filter(is_done) {
                if !self.waits_for_worker(&now.header, id).await? {
                    self.metrics().acted(act.name(), true);
                    return Ok(());
                }
                applied = self.pause_in_earnest(by, &now).await?;
            }
        }
        let (header, done) = self.outcome(id, act.name(), applied)?;
        let (body, before) = (&operation.body, &operation.header);
        self.tally().changed(id, body, before, &header, None);
        let operation = Summary {
            header,
            ..operation
        };
        self.dispatcher().enqueue_summary(&operation, &done);
        Ok(())
    }

    fn event_of_bulk(&self, act: BulkAct, header: &Header) -> Result<Event> {
        match act {
            // A series goes on with its next time.
            BulkAct::Act(Control::Resume) => self.resumption(header),
            BulkAct::Act(act) => Ok(event_of(act)),
            BulkAct::Delete => Ok(Event::Delete),
        }
    }
}

/// Ends a call early, because the store became unavailable after the first
/// chunk. What is done is done, and the caller goes on where the call ended.
fn cut_short(answer: BulkAnswer, error: &Error) -> BulkAnswer {
    tracing::debug!(%error, done = answer.done, "a bulk action ends early");
    answer
}

impl BulkAnswer {
    pub(super) fn note_done(&mut self) {
        self.matched += 1;
        self.done += 1;
    }

    pub(super) fn note_refused(&mut self, refusal: BulkRefusal) {
        self.matched += 1;
        self.refused_count += 1;
        self.refused.push(refusal);
    }

    /// Adds the numbers of a share.
    pub(super) fn add(&mut self, share: Self) {
        self.matched += share.matched;
        self.done += share.done;
        self.refused_count += share.refused_count;
        self.refused.extend(share.refused);
        self.refused.truncate(REPORTED);
    }
}

impl BulkRefusal {
    /// The refusal of one operation, if the error is one.
    ///
    /// # Errors
    /// With the error itself, if it concerns more than this operation.
    pub(super) fn of(id: OperationId, error: Error) -> Result<Self> {
        match error {
            Error::Refused(refused) => Ok(Self {
                id,
                code: refused.code,
                message: refused.to_string(),
            }),
            Error::Invalid(invalid) => Ok(Self {
                id,
                code: invalid.code,
                message: invalid.to_string(),
            }),
            other => Err(other),
        }
    }
}

//! Running many operations again, page by page, as the executor of an action does it.
//!
//! ```text
//! look, newest first:   … ── page ── page ── page ─┐ the record notes where each begins
//! run, oldest first:    … ←─ page ←─ page ←─ page ─┘
//! ```
//!
//! Those of a token run again in the order in which they were created. A listing is
//! newest first, so all pages are found before the first one is done. Each new operation
//! has an idempotency key of the end of the other one, the key that `drumline run-again`
//! uses. So neither a page that is repeated nor a second action does anything twice while
//! the keys are remembered.

use drumline_api::actions::{StartAction, filter_of};
use drumline_api::execute::KeyedCreate;
use drumline_api::{FieldError, Invalid, ListFilter, RunAgain};
use drumline_backend::broker;
use drumline_backend::store::{self, Filter, Summary};
use drumline_protocol::transition::refuse_run_again;
use drumline_protocol::{
    Ahead, BulkAction, BulkCounts, BulkRefusal, Operation, OperationId, Organization, State,
};
use tokio::time::{Duration, Instant};

use super::actions::more_than;
use super::bulk::{BulkRefusal as Refusal, CHUNK};
use super::create::OnFault;
use super::{Actor, BulkAnswer, QueueManager, selection};
use crate::error::{Error, QuotaExceeded, Result};
use crate::quotas::Quota;

/// Operations on a page. A page is short, so that an abort is seen soon.
const PAGE: usize = 200;
/// The time for which operations are looked for before the record is written.
const LONGEST: Duration = Duration::from_millis(250);
/// Operations that are read with their data at once, each of up to a megabyte.
const READ: usize = 16;

/// One step of an action that runs operations again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunAgainStep {
    /// A page was found, or nothing yet.
    Found {
        /// The operations on it.
        count: u64,
        /// The id below which the next look begins; `None`: nothing is left.
        below: Option<OperationId>,
    },
    /// The oldest page was run again.
    Page {
        /// The numbers of the page.
        counts: BulkCounts,
        /// The id above the page.
        above: OperationId,
    },
}

/// Selects the operations that are meant: Completed ones, unless the filter names a
/// state.
fn meant(filter: ListFilter, organization: &Organization) -> Filter {
    let mut filter = selection(filter, organization);
    if filter.status.is_none() {
        filter.state.get_or_insert(State::Completed);
    }
    filter
}

impl QueueManager {
    /// Counts the operations that would run again until `end`, and runs none.
    pub(super) async fn rehearse_run_again(
        &self,
        actor: &Actor,
        request: &StartAction,
        end: Instant,
    ) -> Result<BulkAnswer> {
        let filter = meant(request.filter.clone(), &actor.organization);
        let mut answer = BulkAnswer::default();
        loop {
            let page = self.store().list_summaries(&filter, answer.next, CHUNK);
            let page = page.await?;
            let mut share = BulkAnswer::default();
            for operation in &page.operations {
                match refuse_run_again(&operation.header) {
                    None => share.note_done(),
                    Some(refused) => {
                        share.note_refused(Refusal::of(operation.id, refused.into())?);
                    }
                }
            }
            answer.add(share);
            answer.next = page.next;
            let is_too_many = |expected| answer.matched > expected;
            let is_over = answer.next.is_none() || Instant::now() >= end;
            if is_over || request.expected.is_some_and(is_too_many) {
                return Ok(answer);
            }
        }
    }

    /// Makes the next step of an action that runs operations again. The step is to be
    /// written behind it, and may be made again.
    ///
    /// If the future is dropped, a page may have been done in part.
    ///
    /// # Errors
    /// - [`Error::Invalid`] when the action cannot go on: more operations match than were
    ///   expected, or than one action takes.
    /// - When the store or the broker is unavailable, or a quota is used up.
    pub(crate) async fn run_again_step(&self, action: &BulkAction) -> Result<RunAgainStep> {
        let filter = meant(filter_of(&action.conditions)?, &action.organization);
        let ahead = action.ahead();
        match ahead.above.last() {
            Some(&above) if ahead.is_whole => {
                let found = self.page_of(action, &filter, above, ahead.done_to).await?;
                let counts = self.run_page_again(action, found).await?;
                Ok(RunAgainStep::Page { counts, above })
            }
            Some(_) | None => self.find_page(action, &filter, &ahead).await,
        }
    }

    /// Looks for the next page, for a short time.
    async fn find_page(
        &self,
        action: &BulkAction,
        filter: &Filter,
        ahead: &Ahead,
    ) -> Result<RunAgainStep> {
        let end = Instant::now() + LONGEST;
        let (mut count, mut below) = (0, action.below);
        loop {
            let room = CHUNK.min(PAGE - count);
            let page = self.store().list_summaries(filter, Some(below), room);
            let page = page.await?;
            let found = page.operations.iter().filter(|one| existed(action, one));
            count += found.count();
            let found = u64::try_from(count).unwrap_or(u64::MAX);
            let all = action.counts.counted.saturating_add(found);
            if let Some(expected) = action.expected.filter(|expected| all > *expected) {
                return Err(more_than(expected, "nothing was changed").into());
            }
            if count > 0 && ahead.above.len() >= Ahead::PAGES {
                let most =
                    "selects more operations than one action runs again; nothing was changed";
                return Err(Invalid::from(FieldError::new("filter", most)).into());
            }
            let is_over = count >= PAGE || Instant::now() >= end;
            match page.next {
                Some(next) if !is_over => below = next,
                next => {
                    return Ok(RunAgainStep::Found {
                        count: found,
                        below: next,
                    });
                }
            }
        }
    }

    /// Reads the operations of a page that was found, the oldest first. Operations that
    /// were removed meanwhile are not on it.
    async fn page_of(
        &self,
        action: &BulkAction,
        filter: &Filter,
        above: OperationId,
        done_to: Option<OperationId>,
    ) -> Result<Vec<Summary>> {
        let is_on_page = |one: &Summary| done_to.is_none_or(|done_to| one.id >= done_to);
        let mut found = Vec::new();
        let mut cursor = Some(above);
        while let Some(before) = cursor {
            let page = self.store().list_summaries(filter, Some(before), CHUNK);
            let page = page.await?;
            cursor = page
                .next
                .filter(|next| done_to.is_none_or(|done_to| *next > done_to));
            let ours = page.operations.into_iter().filter(is_on_page);
            found.extend(ours.filter(|one| existed(action, one)));
        }
        found.reverse();
        Ok(found)
    }

    /// Runs the operations of a page again, in their order.
    async fn run_page_again(&self, action: &BulkAction, page: Vec<Summary>) -> Result<BulkCounts> {
        let actor = Actor {
            organization: action.organization.clone(),
            caller: action.author.name(),
        };
        let mut counts = BulkCounts::default();
        let mut ids = Vec::new();
        for one in page {
            match refuse_run_again(&one.header) {
                None => ids.push(one.id),
                Some(refused) => note(&mut counts, one.id, Error::from(refused))?,
            }
        }
        for ids in ids.chunks(READ) {
            let found = self.store().get(ids).await?;
            let mut left: Vec<_> = found.into_iter().flatten().collect();
            while !left.is_empty() {
                let creates = left.iter().map(create).collect();
                // Behind a fault nothing is created, so that nothing of its token overtakes.
                let answers = self.create_in_order(&actor, creates, OnFault::Stop).await;
                let tried = answers.len().max(1);
                for (operation, answer) in left.iter().zip(answers) {
                    match answer {
                        // The second: it ran again, and the new one was removed.
                        Ok(_) | Err(Error::KeySpent { .. }) => counts.done += 1,
                        Err(error) => note(&mut counts, operation.id, error)?,
                    }
                }
                left.drain(..tried.min(left.len()));
            }
        }
        Ok(counts)
    }
}

/// The new operation that does the work of another one.
fn create(operation: &Operation) -> KeyedCreate {
    let ended = operation.header.completed_on;
    let ended = ended.map(|at| at.to_string()).unwrap_or_default();
    KeyedCreate {
        request: RunAgain::default().create(operation),
        key: Some(format!("run-again {} {ended}", operation.id)),
    }
}

/// Returns true if an operation existed as it is at the start of the action. An operation
/// that has ended since is left out: the numbers were shown without it.
fn existed(action: &BulkAction, operation: &Summary) -> bool {
    let ended = operation.header.completed_on;
    ended.is_none_or(|at| at <= action.started_on)
}

/// Notes an operation that does not run again.
///
/// # Errors
/// With the error itself, if it concerns more than this operation.
fn note(counts: &mut BulkCounts, id: OperationId, error: Error) -> Result<()> {
    let refusal = match error {
        Error::KeyReused | Error::TooManyQueues { .. } | Error::QueueUnusable { .. } => Refusal {
            id,
            code: error.code(),
            message: error.to_string(),
        },
        error => Refusal::of(id, error)?,
    };
    counts.refused += 1;
    counts.refusals.push(BulkRefusal {
        id: refusal.id,
        code: refusal.code,
        message: refusal.message,
    });
    Ok(())
}

/// Returns true if an action goes on after this error, later.
pub(crate) const fn is_over_soon(error: &Error) -> bool {
    matches!(
        error,
        Error::Store(store::Error::Unavailable { .. })
            | Error::Broker(
                broker::Error::Unavailable { .. }
                    | broker::Error::Blocked { .. }
                    | broker::Error::Unroutable { .. }
                    | broker::Error::Queue { .. }
                    | broker::Error::Refused
            )
            | Error::QuotaExceeded(QuotaExceeded {
                quota: Quota::CreatesPerMinute,
                ..
            })
    )
}

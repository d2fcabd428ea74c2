//! One page of an action on many operations: what is on it, and the change of each.
//!
//! ```text
//! plan ─→ announce (the executor writes the record) ─→ execute ─→ the numbers
//!  │ a page was announced, and its end was not written:
//!  └─ the same page again, without the operations whose history shows the change
//! ```
//!
//! A page is announced with the ids on it. A page that is repeated has the same ones, so
//! its numbers are whole, and an action never changes more operations than its caller
//! expects.

use drumline_api::actions::filter_of;
use drumline_backend::store::Summary;
use drumline_protocol::{self as protocol, BulkAction, BulkCounts, BulkPage, OperationId};
use futures_util::stream::{self, StreamExt};
use tokio::time::{Duration, Instant};

use super::actions::more_than;
use super::bulk::{BulkAct, BulkRefusal, SHARE};
use super::{Bulk, QueueManager, selection};
use crate::error::{Error, Result};

/// The time for which operations are looked for, and the time for which they are
/// changed. A page is short, so that an abort is seen soon.
const LONGEST: Duration = Duration::from_millis(250);
/// Operations that are changed at the same time: some calls to the store, each with the
/// commits of many.
const AT_ONCE: usize = 128;

/// A page that was planned.
#[derive(Debug)]
pub(crate) struct PlannedPage {
    bulk: Bulk,
    operations: Vec<Summary>,
    /// The id below which the next page begins; `None`: nothing is left.
    below: Option<OperationId>,
    /// True if it was announced before, and may have been done in part.
    is_repeated: bool,
    /// The operations of a repeated page that are there no more.
    gone: u64,
}

/// A page of an action that was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ActionPage {
    /// The numbers of the page.
    pub(crate) counts: BulkCounts,
    /// The id below which the next page begins; `None`: nothing is left.
    pub(crate) below: Option<OperationId>,
}

impl PlannedPage {
    /// The page as its executor announces it; `None` if that was done, or if there is
    /// nothing to change.
    pub(crate) fn to_announce(&self) -> Option<BulkPage> {
        let is_new = !self.is_repeated && !self.operations.is_empty();
        is_new.then(|| BulkPage {
            ids: self
                .operations
                .iter()
                .map(|operation| operation.id)
                .collect(),
            below: self.below,
        })
    }
}

impl QueueManager {
    /// Looks for the operations of the next page of an action, and changes none.
    ///
    /// # Errors
    /// - [`Error::Invalid`] when the action cannot go on: there are more operations
    ///   than were expected.
    /// - When the store is unavailable.
    pub(crate) async fn plan_page(&self, action: &BulkAction, act: BulkAct) -> Result<PlannedPage> {
        let bulk = Bulk {
            act,
            filter: selection(filter_of(&action.conditions)?, &action.organization),
            cursor: Some(action.below),
            limit: SHARE,
            is_rehearsal: false,
            author: action.author.clone(),
        };
        if let Some(page) = action.page() {
            let found = self.store().summaries(&page.ids).await?;
            let operations: Vec<_> = found.into_iter().flatten().collect();
            let gone = page.ids.len().saturating_sub(operations.len());
            return Ok(PlannedPage {
                bulk,
                operations,
                below: page.below,
                is_repeated: true,
                gone: u64::try_from(gone).unwrap_or(u64::MAX),
            });
        }
        let left = action.expected.map(|expected| {
            let left = expected.saturating_sub(action.counts.counted);
            usize::try_from(left).unwrap_or(SHARE)
        });
        let limit = left.unwrap_or(SHARE).clamp(1, SHARE);
        let (operations, below) = self.select(&bulk, limit).await?;
        if left == Some(0) && !operations.is_empty() {
            let expected = action.expected.unwrap_or_default();
            return Err(more_than(expected, "what was done stays done").into());
        }
        Ok(PlannedPage {
            bulk,
            operations,
            below,
            is_repeated: false,
            gone: 0,
        })
    }

    /// Selects operations, newest first, for a short time. Returns them, and the id below
    /// which the next ones are.
    async fn select(
        &self,
        bulk: &Bulk,
        limit: usize,
    ) -> Result<(Vec<Summary>, Option<OperationId>)> {
        let end = Instant::now() + LONGEST;
        let mut selected = Vec::new();
        let mut cursor = bulk.cursor;
        loop {
            let room = limit - selected.len();
            let page = self
                .store()
                .list_summaries(&bulk.filter, cursor, room)
                .await?;
            let found = page.operations.into_iter();
            selected.extend(found.filter(|operation| bulk.selects(&operation.header)));
            cursor = page.next;
            if cursor.is_none() || selected.len() >= limit || Instant::now() >= end {
                return Ok((selected, cursor));
            }
        }
    }

    /// Changes the operations of a page, and writes nothing about the action.
    ///
    /// If the future is dropped, the page may have been done in part: see
    /// [`BulkAction::page`].
    ///
    /// # Errors
    /// When the store is unavailable. The page may have been done in part.
    pub(crate) async fn execute_page(
        &self,
        action: &BulkAction,
        page: PlannedPage,
    ) -> Result<ActionPage> {
        let PlannedPage {
            bulk,
            operations,
            mut below,
            is_repeated,
            gone,
        } = page;
        let end = Instant::now() + LONGEST;
        let mut counts = BulkCounts::default();
        let mut left = operations.into_iter();
        loop {
            let chunk: Vec<_> = left.by_ref().take(AT_ONCE).collect();
            let last = chunk.last().map(|operation| operation.id);
            let outcomes: Vec<_> = stream::iter(chunk)
                .map(|operation| self.change(action, &bulk, operation, is_repeated))
                .buffered(AT_ONCE)
                .collect()
                .await;
            for outcome in outcomes {
                match outcome {
                    Ok(false) => {}
                    Ok(true) => {
                        counts.counted += 1;
                        counts.done += 1;
                    }
                    Err((id, error)) => match BulkRefusal::of(id, error) {
                        Ok(refusal) => {
                            counts.counted += 1;
                            counts.refused += 1;
                            counts.refusals.push(protocol::BulkRefusal {
                                id: refusal.id,
                                code: refusal.code,
                                message: refusal.message,
                            });
                        }
                        // Removed meanwhile: it is not selected any more.
                        Err(Error::NotFound { .. }) => {}
                        Err(error) => return Err(error),
                    },
                }
            }
            if left.len() == 0 {
                break;
            }
            // The rest of a page that is repeated may be done: no new page begins there.
            if !is_repeated && Instant::now() >= end {
                below = last;
                break;
            }
        }
        if bulk.act == BulkAct::Delete {
            counts.counted += gone;
            counts.done += gone;
        }
        Ok(ActionPage { counts, below })
    }

    /// Changes one operation; returns false if it is not selected any more.
    async fn change(
        &self,
        action: &BulkAction,
        bulk: &Bulk,
        operation: Summary,
        is_repeated: bool,
    ) -> Result<bool, (OperationId, Error)> {
        let id = operation.id;
        let change = async {
            if is_repeated {
                if self.is_done(action, &operation).await? {
                    return Ok(true);
                }
                let selects = bulk.filter.selects_summary(&operation);
                if !selects || !bulk.selects(&operation.header) {
                    return Ok(false);
                }
            }
            self.act_on_summary(operation, bulk.act, &bulk.author)
                .await?;
            Ok(true)
        };
        change.await.map_err(|error| (id, error))
    }

    /// Returns true if an operation was changed by the action before.
    async fn is_done(&self, action: &BulkAction, operation: &Summary) -> Result<bool> {
        let recorded = self.store().history(operation.id).await?;
        // Without a record it was removed, which the change will meet.
        Ok(recorded.is_some_and(|recorded| action.repeats(&recorded.history(&operation.body))))
    }
}

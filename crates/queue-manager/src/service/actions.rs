//! Actions on many operations as objects: started at once, executed by a manager, and
//! seen with their progress.
//!
//! ```text
//! start ─→ record ─→ maintenance: take, page, page, … ─→ end
//!            ↑ show, list, abort: any manager
//! ```
//!
//! The operations of an action are those that exist at its start: it goes from the
//! newest of them downwards, so it ends. One that runs operations again goes back up. Its author is the caller that has started it.

use drumline_api::actions::StartAction;
use drumline_api::{FieldError, Invalid};
use drumline_backend::store::{ActionWrite, Filter};
use drumline_protocol::{
    ActionId, ActionStage, BulkAction, BulkCounts, Extensions, Fence, OperationId, Partition,
    PauseScope, Timestamp,
};
use tokio::time::{Duration, Instant};

use super::bulk::SHARE;
use super::{Actor, Bulk, BulkAct, BulkAnswer, QueueManager, selection};
use crate::error::{Error, Result};

/// The actions that an organization may have running at the same time.
pub(crate) const OF_ORGANIZATION: usize = 20;
/// The actions of all organizations that may run at the same time.
pub(crate) const OF_ALL: usize = 100;
/// The time for which operations are counted before an answer.
const COUNTING: Duration = Duration::from_secs(2);
impl QueueManager {
    /// Starts an action, and returns it before anything was done. Maintenance of any
    /// manager executes it.
    ///
    /// If the future is dropped, the action may or may not have been started.
    ///
    /// # Errors
    /// - [`Error::Invalid`] when more operations match than are expected.
    /// - [`Error::TooManyActions`] when too many actions run already.
    /// - When the store is unavailable: the action may or may not have been started.
    pub async fn start_action(&self, actor: &Actor, request: &StartAction) -> Result<BulkAction> {
        if let Some(expected) = request.expected {
            let found = self.rehearse_action(actor, request).await?;
            if found.matched > expected {
                return Err(more_than(expected, "nothing was changed").into());
            }
        }
        let open = self.store().open_actions(OF_ALL).await?;
        let organization = PauseScope::organization(actor.organization.clone()).key();
        let ours = open.iter().filter(|head| head.organization == organization);
        if ours.count() >= OF_ORGANIZATION {
            return Err(Error::TooManyActions {
                limit: OF_ORGANIZATION,
            });
        }
        let full = Error::TooManyActions { limit: OF_ALL };
        if open.len() >= OF_ALL {
            return Err(full);
        }
        let now = self.store().now();
        let id = self.ids().operation(now, Partition::default());
        let filter = selection(request.filter.clone(), &actor.organization);
        let action = BulkAction {
            id: ActionId::new(id),
            organization: actor.organization.clone(),
            change: request.change,
            conditions: request.conditions.clone(),
            reason: request.reason.clone(),
            author: actor.author(),
            started_on: now,
            expected: request.expected,
            stage: ActionStage::Running,
            ended_on: None,
            aborted_by: None,
            below: self.above_all(&filter, id).await?,
            counts: BulkCounts::default(),
            executor: None,
            last_fence: Fence(0),
            revision: 1,
            extensions: Extensions::default(),
        };
        match self.store().put_action(&action).await? {
            ActionWrite::Written => {
                self.shared.action_started.notify_one();
                tracing::info!(id = %action.id, action = action.change.kind().name(), "an action on many operations was started");
                Ok(action)
            }
            ActionWrite::Full => Err(full),
            ActionWrite::Changed => Err(Error::Internal(format!("{id} is an action already"))),
        }
    }

    /// An id above those of all operations that match now. Managers whose clocks
    /// differ make ids that are a little ahead of each other.
    async fn above_all(&self, filter: &Filter, id: OperationId) -> Result<OperationId> {
        let newest = self.store().list_summaries(filter, None, 1).await?;
        let newest = newest.operations.first().map(|operation| operation.id);
        Ok(match newest {
            Some(newest) if newest >= id => {
                let behind = Timestamp::from_millis(newest.created().as_millis() + 1);
                OperationId::counted(behind, 0, Partition::default(), [0; 16])
            }
            Some(_) | None => id,
        })
    }

    /// Counts the operations on which an action would succeed, for some seconds, and
    /// changes none. [`BulkAnswer::next`] is `None` if all were counted.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn rehearse_action(
        &self,
        actor: &Actor,
        request: &StartAction,
    ) -> Result<BulkAnswer> {
        let end = Instant::now() + COUNTING;
        let Some(act) = BulkAct::of(request.change) else {
            return self.rehearse_run_again(actor, request, end).await;
        };
        let mut bulk = Bulk {
            act,
            filter: selection(request.filter.clone(), &actor.organization),
            cursor: None,
            limit: SHARE,
            is_rehearsal: true,
            author: actor.author(),
        };
        let mut total = BulkAnswer::default();
        loop {
            let answer = self.bulk(&bulk).await?;
            bulk.cursor = answer.next;
            total.next = answer.next;
            total.add(answer);
            let is_too_many = |expected| total.matched > expected;
            let is_over = total.next.is_none() || Instant::now() >= end;
            if is_over || request.expected.is_some_and(is_too_many) {
                return Ok(total);
            }
        }
    }

    /// The actions of the caller's organization that are older than `before`, newest
    /// first.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn actions(
        &self,
        actor: &Actor,
        before: Option<ActionId>,
        limit: usize,
    ) -> Result<Vec<BulkAction>> {
        let store = self.store();
        Ok(store.actions(&actor.organization, before, limit).await?)
    }

    /// One action of the caller's organization.
    ///
    /// # Errors
    /// - [`Error::NoAction`] when there is none with this id, or not any more.
    /// - When the store is unavailable.
    pub async fn action(&self, actor: &Actor, id: ActionId) -> Result<BulkAction> {
        let found = self.store().action(id).await?;
        let ours = found.filter(|action| action.organization == actor.organization);
        ours.ok_or_else(|| Error::NoAction { id: id.to_string() })
    }

    /// Asks an action to end before its end; what was done stays done. Returns the
    /// action as it is then: its executor sees the request after its page. An action
    /// that has ended stays as it is. May be repeated.
    ///
    /// # Errors
    /// As [`Self::action`].
    pub async fn abort_action(&self, actor: &Actor, id: ActionId) -> Result<BulkAction> {
        loop {
            let action = self.action(actor, id).await?;
            if !action.is_open() || action.is_asked_to_stop() {
                return Ok(action);
            }
            let aborted = action.aborted(actor.author(), self.store().now());
            // The executor may have written a page in between.
            if self.store().put_action(&aborted).await? == ActionWrite::Written {
                tracing::info!(%id, "an action on many operations is aborted");
                return Ok(aborted);
            }
        }
    }
}

pub(super) fn more_than(expected: u64, rest: &str) -> Invalid {
    let why = format!("is {expected}, and more operations match; {rest}");
    Invalid::from(FieldError::new("expected", why))
}

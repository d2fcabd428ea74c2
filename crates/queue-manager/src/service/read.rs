//! Reading operations: one, one when it is done, many.

use std::time::Duration;

use drumline_api::ListFilter;
use drumline_backend::store::{self, Filter, Summary};
use drumline_protocol::{ChainKey, Operation, OperationId, Organization, State};
use tokio::time::{Instant, sleep_until};

use super::{Actor, QueueManager};
use crate::error::{Error, Result};

/// The interval at which a waiter reads its operation again, in case the signal
/// of a completion did not reach this process. It bounds the delay of rare
/// losses; ordinary completions are signalled at once.
const READ_AGAIN: Duration = Duration::from_secs(2);
/// Operations that are asked for at once for a page. The store gives fewer if they
/// are large.
const CHUNK: usize = 64;
/// The time that a page may be searched for before it is answered as it is,
/// with the cursor to go on at.
const SEARCH: Duration = Duration::from_millis(500);

/// The operations to list.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The filter.
    pub filter: Filter,
    /// Lists operations older than this one: [`Listing::next`] of the page
    /// before.
    pub cursor: Option<OperationId>,
    /// The most operations on the page.
    pub limit: usize,
}

/// The selection that the conditions of a caller of this organization make.
pub(crate) fn selection(filter: ListFilter, organization: &Organization) -> Filter {
    // No `..`: a new condition must be looked at here.
    let ListFilter {
        name,
        state,
        status,
        message_name,
        operation_type,
        dependency_token,
        created_after,
        created_before,
        completed_before,
        correlation_id,
        parent_id,
        primary_entity_type,
        regarding_object_id,
        owner_id,
        queue,
        holds_token,
    } = filter;
    Filter {
        name,
        state,
        status,
        message_name,
        operation_type,
        chain: dependency_token.map(|token| ChainKey::new(organization, &token)),
        created_after,
        created_before,
        completed_before,
        correlation_id,
        parent_id,
        primary_entity_type,
        regarding_object_id,
        owner: owner_id,
        queue,
        holding: holds_token,
        waits_without_time: None,
        organization: Some(organization.clone()),
    }
}

/// One page of a listing, newest first.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The operations. A page may be short, even empty, though there are more.
    pub operations: Vec<Operation>,
    /// The cursor of the next page; `None`: this is the last.
    pub next: Option<OperationId>,
}

impl QueueManager {
    /// One operation of the caller's organization. Operations of other
    /// organizations do not exist for the caller: a guessed id reveals nothing.
    ///
    /// # Errors
    /// When there is no operation with this id, or the store is unavailable.
    pub async fn get(&self, actor: &Actor, id: OperationId) -> Result<Operation> {
        let found = self.find(id).await?;
        found
            .filter(|operation| operation.body.organization == actor.organization)
            .ok_or_else(|| not_found(id))
    }

    /// One operation, when it is Completed, or after `wait` as it is then.
    /// Answers early when this manager is drained.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn wait(&self, actor: &Actor, id: OperationId, wait: Duration) -> Result<Operation> {
        let end = Instant::now() + wait.min(self.options().longest_wait);
        let waiter = self.completions().waiter(id);
        loop {
            let woken = waiter.woken();
            tokio::pin!(woken);
            // Enabled before the read, or a completion in between would be
            // missed.
            woken.as_mut().enable();
            let operation = self.get(actor, id).await?;
            let now = Instant::now();
            let is_over = operation.header.status.state() == State::Completed;
            if is_over || now >= end || self.is_draining() {
                return Ok(operation);
            }
            // Woken or not, read again.
            tokio::select! {
                () = woken => {}
                () = self.drained() => {}
                () = sleep_until(end.min(now + READ_AGAIN)) => {}
            }
        }
    }

    /// One page of the caller's organization's operations, newest first,
    /// whatever organization the filter names.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn list(&self, actor: &Actor, query: &Query) -> Result<Listing> {
        let mut query = query.clone();
        query.filter.organization = Some(actor.organization.clone());
        let limits = self.options().limits;
        let limit = query.limit.min(limits.page);
        let end = Instant::now() + SEARCH;
        let mut listing = Listing {
            operations: Vec::new(),
            next: query.cursor,
        };
        let mut bytes = 0_usize;
        loop {
            let wanted = CHUNK.min(limit - listing.operations.len());
            let page = self
                .store()
                .list(&query.filter, listing.next, wanted)
                .await?;
            bytes += page.operations.iter().map(weight).sum::<usize>();
            listing.operations.extend(page.operations);
            listing.next = page.next;
            let is_full = listing.operations.len() >= limit || bytes >= limits.page_bytes;
            if is_full || listing.next.is_none() || Instant::now() >= end {
                return Ok(listing);
            }
        }
    }

    /// Reads operations, for maintenance. A record that this release cannot read
    /// is passed over, as if it did not exist, so that it does not keep the
    /// others from being maintained. A release that can read it will maintain
    /// it.
    pub(crate) async fn readable(
        &self,
        ids: &[OperationId],
    ) -> store::Result<Vec<Option<Operation>>> {
        match self.store().get(ids).await {
            Err(store::Error::Corrupt(_)) => {}
            answered => return answered,
        }
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let read = self.store().get(&[*id]).await;
            found.push(self.pass_over(*id, read)?);
        }
        Ok(found)
    }

    /// Reads operations without their data and reports, for maintenance. A record
    /// that this release cannot read is passed over, as [`Self::readable`] does.
    pub(crate) async fn summaries(
        &self,
        ids: &[OperationId],
    ) -> store::Result<Vec<Option<Summary>>> {
        match self.store().summaries(ids).await {
            Err(store::Error::Corrupt(_)) => {}
            answered => return answered,
        }
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let read = self.store().summaries(&[*id]).await;
            found.push(self.pass_over(*id, read)?);
        }
        Ok(found)
    }

    /// The only record that was read, or none if this release cannot read it.
    fn pass_over<T>(
        &self,
        id: OperationId,
        read: store::Result<Vec<Option<T>>>,
    ) -> store::Result<Option<T>> {
        match read {
            Ok(one) => Ok(one.into_iter().next().flatten()),
            Err(error @ store::Error::Corrupt(_)) => {
                self.metrics().unreadable.inc();
                tracing::debug!(%id, %error, "an operation cannot be decoded");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// One operation, if there is one.
    pub(super) async fn find(&self, id: OperationId) -> Result<Option<Operation>> {
        let found = self.store().get(&[id]).await?;
        Ok(found.into_iter().next().flatten())
    }
}

pub(super) fn not_found(id: OperationId) -> Error {
    Error::NotFound { id: id.to_string() }
}

/// The rough size of an operation in bytes: its parts that can be large.
pub(super) fn weight(operation: &Operation) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let Operation { body, report, .. } = operation;
    let fault = report.fault.as_ref();
    512 + length(&body.data)
        + length(&report.result)
        + fault.map_or(0, |fault| {
            fault.message.len() + fault.friendly_message.len()
        })
}

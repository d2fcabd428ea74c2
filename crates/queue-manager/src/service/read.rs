//! Reading operations: one, one when it is done, many.

use std::sync::Arc;
use std::time::Duration;

use drumline_api::ListFilter;
use drumline_backend::store::{self, Filter, Page, Summary};
use drumline_protocol::{ChainKey, Operation, OperationId, Organization, State};
use tokio::time::{Instant, sleep_until};

use super::{Actor, QueueManager, Shown, shown};
use crate::error::{Error, Result};

/// Operations that are asked for at once for a page. The store gives fewer if they
/// are large.
const CHUNK: usize = 64;
/// Summaries that are read at once: they are small, and a call goes through all
/// partitions of the store.
const SUMMARIES: usize = 256;
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
        failure,
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
        failure,
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
            let is_over = self.is_over(actor, id).await?;
            if is_over || Instant::now() >= end || self.is_draining() {
                return self.read_together(actor, id).await;
            }
            // Woken or not, look again. The feed looks now and then, in case a
            // signal was lost.
            tokio::select! {
                () = woken => {}
                () = self.drained() => {}
                () = sleep_until(end) => {}
            }
        }
    }

    /// Returns true if an operation of the caller's organization is Completed. One
    /// read serves all requests that wait for it.
    async fn is_over(&self, actor: &Actor, id: OperationId) -> Result<bool> {
        let answer = self.shared.looks.read(id).await;
        let found = match answer {
            Some(answer) => answer?,
            // The reader has ended, with this manager.
            None => return Ok(true),
        };
        let found = found.filter(|found| found.body.organization == actor.organization);
        let found = found.ok_or_else(|| not_found(id))?;
        Ok(found.header.status.state() == State::Completed)
    }

    /// [`Self::get`], in one read with the other requests that wait.
    async fn read_together(&self, actor: &Actor, id: OperationId) -> Result<Operation> {
        let Some(answer) = self.shared.reads.read(id).await else {
            return self.get(actor, id).await;
        };
        let found = answer?.filter(|found| found.operation.body.organization == actor.organization);
        let found = found.ok_or_else(|| not_found(id))?;
        Ok(found.operation.clone())
    }

    /// Operations that have ended, without their data, for streams of events. `None`
    /// for one that was removed, or cannot be decoded.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub(crate) async fn ended_summaries(
        &self,
        ids: &[OperationId],
    ) -> store::Result<Vec<Option<Arc<Summary>>>> {
        self.passing_over(self.shared.event_looks.ended(ids).await)
    }

    /// Operations that have ended, as the API shows them. `None` for one that was
    /// removed, or cannot be decoded.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub(crate) async fn ended(
        &self,
        ids: &[OperationId],
    ) -> store::Result<Vec<Option<Arc<Shown>>>> {
        self.passing_over(self.shared.event_reads.ended(ids).await)
    }

    /// The operations of answers, without those that cannot be decoded.
    fn passing_over<T>(
        &self,
        answers: Vec<Option<shown::Answer<T>>>,
    ) -> store::Result<Vec<Option<Arc<T>>>> {
        let found = answers.into_iter().map(|answer| match answer {
            Some(Err(store::Error::Corrupt(_))) => {
                self.metrics().unreadable.inc();
                Ok(None)
            }
            Some(answer) => answer,
            None => Ok(None),
        });
        found.collect()
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

    /// Does the same as [`Self::list`] without data and reports, which costs the
    /// same however large these are.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn list_summaries(&self, actor: &Actor, query: &Query) -> Result<Page<Summary>> {
        let mut query = query.clone();
        query.filter.organization = Some(actor.organization.clone());
        let limit = query.limit.min(self.options().limits.page);
        let end = Instant::now() + SEARCH;
        let mut listing = Page {
            operations: Vec::new(),
            next: query.cursor,
        };
        loop {
            let wanted = SUMMARIES.min(limit - listing.operations.len());
            let (store, from) = (self.store(), listing.next);
            let page = store.list_summaries(&query.filter, from, wanted).await?;
            listing.operations.extend(page.operations);
            listing.next = page.next;
            let is_full = listing.operations.len() >= limit;
            if is_full || listing.next.is_none() || Instant::now() >= end {
                return Ok(listing);
            }
        }
    }

    /// The first operations that one call to the store finds: enough for a glance.
    /// There may be none in the answer, and more behind it.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub(crate) async fn glance(&self, actor: &Actor, query: &Query) -> Result<Page<Summary>> {
        let mut filter = query.filter.clone();
        filter.organization = Some(actor.organization.clone());
        let limit = query.limit.min(CHUNK);
        let store = self.store();
        Ok(store.list_summaries(&filter, query.cursor, limit).await?)
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
        let ids = [id];
        let read = self.store().get(&ids);
        let found = self.metrics().of_store("read", read).await?;
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

//! History: what has happened to an operation.

use drumline_backend::store::{self, Store};
use drumline_protocol::transition::EventKind;
use drumline_protocol::{History, Operation, OperationId};

use super::read::not_found;
use super::{Actor, QueueManager};
use crate::error::Result;

/// The last event of an operation, if it is in the stored part of the history.
///
/// # Errors
/// When the store is unavailable or the record cannot be read.
pub(crate) async fn last_event(
    store: &dyn Store,
    id: OperationId,
) -> store::Result<Option<EventKind>> {
    let recorded = store.history(id).await?;
    Ok(recorded.and_then(|recorded| {
        let version = recorded.header.version;
        let mut entries = recorded.entries.iter();
        let last = entries.find(|entry| entry.version == version);
        last.map(|entry| entry.event)
    }))
}

impl QueueManager {
    /// The history of an operation of the caller's organization.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn history(&self, actor: &Actor, id: OperationId) -> Result<History> {
        let operation = self.get(actor, id).await?;
        self.history_of(&operation).await
    }

    /// [`Self::history`] of an operation that was just read.
    pub(crate) async fn history_of(&self, operation: &Operation) -> Result<History> {
        let recorded = self.store().history(operation.id).await?;
        // Removed in between.
        let recorded = recorded.ok_or_else(|| not_found(operation.id))?;
        Ok(recorded.history(&operation.body))
    }
}

//! History: what has happened to an operation.

use drumline_protocol::{History, OperationId};

use super::read::not_found;
use super::{Actor, QueueManager};
use crate::error::Result;

impl QueueManager {
    /// The history of an operation of the caller's organization.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn history(&self, actor: &Actor, id: OperationId) -> Result<History> {
        let operation = self.get(actor, id).await?;
        let recorded = self.store().history(id).await?;
        // Removed in between.
        let recorded = recorded.ok_or_else(|| not_found(id))?;
        Ok(recorded.history(&operation.body))
    }
}

//! Attempts: the starts of an operation's handler, and what it has printed.

use drumline_protocol::{Attempt, Header, Operation, OperationId, Output, attempt};

use super::read::not_found;
use super::{Actor, QueueManager};
use crate::error::Result;

impl QueueManager {
    /// The attempts of an operation of the caller's organization, the earliest
    /// first, and its header.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn attempts(&self, actor: &Actor, id: OperationId) -> Result<(Header, Vec<Attempt>)> {
        let operation = self.get(actor, id).await?;
        // The outputs first: of an attempt that ends meanwhile the end is shown, and
        // no output. The other way round it would be an output without an end.
        let outputs = self.outputs_of(&operation).await?;
        let recorded = self.store().history(id).await?;
        // Removed in between.
        let recorded = recorded.ok_or_else(|| not_found(id))?;
        let header = recorded.header.clone();
        let history = recorded.history(&operation.body);
        Ok((header, attempt::attempts(&history, outputs)))
    }

    /// The outputs of an operation that are kept, that of the earliest attempt first.
    pub(crate) async fn outputs_of(&self, operation: &Operation) -> Result<Vec<Output>> {
        Ok(self.store().outputs(operation.id).await?)
    }
}

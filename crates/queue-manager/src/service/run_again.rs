//! Running an operation again.
//!
//! An operation ends once, and its record says how: what depends on it has gone on.
//! So its work is done again by a new operation with the same attributes, which is
//! the last of its token.

use drumline_api::RunAgain;
use drumline_protocol::OperationId;
use drumline_protocol::transition::refuse_run_again;

use super::{Actor, Creation, QueueManager};
use crate::error::Result;

impl QueueManager {
    /// Creates an operation that does the work of a Completed one again. It belongs
    /// to the caller, and has the correlation id of the other one.
    ///
    /// With an idempotency `key`, a repetition gets the operation of the first call.
    ///
    /// # Errors
    /// - [`Error::Refused`](crate::Error::Refused) when the operation is not
    ///   Completed, or is a series.
    /// - When there is no operation with this id.
    /// - As [`Self::create`].
    pub async fn run_again(
        &self,
        actor: &Actor,
        id: OperationId,
        changes: RunAgain,
        key: Option<&str>,
    ) -> Result<Creation> {
        let operation = self.get(actor, id).await?;
        if let Some(refused) = refuse_run_again(&operation.header) {
            return Err(refused.into());
        }
        self.create(actor, changes.create(&operation), key).await
    }
}

//! Attempts: the starts of an operation's handler, and what it has printed.

use drumline_protocol::{Attempt, Header, History, Operation, OperationId, attempt};

use super::read::not_found;
use super::{Actor, QueueManager};
use crate::error::Result;

/// The history and the attempts of an operation, as of one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Course {
    /// Its header.
    pub(crate) header: Header,
    /// Its history.
    pub(crate) history: History,
    /// Its attempts, the earliest first.
    pub(crate) attempts: Vec<Attempt>,
}

impl QueueManager {
    /// The attempts of an operation of the caller's organization, the earliest
    /// first, and its header.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn attempts(&self, actor: &Actor, id: OperationId) -> Result<(Header, Vec<Attempt>)> {
        let operation = self.get(actor, id).await?;
        let course = self.course_of(&operation).await?;
        Ok((course.header, course.attempts))
    }

    /// The history and the attempts of an operation that was just read.
    pub(crate) async fn course_of(&self, operation: &Operation) -> Result<Course> {
        let id = operation.id;
        // The outputs first: of an attempt that ends meanwhile the end is shown, and
        // no output. The other way round it would be an output without an end.
        let outputs = self.store().outputs(id).await?;
        let recorded = self.store().history(id).await?;
        // Removed in between.
        let recorded = recorded.ok_or_else(|| not_found(id))?;
        let header = recorded.header.clone();
        let history = recorded.history(&operation.body);
        let attempts = attempt::attempts(&history, outputs);
        Ok(Course {
            header,
            history,
            attempts,
        })
    }
}

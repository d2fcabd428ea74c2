//! Operations that were asked to stop, until they have stopped.
//!
//! A running operation that is paused or postponed is Pausing until its handler
//! has stopped, and can be neither resumed nor paused meanwhile. That usually
//! takes moments, and the next command of a user should not depend on it.

use std::time::Duration;

use drumline_client::{OperationView, Status};
use tokio::time::Instant;

use super::Session;
use crate::output::hint;

/// The time that a command waits for handlers to stop, for all of its
/// operations together.
const PATIENCE: Duration = Duration::from_secs(10);

/// The time that one request waits. Short, because only an end is answered
/// before.
const POLL: Duration = Duration::from_millis(150);

/// Returns true if an operation is about to stop, and to wait then.
pub(super) fn is_stopping(operation: &OperationView) -> bool {
    operation.status_code == Status::Pausing.code()
}

/// Each operation once it has stopped, or as it is after ten seconds, with a
/// hint.
pub(super) struct Settling<'a> {
    session: &'a Session,
    end: Instant,
}

impl<'a> Settling<'a> {
    /// Starts the ten seconds.
    pub(super) fn new(session: &'a Session) -> Self {
        Self {
            session,
            end: Instant::now() + PATIENCE,
        }
    }

    /// Waits. The action is done whatever happens here, so there are no errors.
    pub(super) async fn settle(&self, mut seen: OperationView) -> OperationView {
        while is_stopping(&seen) {
            let left = self.end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match self.session.client.poll(&seen.id, POLL.min(left)).await {
                Ok(operation) => seen = operation,
                Err(_away_or_gone) => break,
            }
        }
        if is_stopping(&seen) {
            hint(&format!(
                "{id}: its handler has not stopped yet; `drumline get {id}` shows when it has",
                id = seen.id
            ));
        }
        seen
    }
}

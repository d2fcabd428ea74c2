//! The outcome of a handler, and the classification of an error.
//!
//! A handler returns a `Result`; `?` works on any error. This module alone
//! decides if an error means "fail", "try again later" or "ask a person": by
//! its [`ErrorCode`], unless the handler has decided it itself.

mod disposition;
mod error;

use std::time::Duration;

use drumline_protocol::{ErrorCode, Fault, OperationType};
use serde::Serialize;

pub use self::disposition::Disposition;
pub(crate) use self::disposition::code_of_status;
pub use self::error::HandlerError;

/// The outcome of an operation whose handler has ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Succeeded, with a result as JSON text.
    Done(Option<String>),
    /// Put off: by `after`, or by the retry policy where it is `None`.
    Retry {
        /// The fault.
        fault: Fault,
        /// The delay that the handler wants.
        after: Option<Duration>,
    },
    /// Failed for good.
    Fail(Fault),
    /// Waits for a person.
    Suspend(Fault),
    /// Stopped early because the worker asked for it: see
    /// [`Context::stop_requested`](crate::Context::stop_requested).
    Stopped,
}

impl Outcome {
    /// Succeeded, with this result. A result that cannot be written as JSON
    /// is a failure.
    #[must_use]
    pub fn done<T: Serialize>(result: &T) -> Self {
        match serde_json::to_string(result) {
            Ok(json) if json == "null" => Self::Done(None),
            Ok(json) => Self::Done(Some(json)),
            Err(error) => Self::Fail(Fault::new(
                ErrorCode::HANDLER_FAILED,
                "The handler gave a result that cannot be stored.",
                &error.to_string(),
            )),
        }
    }
}

/// A type that a handler function may return.
pub trait IntoOutcome {
    /// The outcome that the value stands for. `operation_type` because one
    /// error means different things to different types.
    fn into_outcome(self, operation_type: OperationType) -> Outcome;
}

impl IntoOutcome for Outcome {
    fn into_outcome(self, _operation_type: OperationType) -> Outcome {
        self
    }
}

impl<T: Serialize, E: Into<HandlerError>> IntoOutcome for Result<T, E> {
    fn into_outcome(self, operation_type: OperationType) -> Outcome {
        match self {
            Ok(result) => Outcome::done(&result),
            Err(error) => error.into().into_outcome(operation_type),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_not_stored_as_a_result() {
        assert_eq!(Outcome::done(&()), Outcome::Done(None));
        assert_eq!(Outcome::done(&7), Outcome::Done(Some("7".to_owned())));
    }
}

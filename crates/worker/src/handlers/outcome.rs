//! The outcome of a handler, and the classification of an error.
//!
//! A handler returns a `Result`, in which `?` works on any error. This module alone
//! decides if an error means "fail", "try again later" or "ask a person". The
//! [`ErrorCode`] decides, unless the handler has decided already.

mod disposition;
mod error;

use std::time::Duration;

use drumline_protocol::{ErrorCode, Fault, OperationType};
use serde::Serialize;

use crate::context::report::REPORT_BYTES;

pub use self::disposition::Disposition;
pub(crate) use self::disposition::code_of_status;
pub use self::error::HandlerError;

/// The outcome of an operation whose handler has ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Succeeded, with a result as JSON text.
    Done(Option<String>),
    /// To be tried again: after the time `after`, or by the retry policy if it is
    /// `None`.
    Retry {
        /// The fault.
        fault: Fault,
        /// The delay that the handler wants.
        after: Option<Duration>,
    },
    /// Failed for good.
    Fail(Fault),
    /// Suspended until a person resumes it.
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

/// The fault of a result that has more bytes than can be stored.
pub(crate) fn too_large(bytes: usize) -> Fault {
    Fault::new(
        ErrorCode::TOO_LARGE,
        "The result is too large to be stored.",
        &format!("{bytes} bytes; {REPORT_BYTES} are allowed"),
    )
}

/// A type that a handler function may return.
pub trait IntoOutcome {
    /// The outcome that the value stands for. An error may have another
    /// consequence for another `operation_type`.
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

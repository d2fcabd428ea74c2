//! The error of a handler, which states its consequence or leaves it to the code.

use std::fmt;
use std::time::Duration;

use drumline_protocol::{ErrorCode, Fault, OperationType};

use super::disposition::{Disposition, known_code};
use super::{IntoOutcome, Outcome};
use crate::context::children::CreateError;

/// The reason that a handler did not succeed.
///
/// Any error turns into a `HandlerError`, so `?` works in handlers. An error is
/// classified by its code (see [`Disposition`]), unless it was made by
/// [`HandlerError::retry`], [`HandlerError::fail`] or [`HandlerError::suspend`].
///
/// An error of another library has no code, but some kinds are known. A failure
/// of the network in an `io::Error` or a `reqwest::Error` (of the version that
/// this crate uses) is a network error. An HTTP status means the same as in an
/// [`http`](crate::http) handler. A [`CreateError`] brings its own code.
///
/// ```
/// use drumline_worker::{ErrorCode, HandlerError};
/// use std::time::Duration;
///
/// fn reserve(seats: u32) -> Result<u32, HandlerError> {
///     match seats {
///         0 => Err(HandlerError::fail("no seats were asked for")),
///         1..=9 => Ok(seats),
///         10..=99 => Err(HandlerError::retry("the hall is being cleaned")
///             .after(Duration::from_secs(60))),
///         _ => Err(HandlerError::new(ErrorCode::PRIVILEGE_DENIED, "more than 99 seats")
///             .friendly("Ask the manager to approve this booking.")),
///     }
/// }
/// # assert!(reserve(3).is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct HandlerError {
    code: ErrorCode,
    friendly: Option<String>,
    message: String,
    /// `None` if the code decides.
    disposition: Option<Disposition>,
    after: Option<Duration>,
    stopped: bool,
}

impl HandlerError {
    /// An error with a code, which decides the fate of the operation.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            friendly: None,
            message: message.into(),
            disposition: None,
            after: None,
            stopped: false,
        }
    }

    fn decided(disposition: Disposition, message: impl Into<String>) -> Self {
        Self {
            disposition: Some(disposition),
            ..Self::new(ErrorCode::HANDLER_FAILED, message)
        }
    }

    /// The operation has failed for good.
    #[must_use]
    pub fn fail(message: impl Into<String>) -> Self {
        Self::decided(Disposition::Fail, message)
    }

    /// The operation is to be tried again, by its retry policy.
    #[must_use]
    pub fn retry(message: impl Into<String>) -> Self {
        Self::decided(Disposition::Retry, message)
    }

    /// The operation waits until a person resumes it.
    #[must_use]
    pub fn suspend(message: impl Into<String>) -> Self {
        Self::decided(Disposition::Suspend, message)
    }

    /// The handler has stopped early, because it was asked to. The request to
    /// stop decides the fate of the operation.
    #[must_use]
    pub fn stopped() -> Self {
        Self {
            stopped: true,
            ..Self::fail("stopped")
        }
    }

    /// Sets a delay, which replaces the delay of the retry policy. Used for a retry
    /// only.
    #[must_use]
    pub const fn after(mut self, delay: Duration) -> Self {
        self.after = Some(delay);
        self
    }

    /// Sets a text for people (`friendlyMessage`).
    #[must_use]
    pub fn friendly(mut self, text: impl Into<String>) -> Self {
        self.friendly = Some(text.into());
        self
    }

    /// Sets a code for programs. A disposition that was stated stays.
    #[must_use]
    pub const fn code(mut self, code: ErrorCode) -> Self {
        self.code = code;
        self
    }
}

impl IntoOutcome for HandlerError {
    fn into_outcome(self, operation_type: OperationType) -> Outcome {
        if self.stopped {
            return Outcome::Stopped;
        }
        let disposition = self
            .disposition
            .unwrap_or_else(|| Disposition::of(self.code, operation_type));
        // The retry policy decides later if there is another attempt, so this text
        // must be true of a last attempt, too.
        let friendly = self.friendly.as_deref().unwrap_or(match disposition {
            Disposition::Fail => "The operation has failed.",
            Disposition::Retry => "The operation could not be done now.",
            Disposition::Suspend => "The operation needs a person before it can go on.",
        });
        let fault = Fault::new(self.code, friendly, &self.message);
        disposition.outcome(fault, self.after)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// `HandlerError` is no `std::error::Error` itself, like the error of `anyhow`. Only
/// so is this conversion possible, and with it `?`.
impl<E: std::error::Error + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut code = None;
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(current) = cause {
            if let Some(CreateError::NotHeld) = current.downcast_ref() {
                return Self::stopped();
            }
            // An error that is nearer to the handler knows the cause better.
            code = code.or_else(|| known_code(current));
            cause = current.source();
            if let Some(next) = cause {
                message.push_str(": ");
                message.push_str(&next.to_string());
            }
        }
        Self::new(code.unwrap_or(ErrorCode::HANDLER_FAILED), message)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn outcome(error: HandlerError) -> Outcome {
        error.into_outcome(OperationType::DEFAULT)
    }

    #[test]
    fn what_the_handler_says_outright_stands_above_the_code() {
        let error = HandlerError::fail("x").code(ErrorCode::SERVER_BUSY);
        assert!(
            matches!(outcome(error), Outcome::Fail(fault) if fault.code == ErrorCode::SERVER_BUSY)
        );
    }

    #[test]
    fn a_network_error_anywhere_in_the_chain_is_retried() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot reach the mail server")]
        struct Mail(#[source] io::Error);

        let error = Mail(io::Error::from(io::ErrorKind::ConnectionRefused));
        let Outcome::Retry { fault, after: None } = outcome(error.into()) else {
            panic!("not a retry");
        };
        assert_eq!(fault.code, ErrorCode::NETWORK_ERROR);
        assert_eq!(
            fault.message,
            "cannot reach the mail server: connection refused"
        );
    }

    #[test]
    fn nobody_is_promised_another_try_that_may_not_come() {
        let Outcome::Retry { fault, .. } = outcome(HandlerError::retry("full")) else {
            panic!("not a retry");
        };
        assert_eq!(
            fault.friendly_message,
            "The operation could not be done now."
        );
    }

    #[test]
    fn too_many_levels_of_children_are_an_infinite_loop() {
        let error = CreateError::TooDeep { depth: 9, limit: 8 };
        let Outcome::Fail(fault) = outcome(error.into()) else {
            panic!("not a failure");
        };
        assert_eq!(fault.code, ErrorCode::INFINITE_LOOP);
        assert_eq!(outcome(CreateError::NotHeld.into()), Outcome::Stopped);
    }

    #[test]
    fn any_other_error_fails() {
        let error = "x".parse::<u32>().unwrap_err();
        assert!(matches!(outcome(error.into()), Outcome::Fail(_)));
    }
}

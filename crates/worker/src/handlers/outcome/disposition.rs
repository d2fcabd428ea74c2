//! The consequence of an error code for its operation, and the codes of errors
//! that bring none.

use std::io;
use std::time::Duration;

use drumline_protocol::{ErrorCode, Fault, OperationType};
use reqwest::StatusCode;

use super::Outcome;
use crate::context::children::CreateError;

/// The consequence of an error for its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Completed, Failed.
    Fail,
    /// Suspended, and tried again by the retry policy.
    Retry,
    /// Suspended until a person resumes it.
    Suspend,
}

impl Disposition {
    /// The disposition of an error with this code, by the documents' table. A code
    /// that the table does not name fails the operation.
    #[must_use]
    pub fn of(code: ErrorCode, operation_type: OperationType) -> Self {
        /// The operation type whose handler may wait for a record to appear.
        const WORKFLOW: OperationType = OperationType(10);
        match code {
            ErrorCode::SERVER_BUSY
            | ErrorCode::DATABASE_ERROR
            | ErrorCode::NETWORK_ERROR
            | ErrorCode::COMMUNICATION_ERROR
            | ErrorCode::ORGANIZATION_DISABLED => Self::Retry,
            code if code.is_throttling() => Self::Retry,
            ErrorCode::PRIVILEGE_DENIED => Self::Suspend,
            ErrorCode::NOT_FOUND if operation_type == WORKFLOW => Self::Suspend,
            _ => Self::Fail,
        }
    }

    /// The outcome of an error with this disposition. `after` is used for a retry
    /// only.
    pub(crate) const fn outcome(self, fault: Fault, after: Option<Duration>) -> Outcome {
        match self {
            Self::Fail => Outcome::Fail(fault),
            Self::Retry => Outcome::Retry { fault, after },
            Self::Suspend => Outcome::Suspend(fault),
        }
    }
}

/// The code of an error of a known kind.
pub(super) fn known_code(error: &(dyn std::error::Error + 'static)) -> Option<ErrorCode> {
    if let Some(error) = error.downcast_ref::<CreateError>() {
        return Some(error.code());
    }
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return code_of_request(error);
    }
    let error = error.downcast_ref::<io::Error>()?;
    is_network(error.kind()).then_some(ErrorCode::NETWORK_ERROR)
}

/// The code of a request that failed, or of an answer that `error_for_status` has
/// turned into an error.
fn code_of_request(error: &reqwest::Error) -> Option<ErrorCode> {
    if let Some(status) = error.status() {
        return Some(code_of_status(status));
    }
    let network = error.is_connect() || error.is_timeout() || error.is_body();
    network.then_some(ErrorCode::NETWORK_ERROR)
}

/// Returns true if the cause is the network or the peer, which may recover.
const fn is_network(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NotConnected
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::TimedOut
    )
}

/// The code of an answer that is no success. The code decides the fate of the
/// operation.
pub(crate) fn code_of_status(status: StatusCode) -> ErrorCode {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorCode::PRIVILEGE_DENIED,
        StatusCode::NOT_FOUND => ErrorCode::NOT_FOUND,
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::THROTTLED,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => ErrorCode::SERVER_BUSY,
        status if status.is_server_error() => ErrorCode::SERVER_BUSY,
        _ => ErrorCode::HANDLER_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_decides_what_becomes_of_an_error() {
        use Disposition::{Fail, Retry, Suspend};
        for (code, expected) in [
            (ErrorCode::SERVER_BUSY, Retry),
            (ErrorCode::DATABASE_ERROR, Retry),
            (ErrorCode::NETWORK_ERROR, Retry),
            (ErrorCode::COMMUNICATION_ERROR, Retry),
            (ErrorCode::ORGANIZATION_DISABLED, Retry),
            (ErrorCode::THROTTLED, Retry),
            (ErrorCode::TOO_MANY_REQUESTS, Retry),
            (ErrorCode::TOO_MUCH_TIME, Retry),
            (ErrorCode::TOO_MANY_AT_ONCE, Retry),
            (ErrorCode::INFINITE_LOOP, Fail),
            (ErrorCode::INVALID_ARGUMENT, Fail),
            (ErrorCode::NOT_FOUND, Fail),
            (ErrorCode(4711), Fail),
            (ErrorCode::PRIVILEGE_DENIED, Suspend),
        ] {
            assert_eq!(Disposition::of(code, OperationType::DEFAULT), expected);
        }
        let workflow = OperationType(10);
        assert_eq!(Disposition::of(ErrorCode::NOT_FOUND, workflow), Suspend);
    }
}

//! The numbers by which users recognise an error, as the Dynamics service
//! gives them (its web service error codes), and Drumline's own where it has
//! none.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A 32-bit error code, written as `0x8004A001`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ErrorCode(pub u32);

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])* $constant:ident = $code:literal, $name:literal;)*) => {
        impl ErrorCode {
            $($(#[doc = $doc])* pub const $constant: Self = Self($code);)*

            /// Every code that the service itself gives.
            pub const ALL: &[Self] = &[$(Self::$constant),*];

            /// The stable name; `None` for a code that a handler made up.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($name),)*
                    _ => None,
                }
            }

            /// The meaning in one sentence; `None` for a code that a handler
            /// made up.
            #[must_use]
            pub const fn meaning(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(concat!($($doc),*).trim_ascii()),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    /// The operation cannot be cancelled, or no longer.
    CANNOT_CANCEL = 0x8004_4F00, "CannotCancel";
    /// The operation cannot be paused.
    CANNOT_PAUSE = 0x8004_4F01, "CannotPause";
    /// The operation is not Completed, so it cannot be deleted.
    CANNOT_DELETE = 0x8004_416A, "CannotDeleteUnlessCompleted";
    /// The table of transitions has no such arrow.
    INVALID_STATE_CHANGE = 0x8004_4162, "InvalidStateChange";
    /// Another process changed the operation in between.
    STATE_CHANGED = 0x8004_4163, "StateChangedByAnotherProcess";
    /// The request names no operation.
    MISSING_ID = 0x8004_4164, "MissingId";
    /// No arrow leads from this status to Completed.
    INVALID_COMPLETED = 0x8004_4165, "InvalidChangeToCompleted";
    /// No arrow leads from this status to Ready.
    INVALID_READY = 0x8004_4166, "InvalidChangeToReady";
    /// No arrow leads from this status to Suspended.
    INVALID_SUSPENDED = 0x8004_4167, "InvalidChangeToSuspended";
    /// The request changes a recurrence attribute of an operation that does not
    /// recur.
    CANNOT_UPDATE_NONRECURRING = 0x8004_4168, "CannotUpdateNonrecurring";
    /// The request changes an attribute that is fixed in a recurring operation,
    /// or whose series has ended.
    CANNOT_UPDATE_RECURRING = 0x8004_4169, "CannotUpdateRecurring";
    /// The deployment does not accept operations of this type.
    TYPE_NOT_RECOGNIZED = 0x8004_4303, "OperationTypeNotRecognized";
    /// A network error of the handler: worth a retry.
    NETWORK_ERROR = 0x8004_4306, "NetworkError";
    /// A communication error of the handler: worth a retry.
    COMMUNICATION_ERROR = 0x8004_4307, "CommunicationError";
    /// The operation is postponed because its handler fails too often.
    THROTTLED = 0x8004_0328, "PostponedByThrottle";
    /// All operations of this type are throttled.
    TYPE_THROTTLED = 0x8006_0916, "TypeThrottled";
    /// Operations create operations to a depth over the limit.
    INFINITE_LOOP = 0x8004_4182, "InfiniteLoop";
    /// The service, its store or its broker cannot take the request now.
    SERVER_BUSY = 0x8004_A001, "ServerBusy";
    /// The caller has used up its share of requests in the window.
    TOO_MANY_REQUESTS = 0x8007_2322, "TooManyRequests";
    /// The caller has used up its share of execution time in the window.
    TOO_MUCH_TIME = 0x8007_2321, "TooMuchExecutionTime";
    /// The caller has too many requests at the same time.
    TOO_MANY_AT_ONCE = 0x8007_2326, "TooManyConcurrentRequests";
    /// The handler's database failed: worth a retry.
    DATABASE_ERROR = 0x8004_0216, "DatabaseError";
    /// The organization is disabled for now: worth a retry.
    ORGANIZATION_DISABLED = 0x8004_A104, "OrganizationDisabled";
    /// There is no such operation.
    NOT_FOUND = 0x8004_0217, "ObjectDoesNotExist";
    /// The request breaks a rule.
    INVALID_ARGUMENT = 0x8004_0203, "InvalidArgument";
    /// The caller may not do this.
    PRIVILEGE_DENIED = 0x8004_0220, "PrivilegeDenied";
    /// Drumline: the worker was lost while it ran the operation, which may not
    /// start again.
    WORKER_LOST = 0x8D00_0001, "WorkerLost";
    /// Drumline: no worker has a handler for the message name.
    NO_HANDLER = 0x8D00_0002, "NoHandler";
    /// Drumline: the handler ran longer than its timeout.
    HANDLER_TIMEOUT = 0x8D00_0003, "HandlerTimeout";
    /// Drumline: the handler failed and gave no code of its own.
    HANDLER_FAILED = 0x8D00_0004, "HandlerFailed";
    /// Drumline: the body of the request is larger than the deployment allows.
    TOO_LARGE = 0x8D00_0005, "RequestTooLarge";
    /// Drumline: the body of the request is not JSON, or its content type says
    /// otherwise.
    BAD_JSON = 0x8D00_0006, "MalformedJson";
    /// Drumline: an idempotency key was used again with other content.
    KEY_REUSED = 0x8D00_0007, "IdempotencyKeyReused";
    /// Drumline: the attribute may not be changed by a client.
    READ_ONLY = 0x8D00_0008, "AttributeIsReadOnly";
    /// Drumline: there is no such address, or it does not support the method.
    NO_ROUTE = 0x8D00_0009, "NoSuchResource";
    /// Drumline: a bug in the service; the log has details under the trace id.
    INTERNAL = 0x8D00_000A, "InternalError";
    /// Drumline: the broker refuses to declare the queue.
    QUEUE_UNUSABLE = 0x8D00_000B, "QueueUnusable";
    /// Drumline: the operation had not started by its `notAfter`.
    EXPIRED = 0x8D00_000C, "Expired";
    /// Drumline: the operations of a transaction are in several partitions, which the store
    /// keeps apart.
    TRANSACTION_SPREAD = 0x8D00_000E, "TransactionSpread";
    /// Drumline: the organization has as much in the store as it may have.
    QUOTA_EXCEEDED = 0x8D00_0040, "QuotaExceeded";
    /// Drumline: the organization uses as many queues as it may.
    TOO_MANY_QUEUES = 0x8D00_000D, "TooManyQueues";
    /// Drumline: the request has no API key that is valid here.
    UNAUTHENTICATED = 0x8D00_0020, "Unauthenticated";
    /// Drumline: a web page of another site has sent the request.
    FOREIGN_SITE = 0x8D00_0021, "CrossSiteRequest";
    /// Drumline: the port takes HTTPS only, and the request came over plain HTTP.
    HTTPS_REQUIRED = 0x8D00_0030, "HttpsRequired";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08X}", self.0)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{self} {name}"),
            None => fmt::Display::fmt(self, f),
        }
    }
}

impl ErrorCode {
    /// Returns true for the codes of a service that wants fewer requests: nothing
    /// is wrong with the operation.
    #[must_use]
    pub const fn is_throttling(self) -> bool {
        matches!(
            self,
            Self::THROTTLED
                | Self::TYPE_THROTTLED
                | Self::TOO_MANY_REQUESTS
                | Self::TOO_MUCH_TIME
                | Self::TOO_MANY_AT_ONCE
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique() {
        let mut names: Vec<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ErrorCode::ALL.len());
    }

    #[test]
    fn a_code_is_written_as_the_documents_write_it() {
        assert_eq!(ErrorCode::SERVER_BUSY.to_string(), "0x8004A001");
    }

    #[test]
    fn a_log_shows_a_code_with_its_name() {
        let shown = format!("{:?}", ErrorCode::SERVER_BUSY);
        assert_eq!(shown, "0x8004A001 ServerBusy");
        assert_eq!(format!("{:?}", ErrorCode(7)), "0x00000007");
    }

    #[test]
    fn a_service_that_wants_fewer_requests_is_no_failure() {
        assert!(ErrorCode::TOO_MANY_REQUESTS.is_throttling());
        assert!(ErrorCode::THROTTLED.is_throttling());
        assert!(!ErrorCode::NETWORK_ERROR.is_throttling());
        assert!(!ErrorCode(7).is_throttling());
    }
}

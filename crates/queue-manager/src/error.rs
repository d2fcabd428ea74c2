//! Errors of a request, one variant for each thing that a caller would do
//! differently about it. The translation to HTTP is in `http::problem`.

use std::fmt;
use std::time::Duration;

use drumline_api::{self as api, Invalid};
use drumline_backend::limiter::{Limit, Limits};
use drumline_backend::{broker, store};
use drumline_protocol::{ErrorCode, QueueName, Refused};
use humantime::format_duration;

use crate::quotas::Quota;

/// The reason that a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request breaks rules: correct it.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The request is not JSON.
    #[error("the body is not JSON: {message}")]
    Syntax {
        /// The parser's message, with the position.
        message: String,
    },
    /// There is no such operation, or not any more.
    #[error("there is no operation {id}")]
    NotFound {
        /// The id or name that was asked for.
        id: String,
    },
    /// There is no such pause, or not any more.
    #[error("there is no pause {id}")]
    NoPause {
        /// The id that was asked for.
        id: String,
    },
    /// There is no such failure group, or not any more.
    #[error("there is no failure group {id}")]
    NoFailures {
        /// The id that was asked for.
        id: String,
    },
    /// The failure group is not muted, or not any more.
    #[error("the failure group {id} is not muted")]
    NoMute {
        /// The id that was asked for.
        id: String,
    },
    /// There is no such action on many operations, or not any more.
    #[error("there is no action {id}")]
    NoAction {
        /// The id that was asked for.
        id: String,
    },
    /// There is no such worker, or it is not alive any more.
    #[error("there is no live worker {id}")]
    NoWorker {
        /// The id that was asked for.
        id: String,
    },
    /// Too many actions on many operations run already; nothing was started.
    #[error(
        "{limit} actions on many operations run already, which is the limit; wait for one to end, or abort one"
    )]
    TooManyActions {
        /// The most that may run.
        limit: usize,
    },
    /// The store has no backups of its own.
    #[error(
        "this queue manager's store is not a folder, so there is nothing to back up here: for Redis see docs/runbooks/restore-snapshot.md"
    )]
    NoBackup,
    /// The service is not frozen, or not any more.
    #[error("the service is not frozen")]
    NotFrozen,
    /// The operation is in a state in which this cannot be done.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for a request with other content")]
    KeyReused,
    /// The operation of the idempotency key has been removed.
    #[error(
        "the operation of this idempotency key, {id}, has been removed; it is not created again"
    )]
    KeySpent {
        /// The id of the removed operation.
        id: String,
    },
    /// The organization uses as many queues as it may: nothing was created.
    #[error(
        "the organization uses {limit} queues beside the default one, which is the limit, and {queue} would be another"
    )]
    TooManyQueues {
        /// The queue that it does not use yet.
        queue: QueueName,
        /// The most that it may use.
        limit: usize,
    },
    /// More requests in one than the deployment allows; none was executed.
    #[error("{found} requests in one; {max} are allowed")]
    BatchTooLarge {
        /// The number of requests.
        found: usize,
        /// The most that are allowed.
        max: usize,
    },
    /// A request, or what it asks for, has too many bytes.
    #[error("more than {limit} bytes")]
    TooLarge {
        /// The most that are allowed.
        limit: usize,
    },
    /// One request of a transaction failed, and with it the whole.
    #[error("request {index} of the transaction: {source}; nothing was done")]
    InTransaction {
        /// The index of the request, from 0.
        index: usize,
        /// The fault of the request.
        source: Box<Error>,
    },
    /// A transaction over several partitions, of a store that keeps them apart.
    #[error(
        "the operations of the transaction are in several partitions, which this store keeps apart; nothing was done"
    )]
    TransactionSpread,
    /// Operations create operations without end.
    #[error("the operation would be {depth} levels deep; {limit} are allowed")]
    TooDeep {
        /// The depth that it would have.
        depth: u32,
        /// The depth that is allowed.
        limit: u32,
    },
    /// It takes too long to look at everything that there is.
    #[error("the search took too long; use RetrieveMultiple, page by page")]
    SearchTooLong,
    /// The store cannot be reached, or cannot answer. The request may or may
    /// not have been done. Asking again is safe; creating again is safe with
    /// the same idempotency key.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The broker takes no messages: nothing was created.
    #[error(transparent)]
    Broker(#[from] broker::Error),
    /// The broker refuses to declare the queue: nothing was created.
    #[error(
        "the broker refuses to declare the queue {queue}: {why}; an operator has to correct it"
    )]
    QueueUnusable {
        /// The pool of workers.
        queue: QueueName,
        /// The broker's words.
        why: String,
    },
    /// The organization has as many batches executed at the same time as it
    /// may; no request of this batch was executed.
    #[error("the organization already has {limit} batches executed now, which is its limit")]
    Busy {
        /// The most that it may have.
        limit: u32,
    },
    /// The caller has used up its limits: it is to come back later.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
    /// The organization has as much as it may have; nothing was created.
    #[error(transparent)]
    QuotaExceeded(#[from] QuotaExceeded),
    /// This process is about to end: ask another.
    #[error("this queue manager is shutting down")]
    Stopping,
    /// A bug in this service.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// The number by which users know it.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(invalid) => invalid.code,
            Self::Syntax { .. } => ErrorCode::BAD_JSON,
            Self::NotFound { .. }
            | Self::NoPause { .. }
            | Self::NoFailures { .. }
            | Self::NoMute { .. }
            | Self::NoAction { .. }
            | Self::NoWorker { .. }
            | Self::NoBackup
            | Self::NotFrozen => ErrorCode::NOT_FOUND,
            Self::TooManyActions { .. } => ErrorCode::TOO_MANY_AT_ONCE,
            Self::Refused(refused) => refused.code,
            Self::KeyReused | Self::KeySpent { .. } => ErrorCode::KEY_REUSED,
            Self::TooManyQueues { .. } => ErrorCode::TOO_MANY_QUEUES,
            Self::BatchTooLarge { .. } => ErrorCode::INVALID_ARGUMENT,
            Self::TooLarge { .. } => ErrorCode::TOO_LARGE,
            Self::InTransaction { source, .. } => source.code(),
            Self::RateLimited(protected) => protected.code(),
            Self::QuotaExceeded(_) => ErrorCode::QUOTA_EXCEEDED,
            Self::TooDeep { .. } => ErrorCode::INFINITE_LOOP,
            Self::TransactionSpread => ErrorCode::TRANSACTION_SPREAD,
            Self::QueueUnusable { .. } => ErrorCode::QUEUE_UNUSABLE,
            Self::Store(store::Error::Unavailable { .. })
            | Self::Broker(
                broker::Error::Unavailable { .. }
                | broker::Error::Blocked { .. }
                | broker::Error::Unroutable { .. }
                | broker::Error::Queue { .. }
                | broker::Error::Refused,
            )
            | Self::SearchTooLong
            | Self::Busy { .. }
            | Self::Stopping => ErrorCode::SERVER_BUSY,
            Self::Store(store::Error::Corrupt(_) | store::Error::Unfit(_))
            | Self::Broker(broker::Error::Encode(_))
            | Self::Internal(_) => ErrorCode::INTERNAL,
        }
    }
}

impl From<api::Error> for Error {
    fn from(error: api::Error) -> Self {
        match error {
            api::Error::Invalid(invalid) => Self::Invalid(invalid),
            api::Error::Syntax { message } => Self::Syntax { message },
            api::Error::NotFound { id } => Self::NotFound { id },
            api::Error::BatchTooLarge { found, max } => Self::BatchTooLarge { found, max },
            api::Error::TooLarge { limit } => Self::TooLarge { limit },
            api::Error::InTransaction { index, source } => Self::InTransaction {
                index,
                source: Box::new(Self::from(*source)),
            },
        }
    }
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A request that is refused so that the service has time for other callers,
/// too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimited {
    /// The limit that was reached.
    pub limit: Limit,
    /// The limits.
    pub limits: Limits,
    /// The time until there will be room again, as far as is known.
    pub retry_after: Duration,
}

impl RateLimited {
    /// The code that users know.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self.limit {
            Limit::Requests => ErrorCode::TOO_MANY_REQUESTS,
            Limit::Execution => ErrorCode::TOO_MUCH_TIME,
            Limit::Concurrent => ErrorCode::TOO_MANY_AT_ONCE,
        }
    }
}

impl std::error::Error for RateLimited {}

impl fmt::Display for RateLimited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limits {
            concurrent,
            requests,
            execution,
            window,
            lease: _,
        } = self.limits;
        let window = format_duration(window);
        match self.limit {
            Limit::Requests => write!(f, "a caller may send {requests} requests within {window}"),
            Limit::Execution => {
                let execution = format_duration(execution);
                write!(
                    f,
                    "a caller may use {execution} of execution within {window}"
                )
            }
            Limit::Concurrent => {
                write!(
                    f,
                    "a caller may have {concurrent} requests at the same time"
                )
            }
        }
    }
}

/// A create that its organization has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// The quota.
    pub quota: Quota,
    /// The most that the organization may have.
    pub limit: u64,
    /// The time after which it is worth trying again.
    pub retry_after: Duration,
}

impl std::error::Error for QuotaExceeded {}

impl fmt::Display for QuotaExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quota, limit, .. } = self;
        write!(
            f,
            "the organization may have {limit} {}, which is its quota `{}`",
            quota.meaning(),
            quota.name()
        )
    }
}

//! The error of creating children.

use drumline_backend::store;
use drumline_protocol::{ErrorCode, QueueName};

/// The reason that children could not be created. Returned from a handler with
/// `?`, it ends the operation as its [code](Self::code) says.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The children would be too many levels deep. Most likely a handler creates
    /// operations that it handles itself.
    #[error("the operation would be {depth} levels deep; {limit} are allowed")]
    TooDeep {
        /// The depth that the child would have.
        depth: u32,
        /// The depth that is allowed: see
        /// [`Options::depth`](crate::Options::depth).
        limit: u32,
    },
    /// An attribute breaks a rule. Nothing was created.
    #[error("{attribute} {why}")]
    Invalid {
        /// The name of the attribute, as in the API.
        attribute: &'static str,
        /// The rule that it breaks.
        why: String,
    },
    /// The organization uses as many queues as it may. Nothing was created.
    #[error("the organization uses as many queues as it may, and {queue} would be another")]
    TooManyQueues {
        /// The queue that it does not use yet.
        queue: QueueName,
    },
    /// This run does not hold its operation any more: the lease is lost, or the
    /// handler has already ended. Children of a list that were stored before
    /// stay, and the next run finds them.
    #[error("the operation is not held by this run any more")]
    NotHeld,
    /// The store cannot be used at all. (A store that is merely unavailable is
    /// asked again.)
    #[error("the store cannot be used")]
    Store(#[source] store::Error),
}

impl CreateError {
    /// The code that decides what becomes of the operation.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::TooDeep { .. } => ErrorCode::INFINITE_LOOP,
            Self::Invalid { .. } => ErrorCode::INVALID_ARGUMENT,
            Self::TooManyQueues { .. } => ErrorCode::TOO_MANY_QUEUES,
            Self::NotHeld => ErrorCode::STATE_CHANGED,
            Self::Store(_) => ErrorCode::DATABASE_ERROR,
        }
    }
}

//! The error of creating children.

use drumline_backend::store;
use drumline_protocol::ErrorCode;

/// The reason that children could not be created. Returned from a handler with
/// `?`, it ends the operation as its [code](Self::code) says.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Operations create operations, and these would be too deep: most likely a
    /// handler creates what it is itself called for.
    #[error("the operation would be {depth} levels deep, {limit} are allowed")]
    TooDeep {
        /// The depth that it would have.
        depth: u32,
        /// The depth that is allowed: see
        /// [`Options::depth`](crate::Options::depth).
        limit: u32,
    },
    /// An attribute breaks a rule; nothing was created.
    #[error("{attribute} {why}")]
    Invalid {
        /// Its name, as in the API.
        attribute: &'static str,
        /// The rule.
        why: String,
    },
    /// This run does not hold its operation any more: the lease is lost, or the
    /// handler has already ended. Children of a list that were stored before
    /// stay; the next run finds them.
    #[error("the operation is not held by this run any more")]
    NotHeld,
    /// The store cannot be used at all. (A store that is only unavailable is
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
            Self::NotHeld => ErrorCode::STATE_CHANGED,
            Self::Store(_) => ErrorCode::DATABASE_ERROR,
        }
    }
}

//! What can go wrong with a request, one variant for each thing that a caller
//! would do differently about it. The translation to HTTP is in `http::problem`.

use drumline_backend::{broker, store};
use drumline_protocol::{ErrorCode, Refused};

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request breaks rules: correct it.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The request is not JSON.
    #[error("the body is not JSON: {message}")]
    Syntax {
        /// What the parser says, and where.
        message: String,
    },
    /// There is no such operation, or not any more.
    #[error("there is no operation {id}")]
    NotFound {
        /// What was asked for.
        id: String,
    },
    /// The operation is in a state in which this cannot be done.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for a request with other content")]
    KeyReused,
    /// Operations create operations without end.
    #[error("the operation would be {depth} levels deep, {limit} are allowed")]
    TooDeep {
        /// How deep it would be.
        depth: u32,
        /// What is allowed.
        limit: u32,
    },
    /// The store cannot be reached, or cannot answer. What was asked for may
    /// have been done; asking again is safe, creating again with the same
    /// idempotency key is.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The broker takes no messages: nothing was created.
    #[error(transparent)]
    Broker(#[from] broker::Error),
    /// This process is about to end: ask another.
    #[error("this queue manager is shutting down")]
    Stopping,
    /// A bug of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A request that breaks rules, with every attribute that does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", summary(.attributes))]
pub struct Invalid {
    /// The code that users know.
    pub code: ErrorCode,
    /// Which attributes, and why; never empty.
    pub attributes: Vec<Wrong>,
}

/// One attribute that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Its name, as in the JSON; members of members with a dot.
    pub name: String,
    /// The rule, as a clause about it: "is required".
    pub why: String,
}

impl Wrong {
    /// An attribute and the rule that it breaks.
    #[must_use]
    pub fn new(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            why: why.into(),
        }
    }
}

impl Invalid {
    /// A request whose attributes break the rules of their types.
    #[must_use]
    pub const fn arguments(attributes: Vec<Wrong>) -> Self {
        Self {
            code: ErrorCode::INVALID_ARGUMENT,
            attributes,
        }
    }
}

fn summary(attributes: &[Wrong]) -> String {
    let clauses: Vec<String> = attributes
        .iter()
        .map(|Wrong { name, why }| format!("{name} {why}"))
        .collect();
    clauses.join("; ")
}

//! The faults of a request that was read: what a caller has to correct.
//!
//! All mistakes come at once: [`Invalid`] names every attribute that breaks a
//! rule.

use drumline_protocol::ErrorCode;

/// The reason that a request cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// The id in the request is not one of this service.
    #[error("there is no operation {id}")]
    NotFound {
        /// The id that was asked for.
        id: String,
    },
    /// More requests in one than the deployment allows.
    #[error("{found} requests in one; {max} are allowed")]
    BatchTooLarge {
        /// The number of requests.
        found: usize,
        /// The most that are allowed.
        max: usize,
    },
    /// A request has too many bytes.
    #[error("more than {limit} bytes")]
    TooLarge {
        /// The most that are allowed.
        limit: usize,
    },
    /// One request of a transaction is at fault, and with it the whole.
    #[error("request {index} of the transaction: {source}; nothing was done")]
    InTransaction {
        /// The index of the request, from 0.
        index: usize,
        /// The fault of the request.
        source: Box<Error>,
    },
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A request that breaks rules, with every attribute that does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", summary(.attributes))]
pub struct Invalid {
    /// The code that users know.
    pub code: ErrorCode,
    /// The attributes, and the rule that each breaks; never empty.
    pub attributes: Vec<FieldError>,
}

/// One attribute that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Its name, as in the JSON; members of members with a dot.
    pub name: String,
    /// The rule, as a clause about it: "is required".
    pub why: String,
}

impl FieldError {
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
    pub const fn arguments(attributes: Vec<FieldError>) -> Self {
        Self {
            code: ErrorCode::INVALID_ARGUMENT,
            attributes,
        }
    }
}

impl From<FieldError> for Invalid {
    fn from(error: FieldError) -> Self {
        Self::arguments(vec![error])
    }
}

fn summary(attributes: &[FieldError]) -> String {
    let clauses: Vec<String> = attributes
        .iter()
        .map(|FieldError { name, why }| format!("{name} {why}"))
        .collect();
    clauses.join("; ")
}

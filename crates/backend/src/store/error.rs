//! The errors of a store.

use std::sync::Arc;

use drumline_protocol::codec;

/// The errors of a store. A refusal is not an error: see [`Committed`](super::Committed).
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The store does not answer, or answers that it cannot now (loading,
    /// read-only, out of memory or disk). A write may or may not have been
    /// made; try again.
    #[error("the store is not available: {message}")]
    Unavailable {
        /// The store's own message, or the action that was tried.
        message: String,
        /// The underlying error.
        #[source]
        source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    },
    /// The store holds bytes that this release did not write.
    #[error("the store has a record that this release cannot decode")]
    Corrupt(#[source] Arc<codec::Error>),
    /// The store is set up in a way that would lose data, or for another
    /// release.
    #[error("the store must not be used: {0}")]
    Unfit(String),
}

impl From<codec::Error> for Error {
    fn from(error: codec::Error) -> Self {
        Self::Corrupt(Arc::new(error))
    }
}

/// The store's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

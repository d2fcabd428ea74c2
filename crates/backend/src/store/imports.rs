//! The marks of imports: which exports were imported, and which only in part.

use async_trait::async_trait;

use super::error::Result;

/// The mark of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The name of the export.
    pub id: String,
    /// True if it came to its end. If not, operations may be suspended that were not when
    /// they were exported.
    pub is_done: bool,
    /// The time since which it is so, by the store's clock.
    pub since: String,
}

/// A store that operations are imported into.
#[async_trait]
pub trait ImportStore: Send + Sync {
    /// Notes that an import has begun or is done. May be repeated. Not cancel-safe: the mark
    /// may be there or not.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn note_import(&self, import: &Import) -> Result<()>;

    /// Returns the marks of all imports, in no order.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn imports(&self) -> Result<Vec<Import>>;
}

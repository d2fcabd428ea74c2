//! Actions on many operations in a store.
//!
//! The record of an action is written as a whole, and only on the revision before it.
//! So of several writers of one revision one succeeds, and the others read again. The
//! store knows revisions and whether an action has ended; who executes it, and how far
//! it has come, is in the record.

use async_trait::async_trait;
use drumline_protocol::{ActionId, BulkAction, Organization, ScopeKey, Timestamp};

use super::error::Result;

/// The outcome of [`ActionStore::put_action`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionWrite {
    /// The record is written.
    Written,
    /// The store has another revision, or the action was removed.
    Changed,
    /// As many actions are kept as may be, and none of them has ended.
    Full,
}

/// The head of an action that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenAction {
    /// The id.
    pub id: ActionId,
    /// The key of the scope of its whole organization.
    pub organization: ScopeKey,
    /// Its revision. A store of an earlier build may answer 0.
    pub revision: u64,
}

/// The part of a [`Store`](super::Store) that is about actions on many.
#[async_trait]
pub trait ActionStore: Send + Sync {
    /// Writes an action, if the store has the revision before it; the first revision,
    /// if the store has no such action. A new action takes the place of the oldest
    /// one that has ended, where there are
    /// [`limits::ACTIONS`](drumline_protocol::limits::ACTIONS). A repetition is
    /// recognised by its content.
    ///
    /// # Errors
    /// When the store is unavailable. May be repeated.
    async fn put_action(&self, action: &BulkAction) -> Result<ActionWrite>;

    /// Returns an action; `None` if there is none, or not any more.
    ///
    /// # Errors
    /// When the store is unavailable or the record cannot be read.
    async fn action(&self, id: ActionId) -> Result<Option<BulkAction>>;

    /// Returns the actions of an organization, newest first, that are older than
    /// `before`. Returns `limit` at most, and fewer only at the end. Leaves out records
    /// that cannot be read.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn actions(
        &self,
        organization: &Organization,
        before: Option<ActionId>,
        limit: usize,
    ) -> Result<Vec<BulkAction>>;

    /// Returns the heads of the actions of all organizations that have not ended, oldest
    /// first, `limit` at most. Reads no record, so managers may ask several times a
    /// second. Also returns actions whose records cannot be read: a later release has
    /// written them, and executes them.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn open_actions(&self, limit: usize) -> Result<Vec<OpenAction>>;

    /// Removes actions that have ended and were started before a time. Looks at a
    /// bounded number, oldest first, and returns the number removed.
    ///
    /// # Errors
    /// When the store is unavailable. May be repeated.
    async fn remove_actions(&self, before: Timestamp) -> Result<usize>;
}

//! The queues that organizations use.
//!
//! A queue of workers is up to 66 queues of the broker (for a work queue, a spare one and
//! a lane for each partition), and they stay. So the store knows which organization uses
//! which queues, and when it did so last.
//!
//! ```text
//! create ───── use_queue ─┬─ known, or there is room: noted
//!                         └─ no room: refused
//! maintenance ─ idle_queues ─ the broker deletes the last use's queues ─ settle_queue
//! ```
//!
//! The default queue is not noted: every organization may use it, and it stays.

use async_trait::async_trait;
use drumline_protocol::{Organization, PauseScope, QueueName, ScopeKey, Timestamp};

use super::error::Result;

/// An organization's use of a queue, for the store: the organization as a hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueUse {
    /// The hash of the organization.
    pub organization: ScopeKey,
    /// The queue.
    pub queue: QueueName,
}

impl QueueUse {
    /// The use of a queue by an organization.
    #[must_use]
    pub fn new(organization: &Organization, queue: &QueueName) -> Self {
        Self {
            organization: PauseScope::organization(organization.clone()).key(),
            queue: queue.clone(),
        }
    }
}

/// A queue that an organization has not used for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleQueue {
    /// The use.
    pub idle: QueueUse,
    /// True if no other organization is known to use the queue.
    pub is_last: bool,
}

/// The decision about an idle queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleFate {
    /// The store forgets it: the organization has room for another.
    Forget,
    /// It counts as used now: workers serve it, or it has messages.
    Keep,
}

/// The part of a [`Store`](super::Store) that is about queues.
#[async_trait]
pub trait QueueStore: Send + Sync {
    /// Notes that an organization uses a queue now. Returns false, and notes nothing, if
    /// the organization uses as many others as it may. `limit` is the most, which the
    /// store keeps; with `None` it takes the one that it was given last, or none.
    ///
    /// # Errors
    /// When the store is unavailable. May be repeated.
    async fn use_queue(&self, wanted: &QueueUse, limit: Option<usize>) -> Result<bool>;

    /// Returns the queues that are noted, in the order of their names, behind `after`.
    /// Returns `limit` at most, and fewer only at the end.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn queues(&self, after: Option<&QueueName>, limit: usize) -> Result<Vec<QueueName>>;

    /// Returns uses that were last noted at or before a time, longest ago first.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn idle_queues(&self, before: Timestamp, limit: usize) -> Result<Vec<IdleQueue>>;

    /// Decides about an idle queue, unless it was used since `before`.
    ///
    /// # Errors
    /// When the store is unavailable. May be repeated.
    async fn settle_queue(&self, idle: &QueueUse, before: Timestamp, fate: IdleFate) -> Result<()>;
}

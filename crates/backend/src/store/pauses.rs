//! Pauses in a store, and the operations that they hold.
//!
//! ```text
//! set, lift ─→ the pauses, once, with their texts and a version
//!                  └─ copy ─→ each partition: scope keys, ends, version
//!                                  └─ the claim looks here, in its own step
//!                                         └─ held set ── release ─→ outbox
//! ```
//!
//! The claim of an operation in a paused scope is answered
//! [`Committed::Held`](super::Committed::Held). The operation stays Ready, and
//! its entry moves from the outbox to the held set of the partition. A create in a
//! paused scope enters the held set at once, so it costs the broker nothing. When the
//! scope is not paused any more, [`PauseStore::release_held`] moves it back.
//!
//! So a Ready head is always in one of three: the outbox, the offered set, the held
//! set.

use async_trait::async_trait;
use drumline_protocol::{Partition, Pause, ScopeKey, Timestamp};

use super::error::Result;

/// All pauses as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    /// Grows with every change. 0 before the first.
    pub version: u64,
    /// The pauses, in the order of their keys. One that has ended by itself may
    /// still be among them.
    pub pauses: Vec<Pause>,
    /// The scope and the end of each pause that this release cannot decode. It holds what
    /// it holds all the same.
    pub unreadable: Vec<(ScopeKey, Option<Timestamp>)>,
}

impl Pauses {
    /// The scope of each pause, and the time at which it ends by itself.
    pub fn scopes(&self) -> impl Iterator<Item = (ScopeKey, Option<Timestamp>)> {
        let known = self.pauses.iter();
        let known = known.map(|pause| (pause.scope.key(), pause.until));
        known.chain(self.unreadable.iter().copied())
    }
}

/// The state of a partition's copy of the pauses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PauseCopy {
    /// The version of [`Pauses`] that the copy was made of. 0 before the first.
    pub version: u64,
    /// The operations in the held set.
    pub held: u64,
}

/// The outcome of a step of [`PauseStore::release_held`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// The operations that left the held set.
    pub count: usize,
    /// The scope to go on behind; `None` at the end of the set, and where the
    /// step was full: the next step begins at the front again.
    pub next: Option<ScopeKey>,
}

/// The part of a [`Store`](super::Store) that is about pauses.
#[async_trait]
pub trait PauseStore: Send + Sync {
    /// Returns all pauses, as of one moment.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn pauses(&self) -> Result<Pauses>;

    /// Sets a pause, in place of the one with the same scope. It is in force in
    /// a partition when [`Self::copy_pauses`] has brought it there.
    ///
    /// # Errors
    /// When the store is unavailable. May be repeated.
    async fn set_pause(&self, pause: &Pause) -> Result<()>;

    /// Removes a pause. Returns false if there was none: a repetition after an
    /// unclear answer may find that, too.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn lift_pause(&self, key: ScopeKey) -> Result<bool>;

    /// Removes the pauses that have ended by themselves, by the store's clock,
    /// and returns their number. They hold nothing any more, removed or not.
    ///
    /// # Errors
    /// When the store is unavailable. May be repeated.
    async fn lift_ended_pauses(&self) -> Result<usize>;

    /// Writes the copies of these partitions. A copy that is as new or newer
    /// stays.
    ///
    /// # Errors
    /// When the store is unavailable. Some copies may have been written; repeat.
    async fn copy_pauses(&self, pauses: &Pauses, partitions: &[Partition]) -> Result<()>;

    /// Returns the state of these partitions' copies, in the order given.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn pause_copies(&self, partitions: &[Partition]) -> Result<Vec<PauseCopy>>;

    /// Moves at most `limit` operations whose scope is not paused any more from
    /// the held set to the outbox: scope by scope, in order of creation, behind
    /// the scope `after`. Looks at a bounded number of scopes.
    ///
    /// # Errors
    /// When the store is unavailable. May be repeated.
    async fn release_held(
        &self,
        partition: Partition,
        after: Option<ScopeKey>,
        limit: usize,
    ) -> Result<Released>;
}

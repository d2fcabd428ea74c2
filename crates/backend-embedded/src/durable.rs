//! The embedded store on a disk: what it has answered survives the end of its process,
//! and a power cut.
//!
//! The state in memory stays the working copy. What its verbs change is marked, and a
//! thread of its own writes what is marked, in groups: one transaction with one sync of
//! the disk, for all calls that have come meanwhile. An answer waits until the disk has
//! everything that it tells of.
//!
//! ```text
//! call ─ verb ─┬─ state (memory) ── marks ──→ writer thread ──→ one transaction, one sync
//!              └─ waits for the group ◀───────────────────────────────┘
//! ```
//!
//! A write that fails ends the store: the memory is ahead of the disk, and what the disk
//! has is the truth. Every answer that waits for the disk is an error from then on.
//! The process ends, and the next one goes on with what the disk has. A full disk does
//! not come to that: [`room`] says what is left out before.
//!
//! At start all rows are read. Most data stay on the disk, and are read there when an
//! answer has them ([`bodies`]); all else is in memory. The broker's queues are in memory too, so that
//! every operation that may run is offered again. Locks are kept: their holders are gone,
//! but their commands may not be, so that they are taken over after a whole lease.

mod backup;
mod bodies;
mod database;
mod error;
mod room;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;

use drumline_backend::store::ImportStore;
use drumline_backend::{Backend, CriticalTasks};
use drumline_protocol::PartitionCount;

pub use self::backup::{BackupFile, BackupSummary};
pub(crate) use self::database::{Database, Found, Rows};
pub use self::error::Error;
pub(crate) use self::writer::{Content, Pending, Writer};

use crate::clock::Clock;
use crate::{EmbeddedBroker, EmbeddedLimiter, EmbeddedMembership, EmbeddedStore};

/// A backend in one process whose store is in a folder.
#[derive(Clone, Debug)]
pub struct Durable {
    backend: Backend,
    store: Arc<EmbeddedStore>,
}

impl Durable {
    /// Opens the store in a folder, which is made if it is not there. A new store gets
    /// `partitions`; one that is there keeps its own. Blocks while it reads: about as
    /// long as reading the whole file takes.
    ///
    /// # Errors
    /// When the folder cannot be used: another process has it, it was written by a later
    /// release, or it is damaged.
    pub fn open(
        folder: &Path,
        partitions: PartitionCount,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let store = EmbeddedStore::open(folder, partitions, Arc::clone(&clock))?;
        let store = Arc::new(store);
        let backend = Backend {
            store: store.clone(),
            broker: Arc::new(EmbeddedBroker::new()),
            membership: Arc::new(EmbeddedMembership::new(Arc::clone(&clock))),
            limiter: Arc::new(EmbeddedLimiter::new(clock)),
            critical: CriticalTasks::default(),
        };
        Ok(Self { backend, store })
    }

    /// Returns true if a folder has a store. None is made.
    ///
    /// # Errors
    /// When the folder cannot be looked at.
    pub fn is_in(folder: &Path) -> Result<bool, Error> {
        Database::is_in(folder)
    }

    /// The ports.
    #[must_use]
    pub const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The marks of imports.
    #[must_use]
    pub fn imports(&self) -> &dyn ImportStore {
        &*self.store
    }

    /// Waits until a write has failed. The process must end then. Pending for ever
    /// otherwise. Cancel-safe.
    pub async fn failed(&self) -> Arc<Error> {
        self.store.failed().await
    }

    /// Has a backup end that is under way, writes what is not written yet, and closes the
    /// folder. Calls fail from then on. Blocks for the time of a write.
    pub fn close(&self) {
        self.store.close();
    }
}

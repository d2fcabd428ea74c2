//! Locks, and the answers to their renewals.

use std::time::Duration;

use drumline_protocol::{Fence, OperationId};

use crate::member_id::MemberId;

/// A holding of a lock, as its holder knows it.
///
/// A store that has lost its last writes may give out a fence twice, if its clock has
/// been set back, too. The owner tells the two holdings apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holding {
    /// The owner of the lock.
    pub owner: MemberId,
    /// The fence of the holding.
    pub fence: Fence,
}

/// A lock as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The operation that is locked.
    pub id: OperationId,
    /// The owner of the lock.
    pub owner: MemberId,
    /// The fence of this holding.
    pub fence: Fence,
    /// The beat moves with every renewal.
    pub beat: u64,
    /// The time for which the beat may stand still.
    pub lease: Duration,
}

impl Lock {
    /// The holding that the lock stands for.
    #[must_use]
    pub const fn holding(&self) -> Holding {
        Holding {
            owner: self.owner,
            fence: self.fence,
        }
    }
}

/// The answer to a renewal of one lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lock is held for another lease.
    Held {
        /// The handler has been asked to stop: read the header to see why.
        asked_to_stop: bool,
    },
    /// The lock is not the caller's any more: stop at once, write nothing.
    Lost,
    /// The server that has the lock has not answered, and others have: as if there had been
    /// no call.
    Unanswered,
}

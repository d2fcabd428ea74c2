//! The check of a store: every record is compared with the sets that it must be in, and
//! every entry of a set with its record.
//!
//! A step looks at a bounded number of records or entries of one partition, as of one
//! moment. So a store that is in use gives no false alarm: within a partition, each change
//! is one step, too. What a check repairs, it repairs on the condition that the record is
//! still as it was seen.
//!
//! No fence and no stamp is ever lowered, and no record that cannot be decoded is touched.

use std::fmt;

use async_trait::async_trait;
use drumline_protocol::{Header, OperationId, Partition, State};

use super::error::Result;

/// The most records or entries that a step looks at, unless its caller asks for another
/// number.
pub const CHECK_STEP: usize = 256;

/// The part of a [`Store`](super::Store) that checks and repairs what it holds.
#[async_trait]
pub trait CheckStore: Send + Sync {
    /// Makes one step of a check: looks at some records and entries, and repairs what is
    /// wrong with them if that is wanted. Without a repair, nothing is written.
    ///
    /// Cancel-safe: each repair is made as a whole or not at all, and a check that was
    /// broken off may start again from the beginning.
    ///
    /// # Errors
    /// When the store is unavailable: the same step may be repeated.
    async fn check_step(&self, step: &CheckStep) -> Result<CheckPage>;
}

/// A step of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckStep {
    /// The partitions that are checked: the same in every step of a check.
    pub partitions: Vec<Partition>,
    /// The place that the step before has reached; `None`: the beginning.
    pub place: Option<CheckPlace>,
    /// About how many records or entries are looked at, at most.
    pub limit: usize,
    /// True if faults are to be repaired.
    pub repair: bool,
}

/// The place that a check has reached. Only the store that gave it can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckPlace(pub Vec<u8>);

/// The result of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckPage {
    /// The records and entries that were looked at.
    pub looked_at: u64,
    /// The faults that were found.
    pub faults: Vec<Fault>,
    /// Partitions whose usage counts could not be compared, because operations changed
    /// while they were counted, or because other faults are in the way.
    pub uncounted: Vec<Partition>,
    /// The place to go on from; `None` at the end.
    pub next: Option<CheckPlace>,
}

/// A fault of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind.
    pub kind: FaultKind,
    /// The partition.
    pub partition: Partition,
    /// The operation, if the fault is one of an operation with a valid id.
    pub id: Option<OperationId>,
    /// The place of the fault, and the values that do not agree: for a person.
    pub detail: String,
    /// True if it was repaired.
    pub is_repaired: bool,
}

/// The kind of a fault. An *entry* is one too many, in a set whose record is gone or does
/// not belong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A Ready operation that could run is neither in the outbox nor offered nor held.
    NotOffered,
    /// An entry of the outbox.
    OutboxEntry,
    /// An entry of the offered set.
    OfferedEntry,
    /// An entry of the held set.
    HeldEntry,
    /// An operation is not in the set of its state.
    StateMissing,
    /// An entry of the set of a state.
    StateEntry,
    /// An operation is not in a further index.
    IndexMissing,
    /// An entry of a further index.
    IndexEntry,
    /// An index is switched on, and its rebuild has not come to its end.
    IndexUnbuilt,
    /// An operation that wakes or expires is not in the due set, or with another time.
    DueMissing,
    /// An entry of the due set.
    DueEntry,
    /// A Completed operation is not among the ends.
    EndMissing,
    /// An entry of the ends.
    EndEntry,
    /// An operation is not in its chain, or not at the place of its sequence.
    ChainOrder,
    /// A member of a chain that is Completed, of another chain, or gone.
    ChainEntry,
    /// A Locked operation has no lock: no one would take it over.
    LockMissing,
    /// A lock of an operation that is not Locked.
    LockEntry,
    /// A notice of an operation that is not Completed.
    NoticeEntry,
    /// A count of what an organization takes is not what its operations take.
    Usage,
    /// An idempotency key stands for an operation that is not there and was not removed.
    Reservation,
    /// A part of an operation without its record.
    Leftover,
    /// A record that this release cannot decode.
    Unreadable,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 22] = [
        Self::NotOffered,
        Self::OutboxEntry,
        Self::OfferedEntry,
        Self::HeldEntry,
        Self::StateMissing,
        Self::StateEntry,
        Self::IndexMissing,
        Self::IndexEntry,
        Self::IndexUnbuilt,
        Self::DueMissing,
        Self::DueEntry,
        Self::EndMissing,
        Self::EndEntry,
        Self::ChainOrder,
        Self::ChainEntry,
        Self::LockMissing,
        Self::LockEntry,
        Self::NoticeEntry,
        Self::Usage,
        Self::Reservation,
        Self::Leftover,
        Self::Unreadable,
    ];

    /// The word for people and programs. It stays.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotOffered => "not-offered",
            Self::OutboxEntry => "outbox-entry",
            Self::OfferedEntry => "offered-entry",
            Self::HeldEntry => "held-entry",
            Self::StateMissing => "state-missing",
            Self::StateEntry => "state-entry",
            Self::IndexMissing => "index-missing",
            Self::IndexEntry => "index-entry",
            Self::IndexUnbuilt => "index-unbuilt",
            Self::DueMissing => "due-missing",
            Self::DueEntry => "due-entry",
            Self::EndMissing => "end-missing",
            Self::EndEntry => "end-entry",
            Self::ChainOrder => "chain-order",
            Self::ChainEntry => "chain-entry",
            Self::LockMissing => "lock-missing",
            Self::LockEntry => "lock-entry",
            Self::NoticeEntry => "notice-entry",
            Self::Usage => "usage",
            Self::Reservation => "reservation",
            Self::Leftover => "leftover",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Returns true if an operation with this header is in the chain that it names.
#[must_use]
pub fn belongs_to_chain(header: &Header) -> bool {
    let is_open = header.status.state() != State::Completed;
    header.rules.chain.is_some() && (is_open || header.holding)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use drumline_protocol::operation::first_header;
    use drumline_protocol::{ChainKey, CommitId, Rules, Status, Timestamp};

    use super::*;

    #[test]
    fn every_kind_of_fault_has_a_word_of_its_own() {
        let names: BTreeSet<&str> = FaultKind::ALL.map(FaultKind::name).into();
        assert_eq!(names.len(), FaultKind::ALL.len());
        assert_eq!(FaultKind::NotOffered.to_string(), "not-offered");
        assert_eq!(FaultKind::Usage.to_string(), "usage");
    }

    #[test]
    fn an_operation_is_in_its_chain_until_it_is_over_and_does_not_hold_it() {
        let mut header = first_header(
            Rules::default(),
            None,
            CommitId(1),
            Timestamp::from_millis(0),
        );
        let mut belongs = |status, holding, chain| {
            (header.status, header.holding) = (status, holding);
            header.rules.chain = chain;
            belongs_to_chain(&header)
        };
        let chain = Some(ChainKey::from_bytes([7; 16]));
        assert!(belongs(Status::Waiting, false, chain));
        assert!(belongs(Status::Failed, true, chain));
        assert!(!belongs(Status::Failed, false, chain));
        assert!(!belongs(Status::Waiting, false, None));
        assert!(!belongs(Status::Failed, false, None));
    }
}

//! Entries of the outbox: operations that ought to be in the broker; and places in
//! the offered set: operations whose offers the broker has confirmed.
//!
//! Both are kept by [flow](FlowKey), and the flows come in turn: the backlog of one
//! organization in one queue does not delay the first entry of another.

use std::collections::BTreeMap;
use std::time::Duration;

use drumline_protocol::{FlowKey, OperationId};

use super::commit::Record;
use super::summary::Summary;

/// The name of one entry in the outbox, or of one moment of a partition.
/// It only ever grows: microseconds of the store's clock where that moves on,
/// the last stamp + 1 where it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

/// An operation that may run now, and its entry in the outbox.
#[derive(Clone, Debug)]
pub struct Promoted {
    /// The operation.
    pub operation: Summary,
    /// Its record, if the store has brought it along. A worker that goes on with
    /// the operation need not read it then.
    pub record: Option<Record>,
    /// Its entry.
    pub stamp: Stamp,
}

impl Promoted {
    /// The entry of an operation, whose record does not come along.
    #[must_use]
    pub const fn new(operation: Summary, stamp: Stamp) -> Self {
        Self {
            operation,
            record: None,
            stamp,
        }
    }
}

/// A look at the outbox of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxLook {
    /// Younger entries are left out.
    pub age: Duration,
    /// The most entries in the answer. The flows share them.
    pub limit: usize,
    /// The flow behind which to start; `None`: at the first flow.
    pub after: Option<FlowKey>,
    /// The flows of which entries up to a stamp are left out, because no queue
    /// takes them: they must not be all that is ever looked at.
    pub behind: BTreeMap<FlowKey, Stamp>,
}

impl OutboxLook {
    /// A look at the oldest entries of the first flows.
    #[must_use]
    pub const fn oldest(age: Duration, limit: usize) -> Self {
        Self {
            age,
            limit,
            after: None,
            behind: BTreeMap::new(),
        }
    }
}

/// Entries of the outbox, by flow.
#[derive(Clone, Debug, Default)]
pub struct OutboxPage {
    /// The flows that have entries as they were asked for, in order.
    pub flows: Vec<FlowEntries>,
    /// The flow behind which to go on; `None` if all flows were looked at.
    pub next: Option<FlowKey>,
}

impl OutboxPage {
    /// All entries, oldest first.
    #[must_use]
    pub fn into_entries(self) -> Vec<Promoted> {
        let entries = self.flows.into_iter().flat_map(|flow| flow.entries);
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by_key(|entry| entry.stamp);
        entries
    }
}

/// The entries of one flow.
#[derive(Clone, Debug)]
pub struct FlowEntries {
    /// The flow.
    pub flow: FlowKey,
    /// Its entries, oldest first.
    pub entries: Vec<Promoted>,
    /// The number of entries that were left out because their records cannot be
    /// decoded, or are gone.
    pub unreadable: usize,
    /// The stamp of the last entry that was looked at.
    pub last: Stamp,
    /// True if there are more entries behind it.
    pub has_more: bool,
}

/// The operations of a queue in one partition that could run now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runnable {
    /// Their number. Exact as far as the caller asked for it, and at least so many
    /// beyond.
    pub count: u64,
    /// Some of them: of each flow those that were offered first.
    pub first: Vec<OperationId>,
}

/// The last offer of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastOffer {
    /// The stamp of its latest entry in the outbox.
    pub stamp: Stamp,
    /// True if that entry is still there: the broker is not known to have the
    /// offer.
    pub is_in_outbox: bool,
}

/// A place in the offered set of a partition, which is in order of flow and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfferedPlace {
    /// The flow.
    pub flow: FlowKey,
    /// The operation.
    pub id: OperationId,
}

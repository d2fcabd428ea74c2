//! Entries of the outbox: operations that ought to be in the broker; and places in
//! the offered set: operations whose offers the broker has confirmed.

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

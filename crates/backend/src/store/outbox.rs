//! Entries of the outbox: operations that ought to be in the broker.

use drumline_protocol::Operation;

/// The name of one entry in the outbox, or of one moment of a partition.
/// It only ever grows: microseconds of the store's clock where that moves on,
/// the last stamp + 1 where it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

/// An operation that may run now, and its entry in the outbox.
#[derive(Clone, Debug)]
pub struct Promoted {
    /// The operation.
    pub operation: Operation,
    /// Its entry.
    pub stamp: Stamp,
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

//! The order of completion, and the notices of ends that are owed to receivers outside.

use drumline_protocol::OperationId;

use super::outbox::Stamp;

/// A stretch of the order in which operations have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The operations that ended within the stretch, earliest first, without
    /// the ones that have been removed since.
    pub entries: Vec<(Stamp, OperationId)>,
    /// The end of the stretch (inclusive): the next stretch starts after it.
    pub until: Stamp,
}

/// A notice of an operation's end that is owed to a receiver outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The operation that has ended.
    pub id: OperationId,
    /// The number of earlier tries: 0 for the first try. Stops counting at
    /// [`Self::MOST_ATTEMPTS`].
    pub attempt: u32,
}

impl Notice {
    /// The count at which attempts stop being counted.
    pub const MOST_ATTEMPTS: u32 = 255;
}

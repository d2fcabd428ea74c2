//! The place of an operation in its chain, for people.

use drumline_protocol::OperationId;

/// The place of an operation in its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainPlace {
    /// The head of the chain: the operation itself, if nothing is before it.
    pub head: OperationId,
    /// The number of operations before it.
    pub before: u64,
    /// The number of operations behind it.
    pub behind: u64,
    /// The nearest operations before and behind it, and it itself among them, in
    /// the order of the chain.
    pub neighbours: Vec<OperationId>,
}

/// The most neighbours on each side of an operation that a caller wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbourhood {
    /// Of those before it.
    pub before: usize,
    /// Of those behind it.
    pub behind: usize,
}

impl Neighbourhood {
    /// The operation alone.
    pub const NONE: Self = Self {
        before: 0,
        behind: 0,
    };
}

//! Creates: what is stored, and what the store answers.

use drumline_protocol::{Body, Header, Operation, OperationId};

use super::outbox::Stamp;

/// An operation that is to be created.
#[derive(Clone, Debug)]
pub struct NewOperation {
    /// Its id; the chain's partition where it has a chain.
    pub id: OperationId,
    /// Its first header.
    pub header: Header,
    /// Its body.
    pub body: Body,
}

/// The outcome of a create.
#[derive(Clone, Debug)]
pub enum Created {
    /// The operation is stored (now, or by an earlier try of the same create).
    New {
        /// Its place in the order of submission.
        sequence: u64,
        /// Its entry in the outbox: publish it. `None` where the
        /// operation is Suspended, or parked behind its predecessors.
        offer: Option<Stamp>,
    },
    /// Another create has used this id before.
    Exists(Box<Operation>),
}

/// An idempotency key's reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The id under which the operation is, or will be, created.
    pub id: OperationId,
    /// The fingerprint of the request that reserved it.
    pub content: [u8; 16],
}

//! Creates: what is stored, and what the store answers.

use std::time::Duration;

use drumline_protocol::{Body, Header, Operation, OperationId, Partition, PartitionCount};

use super::error::{Error, Result};
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
    /// The idempotency key that the create reserves in its own step, for `id`.
    /// If it is reserved already, the create is about the reserved id. The key
    /// must be of the operation's partition.
    pub key: Option<Reservation>,
}

/// The outcome of a create.
#[derive(Clone, Debug)]
pub enum Created {
    /// The operation is stored (now, or by an earlier try of the same create).
    New {
        /// Its id: that of the create, or the one that its key had reserved.
        id: OperationId,
        /// Its place in the order of submission.
        sequence: u64,
        /// Its entry in the outbox: publish it. `None` where the
        /// operation is Suspended, parked behind its predecessors, or held by a
        /// pause.
        offer: Option<Stamp>,
    },
    /// Another create has used this id before.
    Exists(Box<Operation>),
    /// Another create has used this id before, and its record cannot be decoded: the
    /// error of a reader of that operation.
    Unreadable(Error),
    /// The key is reserved for a request of another content. Nothing is stored.
    KeyReused,
    /// The key stands for this operation, which existed and was removed.
    /// Nothing is stored.
    KeySpent(OperationId),
}

/// An idempotency key as the store knows it: a hash of the key and of the
/// organization. The first eight bytes choose the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdempotencyKey(pub [u8; 16]);

impl IdempotencyKey {
    /// The partition that keeps the reservation.
    #[must_use]
    pub const fn partition(&self, count: PartitionCount) -> Partition {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        count.of_hash(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// A reservation of an idempotency key that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The key.
    pub key: IdempotencyKey,
    /// The id and the fingerprint that are reserved.
    pub reserved: Reserved,
    /// The time for which the key is kept.
    pub keep: Duration,
}

/// Checks a requirement of every store: the keys of creates are of the
/// partitions of their operations.
///
/// # Errors
/// [`Error::Unfit`] with the first operation of which that is not true.
pub fn check_keys(creates: &[NewOperation], count: PartitionCount) -> Result<()> {
    let is_stray = |new: &&NewOperation| {
        let key = new.key.as_ref();
        key.is_some_and(|wanted| wanted.key.partition(count) != new.id.partition())
    };
    match creates.iter().find(is_stray) {
        None => Ok(()),
        Some(stray) => Err(Error::Unfit(format!(
            "the idempotency key of {} is of another partition",
            stray.id
        ))),
    }
}

/// The operation that an idempotency key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The id under which the operation is, or will be, created.
    pub id: OperationId,
    /// The fingerprint of the request that reserved it.
    pub content: [u8; 16],
}

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

#[cfg(test)]
mod tests {
    use drumline_protocol::operation::first_header;
    use drumline_protocol::{CommitId, Rules, Timestamp};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn new(partition: Partition, key: Option<[u8; 16]>) -> NewOperation {
        let id = OperationId::new(NOW, partition, [2; 16]);
        let content = [0; 16];
        NewOperation {
            id,
            header: first_header(Rules::default(), None, CommitId(1), NOW),
            body: Body::new("DoIt", NOW),
            key: key.map(|key| Reservation {
                key: IdempotencyKey(key),
                reserved: Reserved { id, content },
                keep: Duration::from_secs(1),
            }),
        }
    }

    #[test]
    fn a_key_is_of_the_partition_of_its_operation() {
        let count = PartitionCount::DEFAULT;
        let key = [9; 16];
        let own = IdempotencyKey(key).partition(count);
        let other = count.all().find(|partition| *partition != own).unwrap();
        let fit = [new(own, Some(key)), new(other, None)];
        assert!(check_keys(&fit, count).is_ok());
        let unfit = [new(own, Some(key)), new(other, Some(key))];
        let error = check_keys(&unfit, count).unwrap_err();
        let stray = unfit.last().map(|new| new.id.to_string()).unwrap();
        assert!(error.to_string().contains(&stray), "{error}");
    }
}

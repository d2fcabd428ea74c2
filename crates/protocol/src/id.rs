//! Identifiers: operations, partitions, commits and fences.
//!
//! Each is a newtype, so that one cannot be passed for another. None is made
//! here: the caller supplies time and randomness.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::Timestamp;

/// The partitions of a store: `0..count`, fixed when the store is first used.
///
/// 1 to 4096: the id has 12 bits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionCount(NonZeroU16);

impl PartitionCount {
    /// 64 lanes keep a fleet of some dozens of workers evenly busy, and one
    /// queue name costs the broker 65 quorum queues.
    pub const DEFAULT: Self = Self(match NonZeroU16::new(64) {
        Some(count) => count,
        None => NonZeroU16::MIN,
    });

    /// Returns `None` unless `1 <= count <= 4096`.
    #[must_use]
    pub fn new(count: u16) -> Option<Self> {
        match NonZeroU16::new(count) {
            Some(count) if count.get() <= 4096 => Some(Self(count)),
            Some(_) | None => None,
        }
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The partition that a hash falls into.
    #[must_use]
    pub const fn of_hash(self, hash: u64) -> Partition {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a remainder of division by a u16 fits a u16"
        )]
        Partition((hash % self.0.get() as u64) as u16)
    }

    /// Every partition in order.
    pub fn all(self) -> impl Iterator<Item = Partition> {
        (0..self.0.get()).map(Partition)
    }
}

impl Default for PartitionCount {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// One of the store's partitions: the unit of atomicity, of maintenance, and
/// of delivery in order (its lane).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub struct Partition(u16);

impl Partition {
    /// The partition with this number; only 12 bits are kept, as in an id.
    #[must_use]
    #[inline]
    pub const fn new(number: u16) -> Self {
        Self(number & 0x0fff)
    }

    /// Its number.
    #[must_use]
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An operation's id: a version 8 UUID of 48 bits of Unix milliseconds, 12
/// bits of partition, and 62 random bits.
///
/// Ids sort by time of creation, and every reader finds the partition in the id
/// without a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperationId([u8; 16]);

impl OperationId {
    /// The id made of a time, a partition and 16 random bytes (62 bits are used).
    #[must_use]
    pub fn new(now: Timestamp, partition: Partition, random: [u8; 16]) -> Self {
        let [_, _, ms @ ..] = now.as_millis().max(0).to_be_bytes();
        let [a, b, c, d, e, f] = ms;
        let [g, h] = partition.get().to_be_bytes();
        let [i, j, k, l, m, n, o, p, ..] = random;
        let uuid =
            uuid::Builder::from_custom_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]);
        Self(*uuid.as_uuid().as_bytes())
    }

    /// The id in these bytes, if they are a UUID of version 8.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (Uuid::from_bytes_ref(&bytes).get_version_num() == 8).then_some(Self(bytes))
    }

    /// The 16 bytes; their order is the order of creation times.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The partition that the operation lives in.
    // Inlined, as `Partition::new` is: the model check asks for it at every step, and
    // is optimised while this crate is not.
    #[must_use]
    #[inline]
    pub const fn partition(&self) -> Partition {
        let [_, _, _, _, _, _, high, low, ..] = self.0;
        Partition::new(u16::from_be_bytes([high, low]))
    }

    /// The time when the id was made, by the clock of its maker.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        let [a, b, c, d, e, f, ..] = self.0;
        Timestamp::from_millis(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes_ref(&self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the id of an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an operation id: expected a UUID that the service has issued")]
pub struct InvalidId;

impl FromStr for OperationId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let uuid: Uuid = text.parse().map_err(|_error: uuid::Error| InvalidId)?;
        Self::from_bytes(uuid.into_bytes()).ok_or(InvalidId)
    }
}

/// A random name of one commit, by which a repeated commit recognises its own
/// first write. 64 bits: it only has to differ from the other commits that
/// were tried on the same version of the same operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CommitId(pub u64);

/// The fencing token of one holding of a lock. It only ever grows (per
/// partition), so of any two fences the smaller one is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence(pub u64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_its_time_and_partition() {
        let now = Timestamp::from_millis(1_795_000_000_123);
        let id = OperationId::new(now, Partition::new(63), [0xff; 16]);
        assert_eq!(id.partition(), Partition::new(63));
        assert_eq!(id.created(), now);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().as_bytes()[14], b'8');
    }

    #[test]
    fn ids_sort_by_time() {
        let early = OperationId::new(Timestamp::from_millis(1), Partition::new(4095), [0xff; 16]);
        let late = OperationId::new(Timestamp::from_millis(2), Partition::new(0), [0; 16]);
        assert!(early < late);
    }

    #[test]
    fn other_uuids_are_not_ids() {
        for text in ["", "4711", "67e55044-10b1-426f-9247-bb680e5fe0c8"] {
            assert_eq!(text.parse::<OperationId>(), Err(InvalidId), "{text}");
        }
    }
}

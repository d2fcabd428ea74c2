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

    /// The most partitions of a store.
    pub const MAX: Self = Self(match NonZeroU16::new(4096) {
        Some(count) => count,
        None => NonZeroU16::MAX,
    });

    /// Returns `None` unless `1 <= count <= 4096`.
    #[must_use]
    pub fn new(count: u16) -> Option<Self> {
        match NonZeroU16::new(count) {
            Some(count) if count <= Self::MAX.0 => Some(Self(count)),
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

/// An operation's id: a version 7 UUID (RFC 9562) of 48 bits of Unix
/// milliseconds, a 12-bit counter, 12 bits of partition, and 50 random bits.
///
/// Ids sort by time of creation. The counter keeps the ids that one process
/// makes within a millisecond in the order of their making. Every reader finds
/// the partition in the id without a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperationId([u8; 16]);

impl OperationId {
    /// The id made of a time, a partition and 16 random bytes, of which 62 bits
    /// are used: its counter is random, too. It has no order among the ids of
    /// its millisecond.
    #[must_use]
    pub fn new(now: Timestamp, partition: Partition, random: [u8; 16]) -> Self {
        let [.., high, low] = random;
        Self::counted(now, u16::from_be_bytes([high, low]), partition, random)
    }

    /// The id made of a time, a counter (12 bits are used), a partition and 16
    /// random bytes (50 bits are used).
    #[must_use]
    pub fn counted(now: Timestamp, counter: u16, partition: Partition, random: [u8; 16]) -> Self {
        let [_, _, a, b, c, d, e, f] = now.as_millis().max(0).to_be_bytes();
        let [g, h] = (VERSION << 12 | counter & 0x0fff).to_be_bytes();
        let [k, l, m, n, o, p, q, ..] = random;
        let [i, j] = (VARIANT << 14 | partition.get() << 2 | u16::from(k & 0b11)).to_be_bytes();
        Self([a, b, c, d, e, f, g, h, i, j, l, m, n, o, p, q])
    }

    /// The id in these bytes, if they are a UUID of version 7.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let uuid = Uuid::from_bytes_ref(&bytes);
        let is_ours = uuid.get_version_num() == usize::from(VERSION)
            && uuid.get_variant() == uuid::Variant::RFC4122;
        is_ours.then_some(Self(bytes))
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
        let [_, _, _, _, _, _, _, _, high, low, ..] = self.0;
        Partition::new(u16::from_be_bytes([high, low]) >> 2)
    }

    /// The time when the id was made, by the clock of its maker.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        let [a, b, c, d, e, f, ..] = self.0;
        Timestamp::from_millis(i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

/// The version of the UUIDs: ordered by Unix time.
const VERSION: u16 = 7;
/// The variant of the UUIDs: that of RFC 9562.
const VARIANT: u16 = 0b10;

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
        assert_eq!(id.to_string().as_bytes()[14], b'7');
        assert_eq!(OperationId::from_bytes(*id.as_bytes()), Some(id));
    }

    #[test]
    fn every_partition_is_found_in_its_ids() {
        let now = Timestamp::from_millis(1_795_000_000_123);
        for number in 0..4096 {
            let partition = Partition::new(number);
            for random in [[0; 16], [0xff; 16]] {
                let id = OperationId::new(now, partition, random);
                assert_eq!(id.partition(), partition);
                assert_eq!(OperationId::from_bytes(*id.as_bytes()), Some(id));
            }
        }
    }

    #[test]
    fn ids_of_a_millisecond_sort_by_their_counter() {
        let now = Timestamp::from_millis(1);
        let early = OperationId::counted(now, 7, Partition::new(4095), [0xff; 16]);
        let late = OperationId::counted(now, 8, Partition::new(0), [0; 16]);
        assert!(early < late);
    }

    #[test]
    fn ids_sort_by_time() {
        let early = OperationId::new(Timestamp::from_millis(1), Partition::new(4095), [0xff; 16]);
        let late = OperationId::new(Timestamp::from_millis(2), Partition::new(0), [0; 16]);
        assert!(early < late);
    }

    #[test]
    fn other_uuids_are_not_ids() {
        for text in [
            "",
            "4711",
            "67e55044-10b1-426f-9247-bb680e5fe0c8",
            "01a1cfd2-4e7b-803f-8000-000000000000",
        ] {
            assert_eq!(text.parse::<OperationId>(), Err(InvalidId), "{text}");
        }
    }

    #[test]
    fn a_store_has_one_to_4096_partitions() {
        assert_eq!(PartitionCount::new(0), None);
        assert_eq!(PartitionCount::new(4097), None);
        for number in [1, 3, 4096] {
            let count = PartitionCount::new(number).unwrap();
            assert_eq!(count.get(), number);
            let all: Vec<u16> = count.all().map(Partition::get).collect();
            assert_eq!(all, (0..number).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_hash_falls_into_the_partition_of_its_remainder() {
        let count = PartitionCount::new(10).unwrap();
        for (hash, number) in [(0, 0), (9, 9), (10, 0), (123, 3), (u64::MAX, 5)] {
            assert_eq!(count.of_hash(hash), Partition::new(number));
        }
    }

    #[test]
    fn identifiers_are_shown_as_people_read_them() {
        assert_eq!(Partition::new(63).to_string(), "63");
        assert_eq!(Fence(7).to_string(), "7");
        let now = Timestamp::from_millis(1_795_000_000_123);
        let id = OperationId::counted(now, 0x0abc, Partition::new(1), [0xff; 16]);
        assert_eq!(id.to_string(), "01a1ee56-5e7b-7abc-8007-ffffffffffff");
        assert_eq!(format!("{id:?}"), id.to_string());
    }
}

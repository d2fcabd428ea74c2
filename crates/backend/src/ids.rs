//! The source of ids, so that a test can fix them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drumline_protocol::{CommitId, Jitter, OperationId, Partition, Timestamp};
use uuid::Uuid;

use crate::member_id::MemberId;
use crate::random::Random;

/// A source of ids; cheap to clone and to share. Clones are one source.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    random: Random,
    /// The moment of the last operation id: milliseconds, and a counter in the
    /// lowest 12 bits. It only grows, so that ids sort in the order of their
    /// making, within a millisecond and when the clock is set back a little.
    last: Arc<AtomicU64>,
}

/// Bits of the counter in an id.
const COUNTER_BITS: u32 = 12;
const COUNTER_MASK: u64 = (1 << COUNTER_BITS) - 1;
/// The most that ids may be ahead of the clock: ten seconds. Listings find
/// operations by the time in their ids, with a tolerance of a minute.
const AHEAD: u64 = 10_000 << COUNTER_BITS;

impl Ids {
    /// Draws ids from this source.
    #[must_use]
    pub fn new(random: Random) -> Self {
        Self {
            random,
            last: Arc::default(),
        }
    }

    /// Random, from the operating system.
    #[must_use]
    pub fn random() -> Self {
        Self::new(Random::from_entropy())
    }

    /// The same ids in every run: for tests.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::new(Random::seeded(seed))
    }

    /// The source of random numbers that the ids are drawn from.
    #[must_use]
    pub const fn source(&self) -> &Random {
        &self.random
    }

    /// A random UUID (version 4).
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        self.random.uuid()
    }

    /// A fresh operation id, larger than all that this source has made before,
    /// unless the clock was set back by more than ten seconds since.
    ///
    /// More than 4,096 ids within a millisecond borrow from the next one.
    #[must_use]
    pub fn operation(&self, now: Timestamp, partition: Partition) -> OperationId {
        let moment = self.moment(now);
        let ms = i64::try_from(moment >> COUNTER_BITS).unwrap_or(i64::MAX);
        let counter = u16::try_from(moment & COUNTER_MASK).unwrap_or(0);
        let random = self.uuid().into_bytes();
        OperationId::counted(Timestamp::from_millis(ms), counter, partition, random)
    }

    /// The later of now and the moment behind the last one. A clock that was
    /// set back by more than [`AHEAD`] is followed.
    fn moment(&self, now: Timestamp) -> u64 {
        let now = u64::try_from(now.as_millis()).unwrap_or(0) << COUNTER_BITS;
        let next = |last: u64| {
            let is_near = last.saturating_sub(now) <= AHEAD;
            if is_near {
                now.max(last.saturating_add(1))
            } else {
                now
            }
        };
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(next(last))
            });
        next(last.unwrap_or_else(|last| last))
    }

    /// A fresh member id.
    #[must_use]
    pub fn member(&self) -> MemberId {
        MemberId(self.uuid())
    }

    /// A fresh name for a commit.
    #[must_use]
    pub fn commit(&self) -> CommitId {
        CommitId(self.random.u64())
    }

    /// A fresh random number for a delay.
    #[must_use]
    pub fn jitter(&self) -> Jitter {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "any 32 of the bits will do"
        )]
        Jitter(self.random.u64() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_123);

    fn made(ids: &Ids, now: Timestamp, number: u16) -> OperationId {
        ids.operation(now, Partition::new(number))
    }

    #[test]
    fn ids_grow_within_a_millisecond_and_over_its_end() {
        let ids = Ids::random();
        let mut last = made(&ids, NOW, 0);
        for number in 1..10_000 {
            let next = made(&ids, NOW, 10_000 - number);
            assert!(next > last, "{next} {last}");
            last = next;
        }
        let ahead = last.created().as_millis() - NOW.as_millis();
        assert_eq!(ahead, 2, "10,000 ids need three milliseconds");
    }

    #[test]
    fn ids_grow_though_the_clock_is_set_back_a_little() {
        let ids = Ids::random();
        let before = made(&ids, NOW, 3);
        let earlier = Timestamp::from_millis(NOW.as_millis() - 9_999);
        let after = made(&ids.clone(), earlier, 1);
        assert!(after > before);
        assert_eq!(after.partition(), Partition::new(1));
    }

    #[test]
    fn ids_follow_a_clock_that_is_set_back_by_an_hour() {
        let ids = Ids::random();
        made(&ids, NOW, 0);
        let earlier = Timestamp::from_millis(NOW.as_millis() - 3_600_000);
        assert_eq!(made(&ids, earlier, 0).created(), earlier);
    }

    #[test]
    fn ids_are_random_and_a_seed_fixes_them() {
        let draw = |ids: Ids| (made(&ids, NOW, 1), ids.uuid(), ids.member(), ids.commit());
        assert_eq!(draw(Ids::seeded(7)), draw(Ids::seeded(7)));
        assert_ne!(draw(Ids::seeded(7)), draw(Ids::seeded(8)));
        let random = Ids::random();
        assert_ne!(random.uuid(), random.uuid());
        assert_eq!(random.uuid().get_version_num(), 4);
    }
}

//! The choice of a new operation's partition.
//!
//! An operation with a token is in the chain's partition. Without a token any
//! partition will do, and short runs of creates share one: neighbours in time
//! then also are neighbours in a batch to the store and in a message. Over a
//! second all partitions get their share. A run does not last: the lane of a partition
//! has one consumer, and what is created slowly would have one worker at a time.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use drumline_protocol::{ChainKey, Jitter, Partition, PartitionCount, Timestamp};

/// Creates in a row that share a partition: about what arrives together in a
/// burst, and far fewer than what would make one partition hot.
const RUN: u64 = 64;
/// The longest that a run lasts, in milliseconds: as long as 64 creates take at some
/// thousands a second.
const LONGEST_MS: i64 = 20;

/// The choice of partitions.
#[derive(Debug)]
pub(crate) struct Partitions {
    count: PartitionCount,
    next: AtomicU64,
    /// The end of the run, in milliseconds since 1970.
    ends: AtomicI64,
}

impl Partitions {
    /// Begins at a random partition, so that managers that start together do not
    /// go through the partitions in step.
    pub(crate) fn new(count: PartitionCount, start: Jitter) -> Self {
        Self {
            count,
            next: AtomicU64::new(u64::from(start.0) * RUN),
            ends: AtomicI64::new(0),
        }
    }

    /// The partition of one new operation.
    pub(crate) fn choose(&self, chain: Option<ChainKey>, now: Timestamp) -> Partition {
        chain.map_or_else(
            || self.count.of_hash(self.turn(now) / RUN),
            |chain| chain.partition(self.count),
        )
    }

    fn turn(&self, now: Timestamp) -> u64 {
        let (now, ends) = (now.as_millis(), self.ends.load(Ordering::Relaxed));
        // A clock that was set back ends the run, too. Callers at the same moment may end two
        // runs, which does no harm.
        let is_over = now >= ends || now < ends.saturating_sub(LONGEST_MS);
        let turn = if is_over {
            let next = |turn: u64| Some((turn.next_multiple_of(RUN)).saturating_add(1));
            let before = self
                .next
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
            before.unwrap_or_default().next_multiple_of(RUN)
        } else {
            self.next.fetch_add(1, Ordering::Relaxed)
        };
        if turn % RUN == 0 {
            let ends = now.saturating_add(LONGEST_MS);
            self.ends.store(ends, Ordering::Relaxed);
        }
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn what_is_created_slowly_is_spread() {
        let count = PartitionCount::new(16).unwrap();
        let partitions = Partitions::new(count, Jitter(7));
        let at = |ms| partitions.choose(None, Timestamp::from_millis(ms));
        let first = at(1_000);
        assert_eq!(at(1_000 + LONGEST_MS - 1), first);
        let second = at(1_000 + LONGEST_MS);
        assert_ne!(second, first);
        assert_eq!(at(1_000 + LONGEST_MS), second);
        assert_ne!(
            at(1_000 + LONGEST_MS - 100),
            second,
            "the clock was set back"
        );
        let chosen: BTreeSet<_> = (1..100).map(|turn| at(2_000 + turn * LONGEST_MS)).collect();
        assert_eq!(chosen.len(), 16);
    }

    #[test]
    fn runs_stay_together_and_all_partitions_get_their_share() {
        let count = PartitionCount::new(16).unwrap();
        let partitions = Partitions::new(count, Jitter(7));
        let chosen: Vec<_> = (0..RUN * 16)
            .map(|_| partitions.choose(None, Timestamp::from_millis(5)))
            .collect();
        let moves = chosen.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(moves, 15);
        let mut shares = BTreeMap::new();
        for partition in chosen {
            *shares.entry(partition).or_insert(0) += 1;
        }
        assert_eq!(shares.len(), 16);
        assert!(shares.values().all(|share| *share == RUN));
    }
}

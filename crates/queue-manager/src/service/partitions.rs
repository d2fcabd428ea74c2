//! The choice of a new operation's partition.
//!
//! An operation with a token is in the chain's partition. Without a token any
//! partition will do, and short runs of creates share one: neighbours in time
//! then also are neighbours in a batch to the store and in a message. Over a
//! second all partitions get their share.

use std::sync::atomic::{AtomicU64, Ordering};

use drumline_protocol::{ChainKey, Jitter, Partition, PartitionCount};

/// Creates in a row that share a partition: about what arrives together in a
/// burst, and far fewer than what would make one partition hot.
const RUN: u64 = 64;

/// The choice of partitions.
#[derive(Debug)]
pub(crate) struct Partitions {
    count: PartitionCount,
    next: AtomicU64,
}

impl Partitions {
    /// Begins at a random partition, so that managers that start together do not
    /// go through the partitions in step.
    pub(crate) fn new(count: PartitionCount, start: Jitter) -> Self {
        Self {
            count,
            next: AtomicU64::new(u64::from(start.0) * RUN),
        }
    }

    /// The partition of one new operation.
    pub(crate) fn choose(&self, chain: Option<ChainKey>) -> Partition {
        chain.map_or_else(
            || {
                let turn = self.next.fetch_add(1, Ordering::Relaxed);
                self.count.of_hash(turn / RUN)
            },
            |chain| chain.partition(self.count),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn runs_stay_together_and_all_partitions_get_their_share() {
        let count = PartitionCount::new(16).unwrap();
        let partitions = Partitions::new(count, Jitter(7));
        let chosen: Vec<_> = (0..RUN * 16).map(|_| partitions.choose(None)).collect();
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

//! Several items of one partition in one script call, several calls in one
//! round trip.

use std::collections::BTreeMap;

use drumline_protocol::{OperationId, Partition};

use crate::keys::{Keys, PartitionKeys};

/// Items of one partition, by their places in the caller's list.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub(super) keys: &'a PartitionKeys,
    pub(super) items: Vec<usize>,
}

/// Groups items by the partition of their ids, at most `most` in a batch. Items
/// of one partition stay in order; items of a partition that the store does not
/// have are in no batch.
pub(super) fn batches(
    keys: &Keys,
    ids: impl Iterator<Item = OperationId>,
    most: usize,
) -> Vec<Batch<'_>> {
    let mut by_partition: BTreeMap<Partition, Vec<usize>> = BTreeMap::new();
    for (item, id) in ids.enumerate() {
        by_partition.entry(id.partition()).or_default().push(item);
    }
    let mut batches = Vec::new();
    for (partition, items) in by_partition {
        let Some(keys) = keys.partition(partition) else {
            continue;
        };
        for items in items.chunks(most) {
            batches.push(Batch {
                keys,
                items: items.to_vec(),
            });
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use drumline_protocol::{PartitionCount, Timestamp};

    use super::*;

    #[test]
    fn items_stay_in_order_within_their_partition() {
        let keys = Keys::new("test", PartitionCount::new(2).unwrap());
        let partitions = [1, 0, 1, 1, 9];
        let ids = partitions.map(|number| {
            OperationId::new(Timestamp::from_millis(1), Partition::new(number), [0; 16])
        });
        let found: Vec<Vec<usize>> = batches(&keys, ids.into_iter(), 2)
            .into_iter()
            .map(|batch| batch.items)
            .collect();
        assert_eq!(found, [vec![1], vec![0, 2], vec![3]]);
    }
}

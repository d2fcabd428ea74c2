//! Several items in one script call, several calls in one round trip.
//!
//! A call costs the server as much as several items in it, so one call may hold
//! items of several partitions. A Redis Cluster refuses that, so a call has one
//! partition there.

use std::collections::BTreeMap;

use drumline_protocol::{OperationId, Partition};
use redis::Cmd;

use crate::keys::{Keys, PartitionKeys};
use crate::scripts::Script;

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

/// The batches of one script call.
#[derive(Debug)]
pub(super) struct Call<'a>(Vec<Batch<'a>>);

impl Call<'_> {
    /// The command, with the prefixes of the partitions as its keys; the caller
    /// adds the arguments.
    pub(super) fn command(&self, script: &Script) -> Cmd {
        script.call(&Vec::from_iter(self.prefixes()))
    }

    /// [`Self::command`] of a script that counts its changes.
    pub(super) fn counted(&self, script: &Script) -> Cmd {
        let changes = self.0.first().map(|batch| batch.keys.changes());
        script.call(&Vec::from_iter(self.prefixes().chain(changes)))
    }

    /// The prefix of the sets of requests to stop.
    pub(super) fn stops_prefix(&self) -> &str {
        let first = self.0.first();
        first.map_or("", |batch| batch.keys.stops_prefix())
    }

    fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|batch| batch.keys.prefix())
    }

    /// The items: the place of each one's partition in the script's KEYS, and
    /// its place in the caller's list. Those of one partition stand together.
    pub(super) fn items(&self) -> impl Iterator<Item = (usize, usize)> {
        let numbered = (1..).zip(&self.0);
        numbered.flat_map(|(place, batch)| batch.items.iter().map(move |item| (place, *item)))
    }

    fn len(&self) -> usize {
        self.0.iter().map(|batch| batch.items.len()).sum()
    }
}

/// Puts whole batches together, up to `most` items in a call, where a call may have several
/// partitions. A batch that is larger is a call of its own.
pub(super) fn calls<'a>(keys: &Keys, batches: Vec<Batch<'a>>, most: usize) -> Vec<Call<'a>> {
    let most = keys.at_once(most);
    let mut calls: Vec<Call<'_>> = Vec::new();
    for batch in batches {
        match calls.last_mut() {
            Some(call) if call.len() + batch.items.len() <= most => call.0.push(batch),
            Some(_) | None => calls.push(Call(vec![batch])),
        }
    }
    calls
}

/// Cuts a list into pieces of at most `most` bytes, and of one item at least.
pub(super) fn by_weight<T>(
    items: &[T],
    weight: impl Fn(&T) -> usize,
    most: usize,
) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let mut sum = 0_usize;
        let fits = |item: &&T| {
            sum = sum.saturating_add(weight(item));
            sum <= most
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (piece, behind) = rest.split_at_checked(count)?;
        rest = behind;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use drumline_protocol::{PartitionCount, Timestamp};

    use super::*;

    fn ids(partitions: &[u16]) -> impl Iterator<Item = OperationId> {
        let id = |number: &u16| {
            OperationId::new(Timestamp::from_millis(1), Partition::new(*number), [0; 16])
        };
        partitions.iter().map(id)
    }

    #[test]
    fn items_stay_in_order_within_their_partition() {
        let keys = Keys::new("test", PartitionCount::new(2).unwrap());
        let found: Vec<Vec<usize>> = batches(&keys, ids(&[1, 0, 1, 1, 9]), 2)
            .into_iter()
            .map(|batch| batch.items)
            .collect();
        assert_eq!(found, [vec![1], vec![0, 2], vec![3]]);
    }

    #[test]
    fn a_piece_is_light_or_a_single_item() {
        let pieces = |items: &[usize]| -> Vec<Vec<usize>> {
            let pieces = by_weight(items, |item| *item, 10);
            pieces.map(<[usize]>::to_vec).collect()
        };
        assert_eq!(pieces(&[]), Vec::<Vec<usize>>::new());
        assert_eq!(
            pieces(&[4, 6, 1, 30, 0, 10]),
            [vec![4, 6], vec![1], vec![30], vec![0, 10]]
        );
    }

    #[test]
    fn a_call_takes_whole_batches() {
        let keys = Keys::new("test", PartitionCount::new(4).unwrap());
        let grouped = |most_of_batch, most| {
            let batches = batches(&keys, ids(&[1, 0, 1, 1, 2]), most_of_batch);
            let calls = calls(&keys, batches, most).into_iter();
            calls
                .map(|call| Vec::from_iter(call.items()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            grouped(9, 9),
            [vec![(1, 1), (2, 0), (2, 2), (2, 3), (3, 4)]]
        );
        assert_eq!(
            grouped(9, 2),
            [vec![(1, 1)], vec![(1, 0), (1, 2), (1, 3)], vec![(1, 4)]]
        );
        let spread = Keys::spread("test", PartitionCount::new(4).unwrap());
        let calls = calls(&spread, batches(&spread, ids(&[1, 0, 1]), 9), 9);
        assert_eq!(calls.len(), 2);
        assert_eq!(
            grouped(2, 3),
            [vec![(1, 1), (2, 0), (2, 2)], vec![(1, 3), (2, 4)]]
        );
    }
}

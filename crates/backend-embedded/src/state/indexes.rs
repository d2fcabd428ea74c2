//! Further indexes: the operations that have a value, by id.

use std::ops::RangeInclusive;

use drumline_protocol::{IndexKey, OperationId, Partition, Shelf, Status, Timestamp};

use super::sorted::Sorted;

/// The further indexes of one partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Indexes(pub(super) Sorted<(IndexKey, Shelf, OperationId)>);

impl Indexes {
    /// Enters an operation that has this status.
    pub(super) fn enter(&mut self, id: OperationId, keys: &[IndexKey], status: Status) {
        for key in keys {
            if let Some(shelf) = key.kind.shelf(status) {
                self.0.insert((*key, shelf, id));
            }
        }
    }

    /// Removes an operation that has this status.
    pub(super) fn leave(&mut self, id: OperationId, keys: &[IndexKey], status: Status) {
        for key in keys {
            if let Some(shelf) = key.kind.shelf(status) {
                self.0.remove(&(*key, shelf, id));
            }
        }
    }

    /// Moves an operation to the shelves of its new status.
    pub(super) fn shift(&mut self, id: OperationId, keys: &[IndexKey], from: Status, to: Status) {
        for key in keys {
            let (was, is) = (key.kind.shelf(from), key.kind.shelf(to));
            if was == is {
                continue;
            }
            if let Some(shelf) = was {
                self.0.remove(&(*key, shelf, id));
            }
            if let Some(shelf) = is {
                self.0.insert((*key, shelf, id));
            }
        }
    }

    /// The operations on one shelf of a key, older than `before`, newest first.
    pub(super) fn newest_first(
        &self,
        key: IndexKey,
        shelf: Shelf,
        before: Option<OperationId>,
    ) -> impl Iterator<Item = OperationId> {
        let (lowest, highest) = every_id().into_inner();
        let upper = (key, shelf, before.unwrap_or(highest));
        let entries = self.0.range((key, shelf, lowest)..=upper).rev();
        entries
            .map(|(_, _, id)| *id)
            .skip_while(move |id| before.is_some_and(|before| *id >= before))
    }
}

/// The least and the greatest id.
pub(super) fn every_id() -> RangeInclusive<OperationId> {
    let lowest = OperationId::new(Timestamp::from_millis(0), Partition::new(0), [0; 16]);
    let latest = Timestamp::from_millis(i64::MAX);
    let highest = OperationId::new(latest, Partition::new(0x0fff), [0xff; 16]);
    lowest..=highest
}

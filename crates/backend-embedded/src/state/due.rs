//! The due set: the times when operations wake or expire.

use drumline_protocol::{OperationId, Partition, Timestamp};

use super::State;
use super::sorted::{Sorted, SortedMap};

/// The due set of one partition, by operation and by time.
#[derive(Clone, Debug, Default)]
pub(super) struct Due {
    pub(super) by_id: SortedMap<OperationId, Timestamp>,
    by_time: Sorted<(Timestamp, OperationId)>,
}

impl Due {
    /// The earliest time.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(until, _)| *until)
    }

    pub(super) fn set(&mut self, id: OperationId, until: Timestamp) {
        self.clear(id);
        self.by_id.insert(id, until);
        self.by_time.insert((until, id));
    }

    pub(super) fn of(&self, id: OperationId) -> Option<Timestamp> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn clear(&mut self, id: OperationId) {
        if let Some(until) = self.by_id.remove(&id) {
            self.by_time.remove(&(until, id));
        }
    }
}

impl State {
    /// The operations whose time has come, earliest first.
    #[must_use]
    pub fn due(&self, partition: Partition, limit: usize, now: Timestamp) -> Vec<OperationId> {
        let Some(contents) = self.contents(partition) else {
            return Vec::new();
        };
        let by_time = contents.due.by_time.iter();
        by_time
            .take_while(|(until, _)| *until <= now)
            .take(limit)
            .map(|(_, id)| *id)
            .collect()
    }
}

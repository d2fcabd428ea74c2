//! Ends: the Completed operations, per class, in the order in which they ended.

use std::collections::BTreeMap;

use drumline_backend::store::{Ended, Stamp};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{OperationId, Partition};

use super::State;
use super::indexes::every_id;
use super::sorted::{Sorted, SortedMap};

/// The ends of one partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    pub(super) by_id: SortedMap<OperationId, (EndClass, Stamp)>,
    /// Stamps are unique. No class without ends.
    in_order: BTreeMap<EndClass, Sorted<(Stamp, OperationId)>>,
}

impl Ends {
    pub(super) fn add(&mut self, id: OperationId, class: EndClass, stamp: Stamp) {
        self.by_id.insert(id, (class, stamp));
        self.in_order.entry(class).or_default().insert((stamp, id));
    }

    pub(super) fn of(&self, id: OperationId) -> Option<(EndClass, Stamp)> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn remove(&mut self, id: OperationId) {
        if let Some((class, stamp)) = self.by_id.remove(&id)
            && let Some(of_class) = self.in_order.get_mut(&class)
        {
            of_class.remove(&(stamp, id));
            if of_class.is_empty() {
                self.in_order.remove(&class);
            }
        }
    }
}

/// The first place behind all ends of a stamp.
fn behind(stamp: Stamp) -> (Stamp, OperationId) {
    (Stamp(stamp.0.saturating_add(1)), *every_id().start())
}

impl State {
    /// Operations of a class that ended after `after` and at or before
    /// `until`, earliest first.
    #[must_use]
    pub fn ended(
        &self,
        partition: Partition,
        class: EndClass,
        after: Stamp,
        until: Stamp,
        limit: usize,
    ) -> Vec<(OperationId, Stamp)> {
        let of_class = self
            .contents(partition)
            .and_then(|contents| contents.ends.in_order.get(&class));
        of_class
            .into_iter()
            .flat_map(|in_order| in_order.range(behind(after)..))
            .take_while(|(stamp, _)| *stamp <= until)
            .take(limit)
            .map(|(stamp, id)| (*id, *stamp))
            .collect()
    }

    /// Returns the operations that ended after `after`, over all partitions, in
    /// the order of completion; about `limit` at most.
    ///
    /// The stretch reaches up to the youngest tick of all. Partitions that are
    /// behind that tick are moved up to it, so that none can put an end before
    /// it later.
    pub fn ended_since(&mut self, after: Stamp, limit: usize) -> Ended {
        let ticks = self.partitions.values().map(|contents| contents.tick);
        self.floor = ticks.max().unwrap_or(0).max(self.floor);
        self.promise(self.floor);
        let limit = limit.max(1);
        let mut found = Vec::new();
        for contents in self.partitions.values_mut() {
            contents.tick = self.floor;
            for of_class in contents.ends.in_order.values() {
                let later = of_class.range(behind(after)..);
                // One more shows whether there are any left.
                let later = later.take(limit.saturating_add(1));
                found.extend(later.copied());
            }
        }
        found.sort_unstable();
        let mut until = Stamp(self.floor).max(after);
        if let Some(&(last, _)) = found.get(limit.saturating_sub(1)) {
            // Ends with the same stamp as the last one come with it: no stretch
            // starts in the middle of a stamp.
            let kept = found.partition_point(|(stamp, _)| *stamp <= last);
            if kept < found.len() {
                found.truncate(kept);
                until = last;
            }
        }
        Ended {
            entries: found,
            until,
        }
    }
}

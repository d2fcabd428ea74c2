//! Locks: the holder of each operation, and its beat.
//!
//! A lock lives apart from the header, so that a renewal changes no version. It
//! has no time of its own: a process that takes over has watched fence and beat
//! stand still, on its own clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::MemberId;
use drumline_backend::store::{Holding, Lock, Renewal, ReportParts};
use drumline_protocol::{Fence, OperationId, Partition, Report};

use super::State;
use super::touched::Parts;

/// One lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// The owner of the lock.
    pub owner: MemberId,
    /// The fence of this holding.
    pub fence: Fence,
    /// The beat moves with every renewal.
    pub beat: u64,
    /// The time for which the beat may stand still.
    pub lease: Duration,
    /// True if the next renewal is to tell the holder to look at the header.
    pub asked_to_stop: bool,
}

impl Held {
    pub(super) const fn new(owner: MemberId, fence: Fence, lease: Duration) -> Self {
        Self {
            owner,
            fence,
            beat: 0,
            lease,
            asked_to_stop: false,
        }
    }

    /// Returns true if the lock is of this holding.
    pub(super) fn is_of(&self, holding: Holding) -> bool {
        (self.owner, self.fence) == (holding.owner, holding.fence)
    }

    /// The lock as other processes see it.
    #[must_use]
    pub const fn shown(&self, id: OperationId) -> Lock {
        Lock {
            id,
            owner: self.owner,
            fence: self.fence,
            beat: self.beat,
            lease: self.lease,
        }
    }
}

/// The locks of one partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Locks {
    pub(super) by_id: BTreeMap<OperationId, Held>,
    /// The operations that each holder is asked to stop: every holder looks twice in a
    /// second, whatever it and the others run.
    asked: BTreeMap<MemberId, BTreeSet<OperationId>>,
}

impl Locks {
    pub(super) fn get(&self, id: OperationId) -> Option<&Held> {
        self.by_id.get(&id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn take(&mut self, id: OperationId, held: Held) {
        self.release(id);
        self.by_id.insert(id, held);
    }

    pub(super) fn release(&mut self, id: OperationId) {
        let Some(held) = self.by_id.remove(&id) else {
            return;
        };
        if let Some(asked) = self.asked.get_mut(&held.owner) {
            asked.remove(&id);
            if asked.is_empty() {
                self.asked.remove(&held.owner);
            }
        }
    }

    pub(super) fn ask_to_stop(&mut self, id: OperationId) {
        if let Some(held) = self.by_id.get_mut(&id) {
            held.asked_to_stop = true;
            self.asked.entry(held.owner).or_default().insert(id);
        }
    }

    /// Forgets the beats.
    #[cfg(test)]
    pub(super) fn settle(&mut self) {
        for held in self.by_id.values_mut() {
            held.beat = 0;
        }
    }

    /// The locks of a holder that it was asked to stop.
    fn asked_of(&self, holder: MemberId) -> impl Iterator<Item = (OperationId, Fence)> {
        let asked = self.asked.get(&holder).into_iter().flatten();
        asked.filter_map(|id| Some((*id, self.by_id.get(id)?.fence)))
    }
}

impl State {
    /// The lock of an operation.
    #[must_use]
    pub fn lock(&self, id: OperationId) -> Option<&Held> {
        self.contents(id.partition())?.locks.get(id)
    }

    /// All locks of a partition.
    #[must_use]
    pub fn locks(&self, partition: Partition) -> Vec<Lock> {
        let Some(contents) = self.contents(partition) else {
            return Vec::new();
        };
        let locks = contents.locks.by_id.iter();
        locks.map(|(&id, held)| held.shown(id)).collect()
    }

    /// The locks of a holder that it was asked to stop.
    #[must_use]
    pub fn stop_requests(&self, holder: MemberId) -> Vec<(OperationId, Fence)> {
        let partitions = self.partitions.values();
        partitions
            .flat_map(|contents| contents.locks.asked_of(holder))
            .collect()
    }

    /// Moves the beat of a lock.
    pub fn renew(&mut self, id: OperationId, holding: Holding) -> Renewal {
        let locks = &mut self.contents_mut(id.partition()).locks.by_id;
        match locks.get_mut(&id) {
            Some(held) if held.is_of(holding) => {
                held.beat = held.beat.saturating_add(1);
                Renewal::Held {
                    asked_to_stop: held.asked_to_stop,
                }
            }
            Some(_) | None => Renewal::Lost,
        }
    }

    /// Writes the holder's report; returns `false` if the lock is not the
    /// caller's.
    pub fn report(
        &mut self,
        id: OperationId,
        holding: Holding,
        mut report: Report,
        parts: ReportParts,
    ) -> bool {
        let contents = self.contents_mut(id.partition());
        let holds = contents
            .locks
            .get(id)
            .is_some_and(|held| held.is_of(holding));
        match contents.records.get_mut(&id) {
            Some(record) if holds => {
                if parts == ReportParts::AllButCheckpoint {
                    report.checkpoint = record.report().checkpoint;
                }
                contents.usage.subtract(record);
                Arc::make_mut(record).set_report(&report);
                contents.usage.add(record);
                let parts = Parts {
                    report: true,
                    ..Parts::STATE
                };
                contents.touched.operation(id, parts);
                true
            }
            Some(_) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use drumline_backend::Ids;
    use drumline_protocol::Timestamp;

    use super::*;

    #[test]
    fn a_look_for_requests_to_stop_meets_only_those_of_its_holder() {
        let ids = Ids::seeded(1);
        let (mine, other) = (ids.member(), ids.member());
        let fresh = || ids.operation(Timestamp::from_millis(1), Partition::new(0));
        let mut locks = Locks::default();
        let (running, stopping, foreign) = (fresh(), fresh(), fresh());
        for (id, owner) in [(running, mine), (stopping, mine), (foreign, other)] {
            locks.take(id, Held::new(owner, Fence(7), Duration::from_secs(10)));
        }
        locks.ask_to_stop(stopping);
        locks.ask_to_stop(foreign);
        assert_eq!(locks.asked.len(), 2);
        let asked: Vec<_> = locks.asked_of(mine).collect();
        assert_eq!(asked, [(stopping, Fence(7))]);
        // Neither a release nor another holder leaves a request behind.
        locks.release(stopping);
        locks.take(foreign, Held::new(mine, Fence(8), Duration::from_secs(10)));
        assert!(locks.asked.is_empty(), "{:?}", locks.asked);
    }
}

//! The outbox: operations that ought to be in the broker and are not
//! known to be; and the offered set: those whose last offer the broker has
//! confirmed.
//!
//! Every entry has a fresh stamp, and a confirm moves only the entry that it
//! published. Otherwise a late confirm would orphan an operation that was
//! claimed, or promoted, in between.
//!
//! Invariant: a Ready operation is in the outbox, in the offered set, in the held
//! set, or parked behind the head of its chain. No other operation is in one of the
//! three sets.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use drumline_backend::store::{LastOffer, OfferedPlace, Promoted, Stamp};
use drumline_protocol::{OperationId, Partition, State as StateCode, Timestamp};

use super::{Contents, State};

/// The outbox of one partition, by operation and by age.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    by_id: BTreeMap<OperationId, Entry>,
    by_age: BTreeSet<(Entry, OperationId)>,
}

/// One entry. Its age counts from `since`, not from the stamp, so that a delay
/// moves no stamp into the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    since: Timestamp,
    stamp: Stamp,
}

impl Outbox {
    pub(super) fn add(&mut self, id: OperationId, stamp: Stamp, since: Timestamp) {
        self.remove(id);
        let entry = Entry { since, stamp };
        self.by_id.insert(id, entry);
        self.by_age.insert((entry, id));
    }

    pub(super) fn remove(&mut self, id: OperationId) {
        if let Some(entry) = self.by_id.remove(&id) {
            self.by_age.remove(&(entry, id));
        }
    }

    pub(super) fn stamp(&self, id: OperationId) -> Option<Stamp> {
        self.by_id.get(&id).map(|entry| entry.stamp)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

impl State {
    /// The stamp of an operation's entry in the outbox.
    #[must_use]
    pub fn outbox_entry(&self, id: OperationId) -> Option<Stamp> {
        self.contents(id.partition())?.outbox.stamp(id)
    }

    /// The stamp of an operation's latest entry, present or removed.
    #[must_use]
    pub fn last_offer(&self, id: OperationId) -> Option<Stamp> {
        self.record(id).map(|record| record.last_offer)
    }

    /// Returns true if the operation is in the offered set.
    #[must_use]
    pub fn is_offered(&self, id: OperationId) -> bool {
        self.contents(id.partition()).is_some_and(|contents| {
            let record = contents.records.get(&id);
            record.is_some_and(|record| contents.offered.contains(&(record.flow, id)))
        })
    }

    /// Moves an entry to the offered set, if its stamp still is `stamp`.
    pub fn remove_from_outbox(&mut self, id: OperationId, stamp: Stamp) {
        let contents = self.contents_mut(id.partition());
        if contents.outbox.stamp(id) != Some(stamp) {
            return;
        }
        contents.outbox.remove(id);
        if let Some(record) = contents.records.get(&id) {
            contents.offered.insert((record.flow, id));
        }
    }

    /// The last offer of an operation, unless it is held.
    #[must_use]
    pub fn offer_of(&self, id: OperationId) -> Option<LastOffer> {
        if self.held_by(id).is_some() {
            return None;
        }
        Some(LastOffer {
            stamp: self.last_offer(id)?,
            is_in_outbox: self.outbox_entry(id).is_some(),
        })
    }

    /// Entries older than `age` with stamps above `after`, oldest first.
    #[must_use]
    pub fn outbox_entries(
        &self,
        partition: Partition,
        age: Duration,
        after: Option<Stamp>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Promoted> {
        let Some(contents) = self.contents(partition) else {
            return Vec::new();
        };
        let by_age = contents.outbox.by_age.iter();
        by_age
            .take_while(|(entry, _)| entry.since.saturating_add(age) <= now)
            .filter(|(entry, _)| after.is_none_or(|after| entry.stamp > after))
            .filter_map(|(entry, id)| contents.summarized(*id, entry.stamp))
            .take(limit)
            .collect()
    }

    /// The operations of the offered set, with the stamp of their last offer; looks
    /// at `limit` of them behind `after`.
    #[must_use]
    pub fn offered(
        &self,
        partition: Partition,
        after: Option<OfferedPlace>,
        limit: usize,
    ) -> (Vec<(OperationId, Stamp)>, Option<OfferedPlace>) {
        let Some(contents) = self.contents(partition) else {
            return (Vec::new(), None);
        };
        let start = after.map_or(Bound::Unbounded, |OfferedPlace { flow, id }| {
            Bound::Excluded((flow, id))
        });
        let mut looked_at = contents.offered.range((start, Bound::Unbounded));
        let (mut found, mut last) = (Vec::new(), None);
        for &(flow, id) in looked_at.by_ref().take(limit) {
            last = Some(OfferedPlace { flow, id });
            let record = contents.records.get(&id);
            found.extend(record.map(|record| (id, record.last_offer)));
        }
        let next = looked_at.next().and(last);
        (found, next)
    }

    /// Offers an operation again, if it was not offered since `seen`.
    pub fn reoffer(
        &mut self,
        id: OperationId,
        seen: Stamp,
        delay: Duration,
        now: Timestamp,
    ) -> Option<Stamp> {
        let contents = self.contents_mut(id.partition());
        let record = contents.records.get(&id)?;
        let may = record.header.status.state() == StateCode::Ready
            && record.last_offer == seen
            && !contents.held.has(id)
            && contents.travels(id, &record.header);
        may.then(|| contents.offer(id, now.saturating_add(delay), now))
    }
}

impl Contents {
    /// An entry, without the record of its operation.
    fn summarized(&self, id: OperationId, stamp: Stamp) -> Option<Promoted> {
        let record = self.records.get(&id)?;
        Some(Promoted::new(record.summary(id), stamp))
    }

    pub(super) fn promoted(&self, id: OperationId, stamp: Stamp) -> Option<Promoted> {
        let record = self.records.get(&id)?;
        Some(Promoted {
            record: Some(record.parts()),
            ..Promoted::new(record.summary(id), stamp)
        })
    }
}

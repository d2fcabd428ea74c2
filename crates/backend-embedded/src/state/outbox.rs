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

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use drumline_backend::store::{
    FlowEntries, LastOffer, OfferedPlace, OutboxLook, OutboxPage, Promoted, Runnable, Stamp,
};
use drumline_protocol::flow::{FLOW_BYTES, QUEUE_BYTES};
use drumline_protocol::{
    FlowKey, OperationId, Partition, QueueName, State as StateCode, Timestamp,
};

use super::sorted::{Sorted, SortedMap};
use super::{Contents, State};

/// The outbox of one partition, by operation, and by flow and age.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    pub(super) by_id: SortedMap<OperationId, (FlowKey, Entry)>,
    /// A flow without entries is not kept.
    by_flow: BTreeMap<FlowKey, Sorted<(Entry, OperationId)>>,
}

/// One entry. Its age counts from `since`, not from the stamp, so that a delay
/// moves no stamp into the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    since: Timestamp,
    stamp: Stamp,
}

impl Outbox {
    pub(super) fn add(&mut self, id: OperationId, flow: FlowKey, stamp: Stamp, since: Timestamp) {
        self.remove(id);
        let entry = Entry { since, stamp };
        self.by_id.insert(id, (flow, entry));
        self.by_flow.entry(flow).or_default().insert((entry, id));
    }

    pub(super) fn remove(&mut self, id: OperationId) {
        let Some((flow, entry)) = self.by_id.remove(&id) else {
            return;
        };
        if let Some(entries) = self.by_flow.get_mut(&flow) {
            entries.remove(&(entry, id));
            if entries.is_empty() {
                self.by_flow.remove(&flow);
            }
        }
    }

    pub(super) fn stamp(&self, id: OperationId) -> Option<Stamp> {
        self.by_id.get(&id).map(|(_, entry)| entry.stamp)
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

    /// Entries of the flows that have some, in turn.
    #[must_use]
    pub fn outbox_entries(
        &self,
        partition: Partition,
        look: &OutboxLook,
        now: Timestamp,
    ) -> OutboxPage {
        let Some(contents) = self.contents(partition) else {
            return OutboxPage::default();
        };
        let is_old =
            |(entry, _): &&(Entry, OperationId)| entry.since.saturating_add(look.age) <= now;
        let start = look.after.map_or(Bound::Unbounded, Bound::Excluded);
        let all = contents.outbox.by_flow.range((start, Bound::Unbounded));
        let mut open = all.filter(|(_, entries)| entries.first().as_ref().is_some_and(is_old));
        let some: Vec<_> = open.by_ref().take(look.limit).collect();
        let last = some.last().map(|(flow, _)| **flow);
        let share = (look.limit / some.len().max(1)).max(1);
        let mut page = OutboxPage {
            flows: Vec::new(),
            next: open.next().and(last),
        };
        for (flow, entries) in some {
            let behind = look.behind.get(flow);
            let mut left = entries
                .iter()
                .take_while(is_old)
                .filter(|(entry, _)| behind.is_none_or(|behind| entry.stamp > *behind));
            let taken: Vec<_> = left.by_ref().take(share).collect();
            let Some((last, _)) = taken.last() else {
                continue;
            };
            let found = taken.iter();
            page.flows.push(FlowEntries {
                flow: *flow,
                entries: found
                    .filter_map(|(entry, id)| contents.summarized(*id, entry.stamp))
                    .collect(),
                unreadable: 0,
                last: last.stamp,
                has_more: left.next().is_some(),
            });
        }
        page
    }

    /// The operations of a queue in the outbox and in the offered set.
    #[must_use]
    pub fn runnable(
        &self,
        partition: Partition,
        queue: &QueueName,
        most: usize,
        sample: usize,
    ) -> Runnable {
        let Some(contents) = self.contents(partition) else {
            return Runnable::default();
        };
        let prefix = FlowKey::queue_prefix(queue);
        let start = FlowKey::from_bytes(start_of(prefix));
        let first_id = OperationId::new(Timestamp::from_millis(0), Partition::new(0), [0; 16]);
        let is_of_queue = |flow: &FlowKey| flow.as_bytes().starts_with(&prefix);
        let waiting = contents.outbox.by_flow.range(start..);
        let waiting = waiting.take_while(|(flow, _)| is_of_queue(flow));
        let waiting =
            waiting.map(|(_, entries)| entries.iter().map(|(_, id)| *id).take(most).collect());
        let mut flows: Vec<Vec<OperationId>> = waiting.collect();
        let offered = contents.offered.range((start, first_id)..);
        let offered = offered.take_while(|(flow, _)| is_of_queue(flow));
        let mut by_flow: BTreeMap<FlowKey, Vec<OperationId>> = BTreeMap::new();
        for (flow, id) in offered.take(most) {
            by_flow.entry(*flow).or_default().push(*id);
        }
        flows.extend(by_flow.into_values());
        let count = flows.iter().map(Vec::len).sum::<usize>().min(most);
        let share = (sample / flows.len().max(1)).max(1);
        let first = flows.iter().flat_map(|ids| ids.iter().take(share));
        Runnable {
            count: u64::try_from(count).unwrap_or(u64::MAX),
            first: first.copied().collect(),
        }
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
        let may = record.header.state() == StateCode::Ready
            && record.last_offer == seen
            && !contents.held.has(id)
            && contents.travels(id, record.header.chain);
        may.then(|| contents.offer(id, now.saturating_add(delay), now))
    }
}

/// The least flow of a queue.
const fn start_of([a, b, c]: [u8; QUEUE_BYTES]) -> [u8; FLOW_BYTES] {
    [a, b, c, 0, 0, 0]
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

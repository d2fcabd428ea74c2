//! The store as a plain value, and its verbs as plain functions.
//!
//! Time comes in as `now`; nothing awaits, locks or draws a random number, so
//! equal calls on equal states give equal answers. The model check relies on
//! this: it runs this code, not a copy.
//!
//! A verb touches one partition only, as it does on servers, except for a
//! transaction and for listings:
//!
//! ```text
//! State ── partition ─┬─ records    id → header, body, report, history, outputs, sequence, last offer
//!                     ├─ by_state   the ids in each state, for listings
//!                     ├─ indexes    (key, shelf, id): the operations that have a value
//!                     ├─ chains     key → its operations that are not Completed, in order,
//!                     │             and those that hold it
//!                     ├─ locks      id → owner, fence, beat
//!                     ├─ due        (time, id)
//!                     ├─ ends       class → (stamp, id): the ends, in that order
//!                     ├─ notices    (time, id): ends that a receiver outside is notified of
//!                     ├─ reserved   idempotency key → id, content
//!                     ├─ removed    the ids that a key may still stand for, and their last commits
//!                     ├─ paused     scope → its end: a copy of the pauses
//!                     ├─ held       (scope, id): held by a pause, not in the outbox
//!                     ├─ usage      organization → what its operations take
//!                     ├─ outbox     id → stamp: ought to be in the broker
//!                     └─ offered    (flow, id): the broker has confirmed the last offer
//! ```
//!
//! The state knows effects and no transitions: those are the caller's.

mod actions;
mod audit;
mod chains;
mod check;
mod commit;
mod create;
mod data;
mod due;
mod ends;
mod expiring;
mod imports;
mod indexes;
pub(crate) mod kept;
mod listing;
mod locks;
mod markers;
mod notices;
mod outbox;
mod pauses;
mod queues;
mod record;
mod reservations;
pub(crate) mod restored;
pub(crate) mod rows;
#[cfg(test)]
mod settled;
mod sorted;
mod touched;
mod transact;
mod usage;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;

use drumline_backend::store::{Counts, IdempotencyKey, Recorded, Reserved, Stamp, Summary};
use drumline_protocol::{
    ChainKey, CommitId, FlowKey, Header, Operation, OperationId, Output, Outputs, Partition,
    PartitionCount, Timestamp,
};

use self::actions::Actions;
use self::audit::AuditStream;
use self::chains::Chains;
use self::data::Written;
use self::due::Due;
use self::ends::Ends;
use self::expiring::Expiring;
use self::imports::Imports;
use self::indexes::Indexes;
use self::kept::Shared;
use self::locks::Locks;
use self::markers::Markers;
use self::notices::Notices;
use self::outbox::Outbox;
use self::pauses::{Held as HeldSet, KeptPauses, PausedScopes};
use self::queues::UsedQueues;
use self::record::Record;
use self::sorted::{Sorted, SortedMap};
use self::touched::{Parts, Touched, TouchedElsewhere};
use self::usage::UsageCounts;

pub(crate) use self::data::DataSource;
pub use self::locks::Held;

/// The whole content of the embedded store.
#[derive(Clone, Debug)]
pub struct State {
    count: PartitionCount,
    /// The partitions that have been written to; the others are empty.
    partitions: BTreeMap<Partition, Contents>,
    markers: Markers,
    audit: AuditStream,
    pauses: KeptPauses,
    actions: Actions,
    queues: UsedQueues,
    imports: Imports,
    /// The lower bound of every partition's next number: how far the order of
    /// the ends was read.
    floor: u64,
    /// The number up to which numbers may be given out without a note of it on the disk.
    promised: u64,
    /// The greatest minor version of the format that was noted.
    minor: u16,
    touched: TouchedElsewhere,
    written: Written,
}

/// The content of one partition.
#[derive(Clone, Debug, Default)]
struct Contents {
    /// The last stamp, fence or sequence number that was given out.
    tick: u64,
    /// Records are shared between copies: a model check makes millions of them.
    records: SortedMap<OperationId, Arc<Record>>,
    by_state: [Sorted<OperationId>; 4],
    indexes: Indexes,
    chains: Chains,
    locks: Locks,
    due: Due,
    ends: Ends,
    notices: Notices,
    outbox: Outbox,
    offered: Sorted<(FlowKey, OperationId)>,
    usage: UsageCounts,
    paused: PausedScopes,
    held: HeldSet,
    reservations: Expiring<IdempotencyKey, Reserved>,
    /// The operations that were removed lately, or that a key may still stand for, with
    /// the commits that removed them.
    removed: Expiring<OperationId, CommitId>,
    touched: Touched,
    shared: Shared,
}

impl State {
    /// An empty store.
    #[must_use]
    pub fn new(count: PartitionCount) -> Self {
        Self {
            count,
            partitions: BTreeMap::new(),
            markers: Markers::default(),
            audit: AuditStream::default(),
            pauses: KeptPauses::default(),
            actions: Actions::default(),
            queues: UsedQueues::default(),
            imports: Imports::default(),
            floor: 0,
            promised: 0,
            minor: 0,
            touched: TouchedElsewhere::default(),
            written: Written::default(),
        }
    }

    /// The number of partitions.
    #[must_use]
    pub const fn partitions(&self) -> PartitionCount {
        self.count
    }

    /// An operation, if it is there. Its data, unless they are few, are apart from all
    /// that verbs return, and are put in by the store.
    #[must_use]
    pub fn get(&self, id: OperationId) -> Option<Operation> {
        self.record(id).map(|record| record.operation(id))
    }

    /// An operation without its data and its report, if it is there.
    #[must_use]
    pub fn summary(&self, id: OperationId) -> Option<Summary> {
        self.record(id).map(|record| record.summary(id))
    }

    /// The header of an operation.
    #[must_use]
    pub fn header(&self, id: OperationId) -> Option<Header> {
        self.record(id).map(Record::header)
    }

    /// The header of an operation and the stored entries of its history.
    #[must_use]
    pub fn history(&self, id: OperationId) -> Option<Recorded> {
        self.record(id).map(|record| Recorded {
            header: record.header(),
            entries: record.entries().to_vec(),
        })
    }

    /// The outputs of the attempts of an operation.
    #[must_use]
    pub fn outputs(&self, id: OperationId) -> Vec<Output> {
        let outputs: Option<Outputs> = self.record(id).and_then(|record| record.outputs().cloned());
        outputs.unwrap_or_default().read()
    }

    /// A fresh stamp.
    pub fn stamp(&mut self, partition: Partition, now: Timestamp) -> Stamp {
        let stamp = self.contents_mut(partition).tick(now);
        self.promise(stamp);
        Stamp(stamp)
    }

    /// Counts the operations in each state.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for contents in self.partitions.values() {
            let [ready, suspended, locked, completed] = &contents.by_state;
            counts.ready += ready.len() as u64;
            counts.suspended += suspended.len() as u64;
            counts.locked += locked.len() as u64;
            counts.completed += completed.len() as u64;
            counts.undispatched += contents.outbox.len() as u64;
        }
        counts
    }

    /// Notes a minor version of the format; returns the greatest that was noted.
    pub fn note_minor(&mut self, minor: u16) -> u16 {
        if minor > self.minor {
            self.minor = minor;
            self.touched.numbers();
        }
        self.minor
    }

    fn contents(&self, partition: Partition) -> Option<&Contents> {
        self.partitions.get(&partition)
    }

    fn contents_mut(&mut self, partition: Partition) -> &mut Contents {
        self.touched.visit(partition);
        self.partitions
            .entry(partition)
            .or_insert_with(|| Contents {
                tick: self.floor,
                touched: Touched::new(self.touched.is_on),
                ..Contents::default()
            })
    }

    fn record(&self, id: OperationId) -> Option<&Record> {
        Some(self.contents(id.partition())?.records.get(&id)?.as_ref())
    }
}

impl Contents {
    /// The next number of the partition: the time in microseconds where that
    /// has moved on, else the last + 1, so that it grows even when the clock
    /// does not, and goes on growing after a loss of the last writes.
    fn tick(&mut self, now: Timestamp) -> u64 {
        let now_us = u64::try_from(now.as_millis())
            .unwrap_or(0)
            .saturating_mul(1_000);
        self.tick = self.tick.saturating_add(1).max(now_us);
        self.tick
    }

    /// Returns true if an operation may be in the broker at all: only heads
    /// travel, and operations without a chain.
    fn travels(&self, id: OperationId, chain: Option<ChainKey>) -> bool {
        chain.is_none_or(|key| self.chains.head(key) == Some(id))
    }

    /// Takes an operation out of the outbox, the offered set and the held set.
    fn withdraw(&mut self, id: OperationId) {
        if self.held.remove(id) {
            self.touched.operation(id, Parts::STATE);
        }
        self.outbox.remove(id);
        if let Some(record) = self.records.get(&id) {
            self.offered.remove(&(record.flow, id));
        }
    }

    /// Puts an operation into the outbox, as a new entry whose age counts
    /// from `since`.
    fn offer(&mut self, id: OperationId, since: Timestamp, now: Timestamp) -> Stamp {
        let stamp = Stamp(self.tick(now));
        self.withdraw(id);
        if let Some(record) = self.records.get_mut(&id) {
            self.outbox.add(id, record.flow, stamp, since);
            Arc::make_mut(record).last_offer = stamp;
        }
        stamp
    }
}

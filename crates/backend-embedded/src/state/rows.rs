//! The state as rows: keys and values in bytes, as they are on a disk.
//!
//! ```text
//! kind │ key                    │ value
//! ─────┼────────────────────────┼─────────────────────────────────────────────────────
//!  0   │                        │ the numbers that stand for themselves
//!  1   │ operation              │ header, history, lock, due time, end, … of it
//!  2   │ operation              │ its body: written once
//!  3   │ operation              │ its report, if it has one
//!  4   │ operation              │ the outputs of its attempts, if it has some
//!  5   │ partition, key         │ what an idempotency key stands for, and its end
//!  6   │ operation              │ the commit that removed it, and the end of that note
//!  7   │ scope                  │ a pause
//!  8   │ action                 │ an action on many operations
//!  9   │ organization, queue    │ the last use of a queue
//! 10   │ time, number           │ an audit entry
//! 11   │ resolution, slot, name │ counts (`crate::rollups`)
//! 12   │ organization, name     │ a failure group (`crate::rollups`)
//! 13   │ export                 │ the mark of its import
//! 14   │ hour, organization, name │ the failures of a group in an hour (`crate::rollups`)
//! 15   │ organization, name     │ the mute of a failure group (`crate::rollups`)
//! ```
//!
//! Values that have a wire format are in it, so that a release reads what the one
//! before has written. What follows from the rows is not in them: indexes, usage, the
//! copies of the pauses. Nor is what a broker in memory takes with it: outbox, offers
//! and markers; nor the beats of locks, which no process watches across a restart.
//!
//! [`State::take_rows`] gives the rows of what is marked, and
//! [`State::restore`](super::State::restore) makes a state of all rows.

use std::sync::Arc;

use drumline_backend::store::{AuditPlace, IdempotencyKey, QueueUse};
use drumline_protocol::codec::{self, Format};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{ActionId, OperationId, Partition, ScopeKey, Timestamp};

use super::data::{TakenBody, WrittenBody};
use super::touched::{Parts, Touched};
use super::{Contents, State};

/// A row: its key, and its value, or none if it is gone.
pub(crate) type Row = (Vec<u8>, Option<Vec<u8>>);

/// The rows of what was marked, at a moment.
#[derive(Default)]
pub(crate) struct TakenRows {
    pub(super) rows: Vec<Row>,
    /// The bodies whose rows are not made yet.
    pub(super) bodies: Vec<TakenBody>,
}

impl TakenRows {
    /// Adds rows of what is not in the state.
    pub(crate) fn extend(&mut self, rows: Vec<Row>) {
        self.rows.extend(rows);
    }

    /// The bytes of the rows, about.
    pub(crate) fn bytes(&self) -> u64 {
        let rows = self.rows.iter();
        let rows = rows.map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
        let bodies = self.bodies.iter().map(TakenBody::bytes);
        rows.chain(bodies).sum::<usize>() as u64
    }

    /// Makes the rows that are not made yet: nothing needs to be locked. Returns the notes
    /// of their bodies, too, for [`State::note_written`].
    pub(crate) fn encode(self) -> (Vec<Row>, Vec<WrittenBody>) {
        let mut rows = self.rows;
        let mut written = Vec::with_capacity(self.bodies.len());
        for body in self.bodies {
            let (row, note) = body.encode();
            rows.push(row);
            written.push(note);
        }
        (rows, written)
    }
}

pub(crate) const NUMBERS: u8 = 0;
pub(crate) const STATE: u8 = 1;
pub(crate) const BODY: u8 = 2;
pub(crate) const REPORT: u8 = 3;
pub(crate) const OUTPUTS: u8 = 4;
pub(crate) const RESERVED: u8 = 5;
pub(crate) const REMOVED: u8 = 6;
pub(crate) const PAUSE: u8 = 7;
pub(crate) const ACTION: u8 = 8;
pub(crate) const QUEUE: u8 = 9;
pub(crate) const AUDIT: u8 = 10;
pub(crate) const ROLLUP: u8 = 11;
pub(crate) const FAILURES: u8 = 12;
pub(crate) const IMPORT: u8 = 13;
pub(crate) const FAILURE_HOUR: u8 = 14;
pub(crate) const MUTE: u8 = 15;

/// The version of the values that have no wire format.
pub(crate) const VERSION: u8 = 1;

/// The flags of the state of an operation.
pub(super) const IN_CHAIN: u8 = 1;
pub(super) const DUE: u8 = 2;
pub(super) const ENDED: u8 = 4;
pub(super) const NOTICE: u8 = 8;
pub(super) const HELD: u8 = 16;
pub(super) const LOCKED: u8 = 32;
pub(super) const ASKED_TO_STOP: u8 = 64;

/// The stretch of numbers that one note on the disk covers: a second's worth, since
/// a number is at least the time in microseconds. Without a stretch every number that
/// a reader sees would cost a write. After a restart numbers go on behind the stretch:
/// each restart within a second puts them ahead of the clock by one more.
const PROMISED: u64 = 1_000_000;

/// The bytes of a value, written one part after the other.
#[derive(Debug, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    /// A value that begins with the version.
    pub(crate) fn versioned() -> Self {
        Self(vec![VERSION])
    }

    pub(crate) fn u8(&mut self, number: u8) {
        self.0.push(number);
    }

    pub(crate) fn u64(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    pub(crate) fn time(&mut self, time: Timestamp) {
        self.0.extend(time.as_millis().to_be_bytes());
    }

    /// Bytes with their length.
    pub(crate) fn part(&mut self, bytes: &[u8]) {
        self.u64(number(bytes.len()));
        self.0.extend(bytes);
    }

    /// A value in its wire format, with its length.
    pub(crate) fn value(&mut self, value: &impl Format) -> Result<(), codec::Error> {
        self.part(&codec::encode(value)?);
        Ok(())
    }

    fn optional(&mut self, value: Option<&impl Format>) -> Result<(), codec::Error> {
        self.u8(u8::from(value.is_some()));
        value.map_or(Ok(()), |value| self.value(value))
    }
}

fn number(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// The key of a part of an operation.
pub(crate) fn key_of(kind: u8, id: OperationId) -> Vec<u8> {
    [&[kind], id.as_bytes().as_slice()].concat()
}

/// The number of a class of ends.
pub(super) const fn class_number(class: EndClass) -> u8 {
    match class {
        EndClass::Succeeded => 0,
        EndClass::Unsuccessful => 1,
        EndClass::Transient => 2,
    }
}

impl State {
    /// The rows of everything that is marked, and no marks any more.
    ///
    /// # Errors
    /// When a value cannot be encoded: it is over every limit.
    pub(crate) fn take_rows(&mut self) -> Result<TakenRows, codec::Error> {
        let mut taken = TakenRows::default();
        for partition in std::mem::take(&mut self.touched.visited) {
            if let Some(contents) = self.partitions.get_mut(&partition) {
                contents.take_rows(partition, &mut taken)?;
            }
        }
        let rows = &mut taken.rows;
        for key in std::mem::take(&mut self.touched.pauses) {
            rows.push(self.pause_row(key)?);
        }
        for id in std::mem::take(&mut self.touched.actions) {
            rows.push(self.action_row(id)?);
        }
        for used in std::mem::take(&mut self.touched.queues) {
            rows.push(self.queue_row(&used));
        }
        for place in std::mem::take(&mut self.touched.audit) {
            rows.push(self.audit_row(place));
        }
        for id in std::mem::take(&mut self.touched.imports) {
            rows.push(self.import_row(&id));
        }
        let ticks = self.partitions.values().map(|contents| contents.tick);
        let highest = ticks.max().unwrap_or(0).max(self.floor);
        if highest > self.promised {
            self.promised = highest.saturating_add(PROMISED);
            self.touched.numbers = true;
        }
        if std::mem::take(&mut self.touched.numbers) {
            rows.push((vec![NUMBERS], Some(self.numbers())));
        }
        Ok(taken)
    }

    /// Notes that a reader sees a number that was given out.
    pub(super) fn promise(&mut self, given: u64) {
        if given > self.promised {
            self.touched.numbers();
        }
    }

    fn numbers(&self) -> Vec<u8> {
        let mut bytes = Bytes::versioned();
        bytes.u64(self.promised);
        bytes.u64(self.pauses.version);
        bytes.u64(u64::from(self.minor));
        let limit = self.queues.limit;
        bytes.u8(u8::from(limit.is_some()));
        bytes.u64(number(limit.unwrap_or(0)));
        bytes.0
    }

    fn pause_row(&self, key: ScopeKey) -> Result<Row, codec::Error> {
        let pause = self
            .pauses
            .by_key
            .get(&key)
            .map(codec::encode)
            .transpose()?;
        Ok(([&[PAUSE], key.as_bytes().as_slice()].concat(), pause))
    }

    fn action_row(&self, id: ActionId) -> Result<Row, codec::Error> {
        let action = self.actions.0.get(&id).map(codec::encode).transpose()?;
        Ok(([&[ACTION], id.as_bytes().as_slice()].concat(), action))
    }

    fn queue_row(&self, used: &QueueUse) -> Row {
        let organization = used.organization.as_bytes().as_slice();
        let key = [&[QUEUE], organization, used.queue.as_str().as_bytes()].concat();
        let value = self.queues.used_on(used).map(|on| {
            let mut bytes = Bytes::versioned();
            bytes.time(on);
            bytes.0
        });
        (key, value)
    }

    fn audit_row(&self, place: AuditPlace) -> Row {
        let mut key = Bytes(vec![AUDIT]);
        key.u64(place.ms);
        key.u64(place.number);
        let entries = &self.audit.entries;
        let at = entries.binary_search_by_key(&place, |entry| entry.place);
        let entry = at.ok().and_then(|at| entries.get(at));
        (key.0, entry.map(|entry| entry.text.clone().into_bytes()))
    }

    fn import_row(&self, id: &str) -> Row {
        let value = self.imports.0.get(id).map(|import| {
            let mut bytes = Bytes::versioned();
            bytes.u8(u8::from(import.is_done));
            bytes.part(import.since.as_bytes());
            bytes.0
        });
        ([&[IMPORT], id.as_bytes()].concat(), value)
    }
}

impl Contents {
    fn take_rows(
        &mut self,
        partition: Partition,
        taken: &mut TakenRows,
    ) -> Result<(), codec::Error> {
        let Touched {
            is_on,
            operations,
            keys,
            removed,
        } = std::mem::take(&mut self.touched);
        self.touched.is_on = is_on;
        for (id, parts) in operations {
            self.operation_rows(id, parts, taken)?;
        }
        for key in keys {
            taken.rows.push(self.reservation_row(partition, key));
        }
        for id in removed {
            let value = self.removed.entry(id).map(|(commit, until)| {
                let mut bytes = Bytes::versioned();
                bytes.u64(commit.0);
                bytes.time(until);
                bytes.0
            });
            taken.rows.push((key_of(REMOVED, id), value));
        }
        Ok(())
    }

    fn operation_rows(
        &self,
        id: OperationId,
        parts: Parts,
        taken: &mut TakenRows,
    ) -> Result<(), codec::Error> {
        let record = self.records.get(&id);
        let state = (key_of(STATE, id), self.operation_state(id)?);
        taken.rows.push(state);
        if parts.body {
            taken.take_body(id, record.map(Arc::as_ref));
        }
        if parts.report {
            let report = record.and_then(|record| record.encoded_report());
            let report = report.map(|report| report.bytes().to_vec());
            taken.rows.push((key_of(REPORT, id), report));
        }
        if parts.outputs {
            let outputs = (key_of(OUTPUTS, id), self.outputs_value(id)?);
            taken.rows.push(outputs);
        }
        Ok(())
    }

    /// All that the partition has of an operation, beside the parts of their own.
    fn operation_state(&self, id: OperationId) -> Result<Option<Vec<u8>>, codec::Error> {
        let Some(record) = self.records.get(&id) else {
            return Ok(None);
        };
        let mut bytes = Bytes::versioned();
        bytes.u64(record.sequence);
        bytes.u64(record.created_by.0);
        let flags_at = bytes.0.len();
        bytes.u8(0);
        let mut flags = 0;
        let chain = record.header.chain;
        if chain.is_some_and(|key| self.chains.has(key, record.sequence, id)) {
            flags |= IN_CHAIN;
        }
        if let Some(until) = self.due.of(id) {
            flags |= DUE;
            bytes.time(until);
        }
        if let Some((class, stamp)) = self.ends.of(id) {
            flags |= ENDED;
            bytes.u8(class_number(class));
            bytes.u64(stamp.0);
        }
        if let Some((next, attempt)) = self.notices.of(id) {
            flags |= NOTICE;
            bytes.time(next);
            bytes.u64(u64::from(attempt));
        }
        if let Some(scope) = self.held.of(id) {
            flags |= HELD;
            bytes.0.extend(scope.as_bytes());
        }
        if let Some(held) = self.locks.get(id) {
            flags |= LOCKED;
            if held.asked_to_stop {
                flags |= ASKED_TO_STOP;
            }
            bytes.0.extend(held.owner.0.as_bytes());
            bytes.u64(held.fence.0);
            bytes.u64(u64::try_from(held.lease.as_millis()).unwrap_or(u64::MAX));
        }
        if let Some(place) = bytes.0.get_mut(flags_at) {
            *place = flags;
        }
        bytes.value(&record.header())?;
        bytes.u64(number(record.entries().len()));
        for entry in record.entries() {
            bytes.value(entry)?;
        }
        Ok(Some(bytes.0))
    }

    fn outputs_value(&self, id: OperationId) -> Result<Option<Vec<u8>>, codec::Error> {
        let record = self.records.get(&id);
        let Some(outputs) = record.and_then(|record| record.outputs()) else {
            return Ok(None);
        };
        let (front, ends, aside) = outputs.parts();
        let mut bytes = Bytes::versioned();
        bytes.optional(front)?;
        bytes.optional(aside)?;
        for end in ends {
            bytes.value(end)?;
        }
        Ok(Some(bytes.0))
    }

    fn reservation_row(&self, partition: Partition, key: IdempotencyKey) -> Row {
        let number = partition.get().to_be_bytes();
        let name = [&[RESERVED], number.as_slice(), key.0.as_slice()].concat();
        let value = self.reservations.entry(key).map(|(reserved, until)| {
            let mut bytes = Bytes::versioned();
            bytes.0.extend(reserved.id.as_bytes());
            bytes.0.extend(reserved.content);
            bytes.time(until);
            bytes.0
        });
        (name, value)
    }
}

//! A state made of its rows, and the offers that begin its new life.
//!
//! The rows of one operation lie in up to four stretches of keys, each in the order of
//! the ids, so that they are read side by side. All else follows from them: indexes,
//! usage, the order of the chains and of the ends.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::num::NonZeroUsize;
use std::str::Utf8Error;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use drumline_backend::MemberId;
use drumline_backend::store::{
    AuditEntry, AuditPlace, IdempotencyKey, Import, QueueUse, Reserved, Stamp,
};
use drumline_protocol::codec::{self, Format};
use drumline_protocol::history::Entry;
use drumline_protocol::transition::EndClass;
use drumline_protocol::{
    ActionId, Body, BulkAction, CommitId, Fence, Header, OperationId, Output, Outputs, Partition,
    PartitionCount, Pause, QueueName, Report, ScopeKey, State as StateCode, Timestamp,
};
use uuid::Uuid;

use super::data::KeptBody;
use super::kept::{KeptHeader, Places};
use super::locks::Held;
use super::record::Record;
use super::rows::{
    ACTION, ASKED_TO_STOP, AUDIT, BODY, DUE, ENDED, HELD, IMPORT, IN_CHAIN, LOCKED, NOTICE,
    NUMBERS, OUTPUTS, PAUSE, QUEUE, REMOVED, REPORT, RESERVED, STATE, VERSION, class_number,
};
use super::{Contents, State};
use crate::durable::{Error, Found, Rows};

/// The word for a row in errors.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name<'a> {
    Word(&'a str),
    /// That of an operation, which is not made into text before there is an error.
    Operation(OperationId),
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => word.fmt(f),
            Self::Operation(id) => id.fmt(f),
        }
    }
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(word: &'a str) -> Self {
        Self::Word(word)
    }
}

impl From<OperationId> for Name<'_> {
    fn from(id: OperationId) -> Self {
        Self::Operation(id)
    }
}

/// A value that is read, one part after the other.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    row: Name<'a>,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of a value that begins with the version.
    pub(crate) fn versioned(row: impl Into<Name<'a>>, value: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Self::new(row, value);
        match reader.u8()? {
            VERSION => Ok(reader),
            found => Err(Error::undecodable(
                &reader.row.to_string(),
                codec::Error::Version {
                    what: "a row",
                    found,
                    expected: VERSION,
                },
            )),
        }
    }

    pub(crate) fn new(row: impl Into<Name<'a>>, value: &'a [u8]) -> Self {
        Self {
            row: row.into(),
            rest: value,
        }
    }

    fn damaged(&self, reason: &str) -> Error {
        Error::damaged(&self.row.to_string(), reason)
    }

    fn short(&self) -> Error {
        self.damaged("too short")
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else {
            return Err(self.short());
        };
        self.rest = rest;
        Ok(*bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, Error> {
        let ms = self.array().map(i64::from_be_bytes)?;
        Ok(Timestamp::from_millis(ms))
    }

    pub(crate) fn part(&mut self) -> Result<&'a [u8], Error> {
        let length = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
        let Some((part, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.short());
        };
        self.rest = rest;
        Ok(part)
    }

    pub(crate) fn text(&mut self) -> Result<String, Error> {
        let bytes = self.part()?;
        text(self.row, bytes)
    }

    pub(crate) fn operation(&mut self) -> Result<OperationId, Error> {
        let id = OperationId::from_bytes(self.array()?);
        id.ok_or_else(|| self.damaged("no id of an operation"))
    }

    fn scope(&mut self) -> Result<ScopeKey, Error> {
        self.array().map(ScopeKey::from_bytes)
    }

    fn value<T: Format>(&mut self) -> Result<T, Error> {
        let bytes = self.part()?;
        value(self.row, bytes)
    }

    fn optional<T: Format>(&mut self) -> Result<Option<T>, Error> {
        match self.u8()? {
            0 => Ok(None),
            _ => self.value().map(Some),
        }
    }

    pub(crate) const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

fn value<'a, T: Format>(row: impl Into<Name<'a>>, bytes: &[u8]) -> Result<T, Error> {
    codec::decode(bytes).map_err(|error| Error::undecodable(&row.into().to_string(), error))
}

fn text<'a>(row: impl Into<Name<'a>>, bytes: &[u8]) -> Result<String, Error> {
    let text = std::str::from_utf8(bytes);
    let damaged = |error: Utf8Error| Error::damaged(&row.into().to_string(), error.to_string());
    let text = text.map_err(damaged)?;
    Ok(text.to_owned())
}

/// The rows of one kind, in the order of their keys.
struct Stretch<'a>(Peekable<Found<'a>>);

impl<'a> Stretch<'a> {
    fn new(rows: &'a dyn Rows, kind: u8) -> Result<Self, Error> {
        Ok(Self(rows.of_kind(kind)?.peekable()))
    }

    /// The value of an operation, if the next row is of it.
    fn of(&mut self, id: OperationId) -> Result<Option<Vec<u8>>, Error> {
        let is_of = |row: &Result<(Vec<u8>, Vec<u8>), Error>| {
            row.as_ref()
                .map_or(true, |(key, _)| key.get(1..) == Some(id.as_bytes()))
        };
        let row = self.0.next_if(is_of).transpose()?;
        Ok(row.map(|(_, value)| value))
    }

    /// Makes sure that no row was left: it would be of an operation without a state.
    fn end(mut self) -> Result<(), Error> {
        match self.0.next().transpose()? {
            None => Ok(()),
            Some((key, _)) => Err(Error::damaged(
                &format!("{key:02x?}"),
                "a part of an operation that is not there",
            )),
        }
    }
}

impl State {
    /// Makes a state of its rows. Its outbox is empty; see [`Self::offer_all`].
    ///
    /// # Errors
    /// When a row cannot be read.
    pub(crate) fn restore(count: PartitionCount, rows: &dyn Rows) -> Result<Self, Error> {
        let mut state = Self::new(count);
        state.restore_numbers(rows)?;
        state.restore_operations(rows)?;
        state.restore_keys(rows)?;
        state.restore_elsewhere(rows)?;
        let pauses = state.pauses();
        if pauses.version > 0 {
            for partition in count.all() {
                state.copy_pauses(&pauses, partition);
            }
        }
        Ok(state)
    }

    fn restore_numbers(&mut self, rows: &dyn Rows) -> Result<(), Error> {
        for row in rows.of_kind(NUMBERS)? {
            let (_, value) = row?;
            let mut value = Reader::versioned("the numbers", &value)?;
            self.promised = value.u64()?;
            // No number is given out twice, whatever the clock shows now.
            self.floor = self.promised;
            self.pauses.version = value.u64()?;
            self.minor = u16::try_from(value.u64()?).unwrap_or(u16::MAX);
            let has_limit = value.u8()? != 0;
            let limit = usize::try_from(value.u64()?).unwrap_or(usize::MAX);
            self.queues.limit = has_limit.then_some(limit);
        }
        Ok(())
    }

    fn restore_operations(&mut self, rows: &dyn Rows) -> Result<(), Error> {
        let mut bodies = Stretch::new(rows, BODY)?;
        let mut reports = Stretch::new(rows, REPORT)?;
        let mut outputs = Stretch::new(rows, OUTPUTS)?;
        let floor = self.floor;
        let parts = thread::scope(|scope| -> Result<_, Error> {
            let decoders: Vec<Decoder<'_>> = (0..threads())
                .map(|_| {
                    let (send, rows) = sync_channel(UNDER_WAY);
                    let thread = scope.spawn(move || decode(floor, &rows));
                    Decoder { send, thread }
                })
                .collect();
            let mut hand_over = HandOver {
                decoders,
                batches: Vec::new(),
                bytes: Vec::new(),
            };
            for row in rows.of_kind(STATE)? {
                let (key, state) = row?;
                let key = key.get(1..).unwrap_or_default();
                let id = Reader::new("an operation", key).operation()?;
                let Some(body) = bodies.of(id)? else {
                    return Err(Error::damaged(&id.to_string(), "no body"));
                };
                hand_over.give(OperationRows {
                    id,
                    state,
                    body,
                    report: reports.of(id)?,
                    outputs: outputs.of(id)?,
                })?;
            }
            hand_over.end()
        });
        self.partitions.append(&mut parts?);
        bodies.end()?;
        reports.end()?;
        outputs.end()
    }

    fn restore_keys(&mut self, rows: &dyn Rows) -> Result<(), Error> {
        for row in rows.of_kind(RESERVED)? {
            let (key, value) = row?;
            let what = "an idempotency key";
            let mut key = Reader::new(what, key.get(1..).unwrap_or_default());
            let partition = Partition::new(key.array().map(u16::from_be_bytes)?);
            let key = IdempotencyKey(key.array()?);
            let mut value = Reader::versioned(what, &value)?;
            let reserved = Reserved {
                id: value.operation()?,
                content: value.array()?,
            };
            let until = value.time()?;
            let contents = self.contents_mut(partition);
            contents.reservations.put(key, reserved, until);
        }
        for row in rows.of_kind(REMOVED)? {
            let (key, value) = row?;
            let what = "a removed operation";
            let id = Reader::new(what, key.get(1..).unwrap_or_default()).operation()?;
            let mut value = Reader::versioned(what, &value)?;
            let (commit, until) = (CommitId(value.u64()?), value.time()?);
            let contents = self.contents_mut(id.partition());
            contents.removed.put(id, commit, until);
        }
        Ok(())
    }

    fn restore_elsewhere(&mut self, rows: &dyn Rows) -> Result<(), Error> {
        for row in rows.of_kind(PAUSE)? {
            let (_, value) = row?;
            let pause: Pause = self::value("a pause", &value)?;
            self.pauses.by_key.insert(pause.scope.key(), pause);
        }
        for row in rows.of_kind(ACTION)? {
            let (key, value) = row?;
            let id = Reader::new("an action", key.get(1..).unwrap_or_default()).operation()?;
            let action: BulkAction = self::value("an action", &value)?;
            self.actions.0.insert(ActionId::new(id), action);
        }
        for row in rows.of_kind(QUEUE)? {
            let (key, value) = row?;
            let what = "a queue";
            let mut key = Reader::new(what, key.get(1..).unwrap_or_default());
            let organization = key.scope()?;
            let queue = QueueName::try_from(text(what, key.rest)?);
            let queue = queue.map_err(|error| Error::damaged(what, error.to_string()))?;
            let used = QueueUse {
                organization,
                queue,
            };
            let on = Reader::versioned(what, &value)?.time()?;
            self.queues.note(&used, on);
        }
        for row in rows.of_kind(AUDIT)? {
            let (key, value) = row?;
            let what = "an audit entry";
            let mut key = Reader::new(what, key.get(1..).unwrap_or_default());
            let place = AuditPlace {
                ms: key.u64()?,
                number: key.u64()?,
            };
            let text = text(what, &value)?;
            self.audit.entries.push_back(AuditEntry { place, text });
        }
        for row in rows.of_kind(IMPORT)? {
            let (key, value) = row?;
            let what = "an import";
            let mut value = Reader::versioned(what, &value)?;
            let import = Import {
                id: text(what, key.get(1..).unwrap_or_default())?,
                is_done: value.u8()? != 0,
                since: value.text()?,
            };
            self.imports.0.insert(import.id.clone(), import);
        }
        Ok(())
    }

    /// Offers every operation that may run: the broker of the life before is gone, with
    /// all that was in it. Operations without a token go in the order of their creation.
    pub(crate) fn offer_all(&mut self, now: Timestamp) {
        let mut partitions: Vec<&mut Contents> = self.partitions.values_mut().collect();
        let share = partitions.len().div_ceil(threads()).max(1);
        thread::scope(|scope| {
            for some in partitions.chunks_mut(share) {
                scope.spawn(move || some.iter_mut().for_each(|contents| contents.offer_all(now)));
            }
        });
    }
}

/// The threads that partitions are shared among at start.
fn threads() -> usize {
    let cores = thread::available_parallelism();
    cores.map_or(1, NonZeroUsize::get).min(MOST_THREADS)
}

/// The rows of an operation.
struct OperationRows {
    id: OperationId,
    state: Vec<u8>,
    body: Vec<u8>,
    report: Option<Vec<u8>>,
    outputs: Option<Vec<u8>>,
}

impl OperationRows {
    fn bytes(&self) -> usize {
        let parts = [&self.report, &self.outputs].into_iter().flatten();
        let parts: usize = parts.map(Vec::len).sum();
        self.state.len() + self.body.len() + parts
    }
}

/// The most threads that partitions are shared among. One reads the rows, and keeps no more
/// of them busy.
const MOST_THREADS: usize = 4;
/// The bytes of rows that are handed over at once, or a little more.
const BATCH: usize = 64 << 10;
/// The batches that wait for a thread.
const UNDER_WAY: usize = 16;

/// A thread that decodes the rows of its partitions.
struct Decoder<'scope> {
    send: SyncSender<Vec<OperationRows>>,
    thread: ScopedJoinHandle<'scope, Result<BTreeMap<Partition, Contents>, Error>>,
}

/// The threads that decode, and what the next batch of each has. Operations of a partition
/// go to the same thread, in their order.
struct HandOver<'scope> {
    decoders: Vec<Decoder<'scope>>,
    batches: Vec<Vec<OperationRows>>,
    /// The bytes of each next batch.
    bytes: Vec<usize>,
}

impl HandOver<'_> {
    fn give(&mut self, rows: OperationRows) -> Result<(), Error> {
        let decoder = usize::from(rows.id.partition().get()) % self.decoders.len();
        self.batches.resize_with(self.decoders.len(), Vec::new);
        self.bytes.resize(self.decoders.len(), 0);
        let Some(batch) = self.batches.get_mut(decoder) else {
            return Ok(());
        };
        let Some(bytes) = self.bytes.get_mut(decoder) else {
            return Ok(());
        };
        *bytes += rows.bytes();
        batch.push(rows);
        if *bytes < BATCH {
            return Ok(());
        }
        *bytes = 0;
        let batch = std::mem::take(batch);
        match self.decoders.get(decoder).map(|it| it.send.send(batch)) {
            Some(Err(_)) => self.end_of(decoder),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// The error of a thread that takes no more.
    fn end_of(&mut self, decoder: usize) -> Result<(), Error> {
        join(self.decoders.swap_remove(decoder)).map(drop)
    }

    /// Hands over what is left, and waits for the threads.
    fn end(self) -> Result<BTreeMap<Partition, Contents>, Error> {
        let batches = self
            .batches
            .into_iter()
            .chain(std::iter::repeat_with(Vec::new));
        for (decoder, batch) in self.decoders.iter().zip(batches) {
            // A thread that takes no more has an error, which comes next.
            drop(decoder.send.send(batch));
        }
        let mut all = BTreeMap::new();
        for decoder in self.decoders {
            all.append(&mut join(decoder)?);
        }
        Ok(all)
    }
}

fn join(decoder: Decoder<'_>) -> Result<BTreeMap<Partition, Contents>, Error> {
    let Decoder { send, thread } = decoder;
    drop(send);
    match thread.join() {
        Ok(decoded) => decoded,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Puts operations back, until no more come.
fn decode(
    floor: u64,
    batches: &Receiver<Vec<OperationRows>>,
) -> Result<BTreeMap<Partition, Contents>, Error> {
    let mut partitions = BTreeMap::new();
    for rows in batches.iter().flatten() {
        let contents = partitions
            .entry(rows.id.partition())
            .or_insert_with(|| Contents {
                tick: floor,
                ..Contents::default()
            });
        contents.restore(&rows)?;
    }
    Ok(partitions)
}

impl Contents {
    /// Offers every operation that may run.
    fn offer_all(&mut self, now: Timestamp) {
        let mut heads: Vec<(u64, OperationId)> = Vec::new();
        for id in self.index_of(StateCode::Ready).iter() {
            let record = self.records.get(id);
            let record = record.filter(|record| self.travels(*id, record.header.chain));
            if let Some(record) = record.filter(|_| !self.held.has(*id)) {
                heads.push((record.sequence, *id));
            }
        }
        heads.sort_unstable();
        for (_, id) in heads {
            self.offer(id, now, now);
        }
    }

    /// Puts an operation back.
    fn restore(&mut self, rows: &OperationRows) -> Result<(), Error> {
        let id = rows.id;
        let body: Body = value(id, &rows.body)?;
        let report: Option<Report> = match &rows.report {
            Some(report) => Some(value(id, report)?),
            None => None,
        };
        let outputs = match &rows.outputs {
            Some(outputs) => Some(read_outputs(id, outputs)?),
            None => None,
        };
        let mut value = Reader::versioned(id, &rows.state)?;
        let sequence = value.u64()?;
        let created_by = CommitId(value.u64()?);
        let flags = value.u8()?;
        if flags & DUE != 0 {
            self.due.set(id, value.time()?);
        }
        if flags & ENDED != 0 {
            let number = value.u8()?;
            let mut classes = EndClass::ALL.into_iter();
            let Some(class) = classes.find(|class| class_number(*class) == number) else {
                return Err(value.damaged("no class of ends"));
            };
            self.ends.add(id, class, Stamp(value.u64()?));
        }
        if flags & NOTICE != 0 {
            let next = value.time()?;
            let attempt = u32::try_from(value.u64()?).unwrap_or(u32::MAX);
            self.notices.restore(id, next, attempt);
        }
        if flags & HELD != 0 {
            self.held.add(id, value.scope()?);
        }
        if flags & LOCKED != 0 {
            let owner = MemberId(Uuid::from_bytes(value.array()?));
            let fence = Fence(value.u64()?);
            let lease = Duration::from_millis(value.u64()?);
            self.locks.take(id, Held::new(owner, fence, lease));
            if flags & ASKED_TO_STOP != 0 {
                self.locks.ask_to_stop(id);
            }
        }
        let header: Header = value.value()?;
        let mut entries: Vec<Entry> = Vec::new();
        for _ in 0..value.u64()? {
            entries.push(value.value()?);
        }
        if !value.is_at_end() {
            return Err(value.damaged("too long"));
        }
        let chain = header.rules.chain.filter(|_| flags & IN_CHAIN != 0);
        let begins_chain = chain.is_some_and(|key| {
            let begins = self.chains.head(key).is_none();
            self.chains.enter(key, sequence, id);
            begins
        });
        self.index(header.status.state()).insert(id);
        let Places { flow, usage, keys } = self.shared.places(id, &header, &body);
        self.indexes.enter(id, &keys, header.status);
        let mut record = Record {
            created_by,
            header: KeptHeader::new(header, &mut self.shared),
            flow,
            usage,
            body: KeptBody::in_row(&rows.body, body),
            past: None,
            keys,
            sequence,
            last_offer: Stamp(0),
        };
        if let Some(report) = report {
            record.set_report(&report);
        }
        if !entries.is_empty() {
            record.past_mut().entries = entries;
        }
        if let Some(outputs) = outputs {
            record.past_mut().outputs = Some(Box::new(outputs));
        }
        self.usage.restore(&record, begins_chain);
        self.records.insert(id, Arc::new(record));
        Ok(())
    }
}

fn read_outputs(id: OperationId, bytes: &[u8]) -> Result<Outputs, Error> {
    let mut value = Reader::versioned(id, bytes)?;
    let front = value.optional()?;
    let aside = value.optional()?;
    let mut ends: Vec<Output> = Vec::new();
    while !value.is_at_end() {
        ends.push(value.value()?);
    }
    Ok(Outputs::new(front, ends, aside))
}

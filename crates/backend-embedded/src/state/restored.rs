//! A state made of its rows, and the offers that begin its new life.
//!
//! The rows of one operation lie in up to four stretches of keys, each in the order of
//! the ids, so that they are read side by side. All else follows from them: indexes,
//! usage, the order of the chains and of the ends.

use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::MemberId;
use drumline_backend::store::{
    AuditEntry, AuditPlace, IdempotencyKey, Import, QueueUse, Reserved, Stamp,
};
use drumline_protocol::codec::{self, Format};
use drumline_protocol::history::Entry;
use drumline_protocol::index::index_keys;
use drumline_protocol::transition::EndClass;
use drumline_protocol::{
    ActionId, Body, BulkAction, CommitId, Fence, FlowKey, Header, OperationId, Output, Outputs,
    Partition, PartitionCount, Pause, QueueName, Report, ScopeKey, State as StateCode, Timestamp,
    UsageKey,
};
use uuid::Uuid;

use super::locks::Held;
use super::record::Record;
use super::rows::{
    ACTION, ASKED_TO_STOP, AUDIT, BODY, DUE, ENDED, HELD, IMPORT, IN_CHAIN, LOCKED, NOTICE,
    NUMBERS, OUTPUTS, PAUSE, QUEUE, REMOVED, REPORT, RESERVED, STATE, VERSION, class_number,
};
use super::{Contents, State};
use crate::durable::{Error, Found, Rows};

/// A value that is read, one part after the other.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    /// The word for the row in errors.
    row: &'a str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of a value that begins with the version.
    pub(crate) fn versioned(row: &'a str, value: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Self::new(row, value);
        match reader.u8()? {
            VERSION => Ok(reader),
            found => Err(Error::undecodable(
                row,
                codec::Error::Version {
                    what: "a row",
                    found,
                    expected: VERSION,
                },
            )),
        }
    }

    pub(crate) const fn new(row: &'a str, value: &'a [u8]) -> Self {
        Self { row, rest: value }
    }

    fn short(&self) -> Error {
        Error::damaged(self.row, "too short")
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
        id.ok_or_else(|| Error::damaged(self.row, "no id of an operation"))
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

fn value<T: Format>(row: &str, bytes: &[u8]) -> Result<T, Error> {
    codec::decode(bytes).map_err(|error| Error::undecodable(row, error))
}

fn text(row: &str, bytes: &[u8]) -> Result<String, Error> {
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|error| Error::damaged(row, error.to_string()))?;
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
        for row in rows.of_kind(STATE)? {
            let (key, value) = row?;
            let id = Reader::new("an operation", key.get(1..).unwrap_or_default()).operation()?;
            let name = id.to_string();
            let Some(body) = bodies.of(id)? else {
                return Err(Error::damaged(&name, "no body"));
            };
            let parts = OperationParts {
                body: self::value(&name, &body)?,
                report: match reports.of(id)? {
                    Some(report) => self::value(&name, &report)?,
                    None => Report::default(),
                },
                outputs: match outputs.of(id)? {
                    Some(outputs) => read_outputs(&name, &outputs)?,
                    None => Outputs::default(),
                },
            };
            let value = Reader::versioned(&name, &value)?;
            self.contents_mut(id.partition())
                .restore(id, value, parts)?;
        }
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
        for contents in self.partitions.values_mut() {
            let ready = contents.index(StateCode::Ready).iter().copied();
            let ready: Vec<OperationId> = ready.collect();
            let mut heads: Vec<(u64, OperationId)> = Vec::new();
            for id in ready {
                let Some(record) = contents.records.get(&id) else {
                    continue;
                };
                if contents.travels(id, &record.header) && !contents.held.has(id) {
                    heads.push((record.sequence, id));
                }
            }
            heads.sort_unstable();
            for (_, id) in heads {
                contents.offer(id, now, now);
            }
        }
    }
}

/// The parts of an operation that have rows of their own.
struct OperationParts {
    body: Body,
    report: Report,
    outputs: Outputs,
}

impl Contents {
    /// Puts an operation back.
    fn restore(
        &mut self,
        id: OperationId,
        mut value: Reader<'_>,
        parts: OperationParts,
    ) -> Result<(), Error> {
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
                return Err(Error::damaged(value.row, "no class of ends"));
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
            return Err(Error::damaged(value.row, "too long"));
        }
        let chain = header.rules.chain.filter(|_| flags & IN_CHAIN != 0);
        let begins_chain = chain.is_some_and(|key| {
            let begins = self.chains.head(key).is_none();
            self.chains.enter(key, sequence, id);
            begins
        });
        let OperationParts {
            body,
            report,
            outputs,
        } = parts;
        self.index(header.status.state()).insert(id);
        let keys = index_keys(id, &header, &body);
        self.indexes.enter(id, &keys, header.status);
        let record = Record {
            created_by,
            header,
            flow: FlowKey::of(&body),
            usage: UsageKey::of(&body.organization),
            body: Arc::new(body),
            report: Arc::new(report),
            entries,
            outputs: Arc::new(outputs),
            keys: keys.into(),
            sequence,
            last_offer: Stamp(0),
        };
        self.usage.restore(&record, begins_chain);
        self.records.insert(id, Arc::new(record));
        Ok(())
    }
}

fn read_outputs(row: &str, bytes: &[u8]) -> Result<Outputs, Error> {
    let mut value = Reader::versioned(row, bytes)?;
    let front = value.optional()?;
    let aside = value.optional()?;
    let mut ends: Vec<Output> = Vec::new();
    while !value.is_at_end() {
        ends.push(value.value()?);
    }
    Ok(Outputs::new(front, ends, aside))
}

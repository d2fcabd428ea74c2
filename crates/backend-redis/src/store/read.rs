//! Plain reads: operations by id, and their number.

use std::time::Duration;

use drumline_backend::store::{Counts, Error, Result, Summary};
use drumline_protocol::{Header, IndexKey, IndexKind, Operation, OperationId, State};
use futures_util::future::try_join_all;
use redis::{Pipeline, Value};

use super::RedisStore;
use crate::keys;
use crate::link::Life;
use crate::record;
use crate::replicas::Kept;
use crate::reply;

/// A record without what may be large.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) header: Header,
    /// The keys of its further indexes.
    pub(super) keys: Vec<IndexKey>,
    /// The bytes of the record and its parts.
    pub(super) bytes: usize,
}

/// The start of a record; empty if there is none.
#[derive(Debug, Default)]
struct Front {
    bytes: Vec<u8>,
    /// The bytes of the record and its parts.
    size: u64,
}

/// The promotions that one call sits out.
const PROMOTIONS: usize = 3;
/// The bytes of a record that are read for its header: nearly all headers end
/// before.
const FRONT: usize = 512;
/// The most records in one answer.
const AT_ONCE: usize = 64;
/// The bytes of a large record: a body of the greatest length, and texts of the
/// header. What is larger is in keys of its own.
const RECORD: usize = 10 << 10;
/// The bytes from which on requests use the connection of large answers.
const LARGE: usize = 64 << 10;

impl RedisStore {
    /// Reads headers; `None` for an operation that does not exist, or whose header
    /// cannot be decoded. The second
    /// value is the indexes whose keys may be missing from these records.
    pub(super) async fn heads(
        &self,
        ids: &[OperationId],
    ) -> Result<(Vec<Option<Head>>, Vec<IndexKind>)> {
        let mut commands = redis::pipe();
        let known = |id: &OperationId| self.keys.partition(id.partition());
        for id in ids {
            if let Some(keys) = known(id) {
                let record = keys.record(*id);
                let command = commands.cmd("GETRANGE").arg(&record);
                command.arg(0).arg(FRONT - 1);
                commands.cmd("STRLEN").arg(&record);
            }
        }
        // After the records: an index is in this set before a record loses its
        // key.
        commands.cmd("SMEMBERS").arg(self.keys.unread_indexes());
        let mut answers = self.link.run("get", &commands).await?.into_iter();
        let mut next = || answers.next().ok_or_else(reply::unexpected);
        let mut fronts = Vec::with_capacity(ids.len());
        for id in ids {
            fronts.push(match known(id) {
                Some(_) => Front {
                    bytes: reply::bytes(next()?)?,
                    size: reply::number(next()?)?,
                },
                None => Front::default(),
            });
        }
        let unread = record::read_kinds(next()?)?;
        self.read_on(ids, &mut fronts).await?;
        let mut heads = Vec::with_capacity(ids.len());
        for (id, front) in ids.iter().zip(fronts) {
            if front.bytes.is_empty() {
                heads.push(None);
                continue;
            }
            let read = self.decoded(id, record::read_h(&front.bytes))?;
            heads.push(read.map(|(header, ..)| Head {
                header,
                keys: record::read_keys(&front.bytes),
                bytes: usize::try_from(front.size).unwrap_or(usize::MAX),
            }));
        }
        Ok((heads, unread))
    }

    /// Reads those records on that have a long header, and asks for the sizes of
    /// parts that are in keys of their own.
    async fn read_on(&self, ids: &[OperationId], fronts: &mut [Front]) -> Result<()> {
        let mut commands = redis::pipe();
        let mut incomplete = Vec::new();
        for (front, id) in fronts.iter_mut().zip(ids) {
            let keys = self.keys.partition(id.partition());
            let (Some((length, has_parts)), Some(keys)) = (record::front(&front.bytes), keys)
            else {
                continue;
            };
            if length > FRONT || has_parts {
                let command = commands.cmd("GETRANGE").arg(keys.record(*id));
                command.arg(0).arg(length.saturating_sub(1));
                for part in keys.parts(*id) {
                    commands.cmd("STRLEN").arg(part);
                }
                incomplete.push(front);
            }
        }
        if incomplete.is_empty() {
            return Ok(());
        }
        let mut answers = self.link.run("get", &commands).await?.into_iter();
        let mut next = || answers.next().ok_or_else(reply::unexpected);
        for front in incomplete {
            front.bytes = reply::bytes(next()?)?;
            for _ in 0..3 {
                front.size += reply::number(next()?)?;
            }
        }
        Ok(())
    }

    /// Runs commands whose arguments have so many bytes of data and reports: large
    /// ones must not hold up the others.
    pub(super) async fn run_sized(
        &self,
        what: &'static str,
        commands: &Pipeline,
        bytes: usize,
    ) -> Result<Vec<Value>> {
        if bytes < LARGE {
            self.link.run(what, commands).await
        } else {
            self.records.run(what, commands, bytes).await
        }
    }

    /// Does the same for writes that a caller relies on, and waits until replicas have them
    /// where that is wanted.
    pub(super) async fn run_kept(
        &self,
        what: &'static str,
        commands: &Pipeline,
        bytes: usize,
    ) -> Result<Vec<Value>> {
        let Some(replicas) = &self.replicas else {
            return self.run_sized(what, commands, bytes).await;
        };
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        for _ in 0..PROMOTIONS {
            let (answers, life) = if bytes < LARGE {
                self.link.run_on(what, commands, Duration::ZERO).await?
            } else {
                self.records.run_on(what, commands, bytes).await?
            };
            match replicas.wait(Life::clone(&life)).await? {
                Kept::Yes => return Ok(answers),
                // The new primary is told again: what it has, it recognises. The life of
                // a server changes without a promotion, too, when its first replica comes.
                Kept::Elsewhere => {
                    self.link.leave(&life);
                    self.records.leave(&life);
                }
            }
        }
        Err(Error::Unavailable {
            message: format!("{what}: one server after the other has become the primary"),
            source: None,
        })
    }

    /// Reads operations, small ones many at a time, and large ones behind them.
    pub(super) async fn get_all(&self, ids: &[OperationId]) -> Result<Vec<Option<Operation>>> {
        let mut found = Vec::with_capacity(ids.len());
        for some in ids.chunks(AT_ONCE) {
            let (mut places, mut records) = (Vec::new(), Vec::new());
            for (id, record) in some.iter().zip(self.records_of(some).await?) {
                if let Some(record) = record {
                    places.push(found.len());
                    records.push((*id, record));
                }
                found.push(None);
            }
            for (place, operation) in places.into_iter().zip(self.operations(records).await?) {
                if let Some(found) = found.get_mut(place) {
                    *found = operation;
                }
            }
        }
        Ok(found)
    }

    /// Reads operations without their data and reports.
    pub(super) async fn all_summaries(&self, ids: &[OperationId]) -> Result<Vec<Option<Summary>>> {
        let records = ids.chunks(AT_ONCE).map(|some| self.records_of(some));
        let records = try_join_all(records).await?.into_iter().flatten();
        let found = ids.iter().zip(records);
        let summary = |(id, record): (&OperationId, Option<Vec<u8>>)| {
            record
                .map(|record| record::summary(*id, &record))
                .transpose()
        };
        found.map(summary).collect()
    }

    /// Reads records, without their parts that are in keys of their own.
    async fn records_of(&self, ids: &[OperationId]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut commands = redis::pipe();
        let keys = |id: &OperationId| self.keys.partition(id.partition());
        for id in ids {
            if let Some(keys) = keys(id) {
                commands.cmd("GET").arg(keys.record(*id));
            }
        }
        let answers = self.records.run("get", &commands, ids.len() * RECORD);
        let mut answers = answers.await?.into_iter();
        let mut records = Vec::with_capacity(ids.len());
        for id in ids {
            records.push(match keys(id) {
                Some(_) => reply::maybe_bytes(answers.next().ok_or_else(reply::unexpected)?)?,
                None => None,
            });
        }
        Ok(records)
    }

    pub(super) async fn count_all(&self) -> Result<Counts> {
        let mut commands = redis::pipe();
        // The members of its tail, and of its buckets.
        let count = |commands: &mut Pipeline, set: &str| {
            commands.cmd("ZCARD").arg(set);
            commands.cmd("GET").arg(keys::in_buckets(set));
        };
        for keys in self
            .partitions
            .all()
            .filter_map(|it| self.keys.partition(it))
        {
            for state in State::ALL {
                match state {
                    State::Locked => {
                        commands.cmd("HLEN").arg(keys.locks());
                    }
                    State::Ready | State::Suspended | State::Completed => {
                        count(&mut commands, &keys.index(state));
                    }
                }
            }
            count(&mut commands, keys.outbox());
        }
        let mut counts = Counts::default();
        let mut answers = self.link.run("counts", &commands).await?.into_iter();
        let mut next = || answers.next().ok_or_else(reply::unexpected);
        for _ in self.partitions.all() {
            for state in State::ALL {
                *place(&mut counts, state) += match state {
                    State::Locked => reply::number(next()?)?,
                    State::Ready | State::Suspended | State::Completed => {
                        reply::number(next()?)? + in_buckets(next()?)?
                    }
                };
            }
            counts.undispatched += reply::number(next()?)? + in_buckets(next()?)?;
        }
        Ok(counts)
    }
}

/// Reads the number of members in buckets, which small sets do not have.
fn in_buckets(answer: Value) -> Result<u64> {
    match answer {
        Value::Nil => Ok(0),
        some => reply::text(some)?
            .parse()
            .map_err(|_error: std::num::ParseIntError| reply::unexpected()),
    }
}

fn place(counts: &mut Counts, state: State) -> &mut u64 {
    match state {
        State::Ready => &mut counts.ready,
        State::Suspended => &mut counts.suspended,
        State::Locked => &mut counts.locked,
        State::Completed => &mut counts.completed,
    }
}

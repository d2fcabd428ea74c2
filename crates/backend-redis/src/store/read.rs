//! Plain reads: operations by id, and their number.

use drumline_backend::store::{Counts, Result};
use drumline_protocol::{Header, IndexKey, IndexKind, Operation, OperationId, State};
use redis::{Pipeline, Value};

use super::RedisStore;
use crate::keys;
use crate::record;
use crate::reply::{self, Parts};

/// A record without what may be large.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) header: Header,
    /// The keys of its further indexes.
    pub(super) keys: Vec<IndexKey>,
    /// The bytes of body and report.
    pub(super) bytes: usize,
}

impl RedisStore {
    /// Reads headers; `None` for an operation that does not exist. The second
    /// value is the indexes whose keys may be missing from these records.
    pub(super) async fn heads(
        &self,
        ids: &[OperationId],
    ) -> Result<(Vec<Option<Head>>, Vec<IndexKind>)> {
        let mut commands = redis::pipe();
        let known = |id: &&OperationId| self.keys.partition(id.partition()).is_some();
        for id in ids.iter().filter(known) {
            if let Some(keys) = self.keys.partition(id.partition()) {
                let record = keys.record(*id);
                commands.cmd("HGET").arg(&record).arg(b"h");
                commands.cmd("HSTRLEN").arg(&record).arg(b"b");
                commands.cmd("HSTRLEN").arg(&record).arg(b"r");
            }
        }
        // After the records: an index is in this set before a record loses its
        // key.
        commands.cmd("SMEMBERS").arg(self.keys.unread_indexes());
        let mut answers = self.link.run("get", &commands).await?.into_iter();
        let mut next = || answers.next().ok_or_else(reply::unexpected);
        let mut heads = Vec::with_capacity(ids.len());
        for id in ids {
            if !known(&id) {
                heads.push(None);
                continue;
            }
            let h = reply::maybe_bytes(next()?)?;
            let bytes = reply::number(next()?)? + reply::number(next()?)?;
            let head = h.map(|h| -> Result<Head> {
                Ok(Head {
                    header: record::read_h(&h)?.0,
                    keys: record::read_keys(&h),
                    bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
                })
            });
            heads.push(head.transpose()?);
        }
        Ok((heads, record::read_kinds(next()?)?))
    }

    pub(super) async fn get_all(&self, ids: &[OperationId]) -> Result<Vec<Option<Operation>>> {
        let mut commands = redis::pipe();
        let known = |id: &&OperationId| self.keys.partition(id.partition()).is_some();
        for id in ids.iter().filter(known) {
            if let Some(keys) = self.keys.partition(id.partition()) {
                commands
                    .cmd("HMGET")
                    .arg(keys.record(*id))
                    .arg(b"h")
                    .arg(b"b")
                    .arg(b"r");
            }
        }
        let mut answers = self.link.run("get", &commands).await?.into_iter();
        let mut operations = Vec::with_capacity(ids.len());
        for id in ids {
            operations.push(if known(&id) {
                read(*id, answers.next().ok_or_else(reply::unexpected)?)?
            } else {
                None
            });
        }
        Ok(operations)
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

fn read(id: OperationId, answer: Value) -> Result<Option<Operation>> {
    let mut parts = Parts::of(answer)?;
    let (Some(h), Some(b)) = (parts.maybe_bytes()?, parts.maybe_bytes()?) else {
        return Ok(None);
    };
    let r = parts.maybe_bytes()?.unwrap_or_default();
    Ok(Some(record::operation(id, &h, &b, &r)?))
}

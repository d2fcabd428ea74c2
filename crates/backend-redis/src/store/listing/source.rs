//! The set that a listing is read from.

use drumline_backend::store::{Filter, Result};
use drumline_protocol::{IndexKey, IndexKind, OperationId, State};
use redis::Cmd;

use crate::keys::PartitionKeys;
use crate::record;
use crate::reply::Parts;
use crate::scripts::SCRIPTS;
use crate::store::RedisStore;

/// A set, in every partition, that holds all operations that a filter selects.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Source {
    /// The indexes of the states that the filter asks for.
    States,
    /// The further index of one of its values.
    Key(IndexKey),
}

impl Source {
    /// The command that reads the newest ids of a partition: first the locked
    /// ones, then one list per set.
    pub(super) fn newest(
        self,
        filter: &Filter,
        keys: &PartitionKeys,
        newest: &[u8],
        oldest: &[u8],
        of_each: usize,
    ) -> Cmd {
        match self {
            Self::States => of_states(&filter.states(), keys, newest, oldest, of_each),
            Self::Key(key) => {
                let locked = if filter.needs_locks(key.kind) {
                    key.kind.letter()
                } else {
                    b'-'
                };
                let mut command = SCRIPTS.newest_with.call(&[keys.prefix()]);
                command
                    .arg(key.hash.as_slice())
                    .arg(newest)
                    .arg(oldest)
                    .arg(of_each)
                    .arg([locked].as_slice());
                for shelf in filter.shelves(key.kind) {
                    command.arg(record::index_name(key.kind, shelf));
                }
                command
            }
        }
    }

    /// Returns true if headers say no more about the operations of this source than the
    /// source itself: after the headers, the bodies of nearly all would be read.
    pub(super) fn decides(self, filter: &Filter, keys: &[IndexKey]) -> bool {
        let Filter {
            operation_type,
            completed_before,
            holding,
            waits_without_time,
            failure,
            state,
            status,
            ..
        } = filter;
        let has_other_conditions = operation_type.is_some()
            || completed_before.is_some()
            || holding.is_some()
            || waits_without_time.is_some()
            || failure.is_some();
        let of_all = state.is_none() && status.is_none();
        !has_other_conditions
            && match self {
                Self::States => keys.is_empty() && filter.chain.is_none() && status.is_none(),
                Self::Key(key) => keys == [key] && (of_all || is_by_status(key.kind)),
            }
    }

    /// Returns true if it is the index of one of these kinds.
    pub(super) fn is_in(self, kinds: &[IndexKind]) -> bool {
        match self {
            Self::States => false,
            Self::Key(key) => kinds.contains(&key.kind),
        }
    }

    /// The operation that the source holds without an entry.
    pub(super) fn own(self, filter: &Filter) -> Option<OperationId> {
        match self {
            Self::States => None,
            Self::Key(key) => filter.own_of(key.kind),
        }
    }
}

impl RedisStore {
    /// Chooses the source with the fewest operations.
    pub(super) async fn source(&self, filter: &Filter, keys: &[IndexKey]) -> Result<Source> {
        let states = filter.states();
        match keys {
            [] => return Ok(Source::States),
            [key] if states.len() == State::ALL.len() || is_by_status(key.kind) => {
                return Ok(Source::Key(*key));
            }
            _ => {}
        }
        let letters: Vec<u8> = states.iter().map(|state| record::index(*state)).collect();
        let mut shelves = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let names = filter.shelves(key.kind).into_iter();
            shelves.extend(names.map(|shelf| (at, key.hash, record::index_name(key.kind, shelf))));
        }
        let mut commands = redis::pipe();
        for partition in self.partitions_of(filter) {
            let mut command = SCRIPTS.index_sizes.call(&[partition.prefix()]);
            command.arg(&letters);
            for (_, hash, name) in &shelves {
                command.arg(name).arg(hash.as_slice());
            }
            commands.add_command(command);
        }
        let mut in_states = 0;
        let mut sizes = vec![0; keys.len()];
        for answer in self.link.run("list", &commands).await? {
            let mut parts = Parts::of(answer)?;
            in_states += parts.number()?;
            for (at, ..) in &shelves {
                let size = parts.number()?;
                if let Some(sum) = sizes.get_mut(*at) {
                    *sum += size;
                }
            }
        }
        let fewest = keys.iter().zip(sizes).min_by_key(|(_, size)| *size);
        Ok(match fewest {
            Some((key, size)) if size <= in_states => Source::Key(*key),
            Some(_) | None => Source::States,
        })
    }
}

/// Returns true if the index holds fewer operations where fewer states are
/// asked for.
const fn is_by_status(kind: IndexKind) -> bool {
    matches!(kind, IndexKind::MessageName | IndexKind::Outcome)
}

fn of_states(
    states: &[State],
    keys: &PartitionKeys,
    newest: &[u8],
    oldest: &[u8],
    of_each: usize,
) -> Cmd {
    let bound = |bytes: &[u8], with: &[u8], without: &[u8]| -> Vec<u8> {
        if bytes.is_empty() {
            without.to_vec()
        } else {
            [with, bytes].concat()
        }
    };
    let locks = if states.contains(&State::Locked) {
        "l"
    } else {
        "-"
    };
    let mut from = vec![keys.locks().to_owned()];
    let indexed = states.iter().filter(|state| **state != State::Locked);
    from.extend(indexed.map(|state| keys.index(*state)));
    let mut command = SCRIPTS.newest.call(&from);
    command
        .arg(bound(newest, b"(", b"+"))
        .arg(bound(oldest, b"[", b"-"))
        .arg(of_each)
        .arg(locks);
    command
}

//! Pauses: all of them with their texts, a copy of their scopes in each
//! partition, and the operations that they hold.
//!
//! Invariant: a Ready head that is neither in the outbox nor in the broker is
//! in the held set. Whatever takes an operation out of Ready, or puts it into
//! the outbox, takes it out of the held set.

use std::collections::BTreeMap;
use std::ops::Bound;

use drumline_backend::store::{PauseCopy, Pauses, Released};
use drumline_protocol::{OperationId, Partition, Pause, ScopeKey, State as StateCode, Timestamp};

use super::sorted::{Sorted, SortedMap};
use super::touched::Parts;
use super::{Contents, State};

/// Scopes that a release looks at in one step.
const SCOPES: usize = 64;

/// The pauses, with their texts.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptPauses {
    pub(super) version: u64,
    pub(super) by_key: BTreeMap<ScopeKey, Pause>,
}

/// A partition's copy: the end of each pause, if it ends by itself.
#[derive(Clone, Debug, Default)]
pub(super) struct PausedScopes {
    version: u64,
    ends: BTreeMap<ScopeKey, Option<Timestamp>>,
}

impl PausedScopes {
    /// The first of these scopes that is paused.
    pub(super) fn in_force(&self, scopes: &[ScopeKey], now: Timestamp) -> Option<ScopeKey> {
        let is_paused = |key: &&ScopeKey| {
            let until = self.ends.get(key);
            until.is_some_and(|until| until.is_none_or(|until| until > now))
        };
        scopes.iter().find(is_paused).copied()
    }
}

/// The operations of a partition that are held, by scope and by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    pub(super) by_id: SortedMap<OperationId, ScopeKey>,
    /// No scope without operations.
    by_scope: BTreeMap<ScopeKey, Sorted<OperationId>>,
}

impl Held {
    pub(super) fn of(&self, id: OperationId) -> Option<ScopeKey> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn add(&mut self, id: OperationId, scope: ScopeKey) {
        self.remove(id);
        self.by_id.insert(id, scope);
        self.by_scope.entry(scope).or_default().insert(id);
    }

    /// Returns true if it was held.
    pub(super) fn remove(&mut self, id: OperationId) -> bool {
        let Some(scope) = self.by_id.remove(&id) else {
            return false;
        };
        if let Some(of_scope) = self.by_scope.get_mut(&scope) {
            of_scope.remove(&id);
            if of_scope.is_empty() {
                self.by_scope.remove(&scope);
            }
        }
        true
    }

    /// The first scope behind `after` that holds an operation.
    fn scope_behind(&self, after: Option<ScopeKey>) -> Option<ScopeKey> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = self.by_scope.range((start, Bound::Unbounded));
        behind.next().map(|(scope, _)| *scope)
    }

    /// The first operations that a scope holds.
    fn first_of(&self, scope: ScopeKey, limit: usize) -> Vec<OperationId> {
        let of_scope = self.by_scope.get(&scope).into_iter().flat_map(Sorted::iter);
        of_scope.take(limit).copied().collect()
    }

    pub(super) fn has(&self, id: OperationId) -> bool {
        self.by_id.contains_key(&id)
    }
}

impl State {
    /// All pauses.
    #[must_use]
    pub fn pauses(&self) -> Pauses {
        Pauses {
            version: self.pauses.version,
            pauses: self.pauses.by_key.values().cloned().collect(),
            unreadable: Vec::new(),
        }
    }

    /// Sets a pause.
    pub fn set_pause(&mut self, pause: Pause) {
        let key = pause.scope.key();
        self.touched.pause(key);
        self.pauses.by_key.insert(key, pause);
        self.pauses.version += 1;
    }

    /// Removes a pause; returns false if there was none.
    pub fn lift_pause(&mut self, key: ScopeKey) -> bool {
        let was = self.pauses.by_key.remove(&key).is_some();
        if was {
            self.touched.pause(key);
            self.pauses.version += 1;
        }
        was
    }

    /// Removes the pauses that have ended by themselves.
    pub fn lift_ended_pauses(&mut self, now: Timestamp) -> usize {
        let by_key = self.pauses.by_key.iter();
        let ended = by_key.filter(|(_, pause)| !pause.is_in_force(now));
        let ended: Vec<ScopeKey> = ended.map(|(key, _)| *key).collect();
        for key in &ended {
            self.touched.pause(*key);
            self.pauses.by_key.remove(key);
        }
        if !ended.is_empty() {
            self.pauses.version += 1;
        }
        ended.len()
    }

    /// Writes a partition's copy, unless that is as new.
    pub fn copy_pauses(&mut self, pauses: &Pauses, partition: Partition) {
        let copy = &mut self.contents_mut(partition).paused;
        if copy.version < pauses.version {
            *copy = PausedScopes {
                version: pauses.version,
                ends: pauses.scopes().collect(),
            };
        }
    }

    /// The state of a partition's copy.
    #[must_use]
    pub fn pause_copy(&self, partition: Partition) -> PauseCopy {
        self.contents(partition)
            .map(|contents| PauseCopy {
                version: contents.paused.version,
                held: contents.held.by_id.len() as u64,
            })
            .unwrap_or_default()
    }

    /// The scope under which an operation is held.
    #[must_use]
    pub fn held_by(&self, id: OperationId) -> Option<ScopeKey> {
        let held = &self.contents(id.partition())?.held;
        held.by_id.get(&id).copied()
    }

    /// Moves operations whose scope is not paused any more to the outbox.
    pub fn release_held(
        &mut self,
        partition: Partition,
        after: Option<ScopeKey>,
        limit: usize,
        now: Timestamp,
    ) -> Released {
        let contents = self.contents_mut(partition);
        let mut released = Released::default();
        let mut looked_at = 0;
        let mut place = after;
        while let Some(scope) = contents.held.scope_behind(place) {
            place = Some(scope);
            if contents.paused.in_force(&[scope], now).is_some() {
                looked_at += 1;
                if looked_at >= SCOPES {
                    released.next = Some(scope);
                    return released;
                }
                continue;
            }
            for id in contents.held.first_of(scope, limit - released.count) {
                contents.release(id, now);
                released.count += 1;
            }
            if released.count >= limit {
                return released;
            }
        }
        released
    }
}

impl Contents {
    /// Holds an operation, unless a scope that is paused holds it already.
    pub(super) fn hold(&mut self, id: OperationId, scope: ScopeKey, now: Timestamp) {
        let holder = self.held.by_id.get(&id);
        if holder.is_some_and(|holder| self.paused.in_force(&[*holder], now).is_some()) {
            return;
        }
        self.withdraw(id);
        self.held.add(id, scope);
        self.touched.operation(id, Parts::STATE);
    }

    fn release(&mut self, id: OperationId, now: Timestamp) {
        self.held.remove(id);
        self.touched.operation(id, Parts::STATE);
        let Some(record) = self.records.get(&id) else {
            return;
        };
        if record.header.state() == StateCode::Ready && self.travels(id, record.header.chain) {
            self.offer(id, now, now);
        }
    }
}

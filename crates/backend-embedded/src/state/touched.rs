//! The marks of what verbs have changed: for a store that also keeps the state on a
//! disk, and writes what is marked.
//!
//! A mark names a thing, not its value. However often a thing changes before the
//! next write, it is written once, as it is then. A state that nothing is written of
//! keeps no marks.

use std::collections::{BTreeMap, BTreeSet};

use drumline_backend::store::{AuditPlace, IdempotencyKey, QueueUse};
use drumline_protocol::{ActionId, OperationId, Partition, ScopeKey};

use super::State;

/// The parts of an operation that are written apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) body: bool,
    pub(super) report: bool,
    pub(super) outputs: bool,
}

impl Parts {
    /// The state alone: header, history, and all that the sets of the partition have of
    /// the operation. A mark always means the state, too.
    pub(super) const STATE: Self = Self {
        body: false,
        report: false,
        outputs: false,
    };
    /// Every part.
    pub(super) const ALL: Self = Self {
        body: true,
        report: true,
        outputs: true,
    };

    const fn and(self, other: Self) -> Self {
        Self {
            body: self.body || other.body,
            report: self.report || other.report,
            outputs: self.outputs || other.outputs,
        }
    }
}

/// The marks of a partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    pub(super) is_on: bool,
    pub(super) operations: BTreeMap<OperationId, Parts>,
    pub(super) keys: BTreeSet<IdempotencyKey>,
    pub(super) removed: BTreeSet<OperationId>,
}

impl Touched {
    /// No marks yet.
    pub(super) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            ..Self::default()
        }
    }

    /// Marks an operation.
    pub(super) fn operation(&mut self, id: OperationId, parts: Parts) {
        if self.is_on {
            let marked = self.operations.entry(id).or_default();
            *marked = marked.and(parts);
        }
    }

    /// Marks idempotency keys.
    pub(super) fn keys(&mut self, keys: impl IntoIterator<Item = IdempotencyKey>) {
        if self.is_on {
            self.keys.extend(keys);
        }
    }

    /// Marks the notes of removals.
    pub(super) fn removed(&mut self, ids: impl IntoIterator<Item = OperationId>) {
        if self.is_on {
            self.removed.extend(ids);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.operations.is_empty() && self.keys.is_empty() && self.removed.is_empty()
    }
}

/// The marks of what is in no partition.
#[derive(Clone, Debug, Default)]
pub(super) struct TouchedElsewhere {
    pub(super) is_on: bool,
    pub(super) pauses: BTreeSet<ScopeKey>,
    pub(super) actions: BTreeSet<ActionId>,
    pub(super) queues: BTreeSet<QueueUse>,
    pub(super) audit: BTreeSet<AuditPlace>,
    pub(super) imports: BTreeSet<String>,
    /// The numbers that stand for themselves: the version of the pauses, the limit of
    /// queues, and the last number that was given out.
    pub(super) numbers: bool,
    /// The partitions that verbs may have changed.
    pub(super) visited: BTreeSet<Partition>,
}

impl TouchedElsewhere {
    pub(super) fn pause(&mut self, key: ScopeKey) {
        if self.is_on {
            self.pauses.insert(key);
            self.numbers = true;
        }
    }

    pub(super) fn action(&mut self, id: ActionId) {
        if self.is_on {
            self.actions.insert(id);
        }
    }

    pub(super) fn queue(&mut self, wanted: &QueueUse) {
        if self.is_on {
            self.queues.insert(wanted.clone());
            self.numbers = true;
        }
    }

    pub(super) fn audit(&mut self, place: AuditPlace) {
        if self.is_on {
            self.audit.insert(place);
        }
    }

    pub(super) fn import(&mut self, id: &str) {
        if self.is_on {
            self.imports.insert(id.to_owned());
        }
    }

    pub(super) fn numbers(&mut self) {
        self.numbers |= self.is_on;
    }

    pub(super) fn visit(&mut self, partition: Partition) {
        if self.is_on {
            self.visited.insert(partition);
        }
    }
}

impl State {
    /// Begins to mark what changes.
    pub(crate) fn mark_changes(&mut self) {
        self.touched.is_on = true;
        for contents in self.partitions.values_mut() {
            contents.touched.is_on = true;
        }
    }

    /// Returns true if something is marked.
    pub(crate) fn is_touched(&self) -> bool {
        let elsewhere = &self.touched;
        let in_partition = |partition| {
            let contents = self.contents(partition);
            contents.is_some_and(|contents| !contents.touched.is_empty())
        };
        elsewhere.numbers
            || !elsewhere.pauses.is_empty()
            || !elsewhere.actions.is_empty()
            || !elsewhere.queues.is_empty()
            || !elsewhere.audit.is_empty()
            || !elsewhere.imports.is_empty()
            || elsewhere.visited.iter().copied().any(in_partition)
    }
}

//! The queues that organizations use.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use drumline_backend::store::{IdleFate, IdleQueue, QueueUse};
use drumline_protocol::{QueueName, ScopeKey, Timestamp};

use super::State;

/// The uses, by organization, by queue and by time.
#[derive(Clone, Debug, Default)]
pub(super) struct UsedQueues {
    used_on: BTreeMap<ScopeKey, BTreeMap<QueueName, Timestamp>>,
    by_queue: BTreeMap<QueueName, BTreeSet<ScopeKey>>,
    pub(super) by_time: BTreeSet<(Timestamp, QueueUse)>,
    /// The most queues of an organization, as it was given last.
    pub(super) limit: Option<usize>,
}

impl UsedQueues {
    fn of_organization(&self, organization: ScopeKey) -> usize {
        self.used_on.get(&organization).map_or(0, BTreeMap::len)
    }

    pub(super) fn used_on(&self, known: &QueueUse) -> Option<Timestamp> {
        let of_organization = self.used_on.get(&known.organization)?;
        of_organization.get(&known.queue).copied()
    }

    pub(super) fn note(&mut self, wanted: &QueueUse, now: Timestamp) {
        self.forget(wanted);
        let of_organization = self.used_on.entry(wanted.organization).or_default();
        of_organization.insert(wanted.queue.clone(), now);
        self.by_time.insert((now, wanted.clone()));
        let users = self.by_queue.entry(wanted.queue.clone()).or_default();
        users.insert(wanted.organization);
    }

    fn forget(&mut self, gone: &QueueUse) {
        let Some(used_on) = self.used_on(gone) else {
            return;
        };
        self.by_time.remove(&(used_on, gone.clone()));
        if let Some(of_organization) = self.used_on.get_mut(&gone.organization) {
            of_organization.remove(&gone.queue);
            if of_organization.is_empty() {
                self.used_on.remove(&gone.organization);
            }
        }
        if let Some(users) = self.by_queue.get_mut(&gone.queue) {
            users.remove(&gone.organization);
            if users.is_empty() {
                self.by_queue.remove(&gone.queue);
            }
        }
    }
}

impl State {
    /// Notes a use, if there is room.
    pub fn use_queue(&mut self, wanted: &QueueUse, limit: Option<usize>, now: Timestamp) -> bool {
        let queues = &mut self.queues;
        if limit.is_some() && queues.limit != limit {
            queues.limit = limit;
            self.touched.numbers();
        }
        let is_known = queues.used_on(wanted).is_some();
        let has_room = |limit| queues.of_organization(wanted.organization) < limit;
        if !is_known && !queues.limit.is_none_or(has_room) {
            return false;
        }
        queues.note(wanted, now);
        self.touched.queue(wanted);
        true
    }

    /// The queues behind `after`, in the order of their names.
    #[must_use]
    pub fn queues(&self, after: Option<&QueueName>, limit: usize) -> Vec<QueueName> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.queues.by_queue.range((start, Bound::Unbounded));
        behind.take(limit).map(|(queue, _)| queue.clone()).collect()
    }

    /// The uses that were last noted at or before a time, longest ago first.
    #[must_use]
    pub fn idle_queues(&self, before: Timestamp, limit: usize) -> Vec<IdleQueue> {
        let by_time = self.queues.by_time.iter();
        let idle = by_time.take_while(|(used_on, _)| *used_on <= before);
        let idle = idle.take(limit).map(|(_, idle)| {
            let users = self.queues.by_queue.get(&idle.queue);
            IdleQueue {
                idle: idle.clone(),
                is_last: users.is_some_and(|users| users.len() == 1),
            }
        });
        idle.collect()
    }

    /// Decides about a use, unless it was noted since `before`.
    pub fn settle_queue(
        &mut self,
        idle: &QueueUse,
        before: Timestamp,
        fate: IdleFate,
        now: Timestamp,
    ) {
        let used_on = self.queues.used_on(idle);
        if used_on.is_none_or(|used_on| used_on > before) {
            return;
        }
        self.touched.queue(idle);
        match fate {
            IdleFate::Forget => self.queues.forget(idle),
            IdleFate::Keep => self.queues.note(idle, now),
        }
    }
}

//! Notices: the ends of operations that a receiver outside is notified of, and
//! the time of each next try.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drumline_backend::store::Notice;
use drumline_protocol::{OperationId, Partition, Timestamp};

use super::State;
use super::touched::Parts;

/// The notices of one partition, by operation and by time.
#[derive(Clone, Debug, Default)]
pub(super) struct Notices {
    pub(super) by_id: BTreeMap<OperationId, Owed>,
    by_time: BTreeSet<(Timestamp, OperationId)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    next: Timestamp,
    attempt: u32,
}

impl Notices {
    /// The earliest time of a next try.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(next, _)| *next)
    }

    /// Adds a notice, owed from `now` on.
    pub(super) fn add(&mut self, id: OperationId, now: Timestamp) {
        self.put(
            id,
            Owed {
                next: now,
                attempt: 0,
            },
        );
    }

    /// The next time and the attempts of a notice.
    pub(super) fn of(&self, id: OperationId) -> Option<(Timestamp, u32)> {
        let owed = self.by_id.get(&id);
        owed.map(|owed| (owed.next, owed.attempt))
    }

    /// Adds a notice that was owed before, with its next time and its attempts.
    pub(super) fn restore(&mut self, id: OperationId, next: Timestamp, attempt: u32) {
        self.put(id, Owed { next, attempt });
    }

    pub(super) fn remove(&mut self, id: OperationId) {
        if let Some(owed) = self.by_id.remove(&id) {
            self.by_time.remove(&(owed.next, id));
        }
    }

    fn put(&mut self, id: OperationId, owed: Owed) {
        self.remove(id);
        self.by_id.insert(id, owed);
        self.by_time.insert((owed.next, id));
    }
}

impl State {
    /// The notices whose time has come, earliest first.
    #[must_use]
    pub fn notices(&self, partition: Partition, limit: usize, now: Timestamp) -> Vec<Notice> {
        let Some(contents) = self.contents(partition) else {
            return Vec::new();
        };
        let notices = &contents.notices;
        let due = notices.by_time.iter().take_while(|(next, _)| *next <= now);
        due.take(limit)
            .filter_map(|(_, id)| {
                let attempt = notices.by_id.get(id)?.attempt;
                Some(Notice { id: *id, attempt })
            })
            .collect()
    }

    /// Returns true if the notice of an operation is owed.
    #[must_use]
    pub fn is_notice_owed(&self, id: OperationId) -> bool {
        let contents = self.contents(id.partition());
        contents.is_some_and(|contents| contents.notices.by_id.contains_key(&id))
    }

    /// Removes a notice: it is owed no more.
    pub fn notice_done(&mut self, id: OperationId) {
        let contents = self.contents_mut(id.partition());
        contents.notices.remove(id);
        contents.touched.operation(id, Parts::STATE);
    }

    /// Puts off a notice by `delay`, if it is still owed, and counts its
    /// attempt.
    pub fn notice_later(&mut self, id: OperationId, delay: Duration, now: Timestamp) {
        self.put_notice_off(id, delay, now, 1);
    }

    /// Puts off a notice that was not tried by `delay`, if it is still owed.
    pub fn notice_put_off(&mut self, id: OperationId, delay: Duration, now: Timestamp) {
        self.put_notice_off(id, delay, now, 0);
    }

    fn put_notice_off(&mut self, id: OperationId, delay: Duration, now: Timestamp, tries: u32) {
        let contents = self.contents_mut(id.partition());
        let Some(owed) = contents.notices.by_id.get(&id).copied() else {
            return;
        };
        let attempt = owed.attempt.saturating_add(tries);
        let owed = Owed {
            next: now.saturating_add(delay),
            attempt: attempt.min(Notice::MOST_ATTEMPTS),
        };
        contents.notices.put(id, owed);
        contents.touched.operation(id, Parts::STATE);
    }
}

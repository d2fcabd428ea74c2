//! The work that a partition has.

use drumline_backend::store::{Stamp, Work};
use drumline_protocol::{Partition, Timestamp};

use super::State;

impl State {
    /// Returns the time of the earliest work that waits for one, whether it has come or
    /// not.
    #[must_use]
    pub fn next_time(&self, partition: Partition, work: Work) -> Option<Timestamp> {
        let contents = self.contents(partition)?;
        match work {
            Work::Due => contents.due.first(),
            Work::Notices => contents.notices.first(),
            Work::Outbox | Work::Offered | Work::Locks | Work::Ended(..) => None,
        }
    }

    /// Returns true if a partition has such work.
    #[must_use]
    pub fn has_work(&self, partition: Partition, work: Work, now: Timestamp) -> bool {
        let contents = self.contents(partition);
        match work {
            Work::Outbox => contents.is_some_and(|contents| contents.outbox.len() > 0),
            Work::Offered => contents.is_some_and(|contents| !contents.offered.is_empty()),
            Work::Locks => contents.is_some_and(|contents| !contents.locks.is_empty()),
            Work::Due => !self.due(partition, 1, now).is_empty(),
            Work::Notices => !self.notices(partition, 1, now).is_empty(),
            Work::Ended(class, until) => {
                !self.ended(partition, class, Stamp(0), until, 1).is_empty()
            }
        }
    }
}

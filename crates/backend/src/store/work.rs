//! Kinds of work that maintenance looks for. Most partitions have none at most times,
//! and one call tells which.

use std::time::Duration;

use drumline_protocol::Partition;
use drumline_protocol::transition::EndClass;

use super::Stamp;

/// Work that partitions may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Entries of the outbox, of any age.
    Outbox,
    /// Operations in the offered set.
    Offered,
    /// Locks.
    Locks,
    /// Operations whose time has come.
    Due,
    /// Notices whose time has come.
    Notices,
    /// Ends of a class up to a stamp.
    Ended(EndClass, Stamp),
}

/// The partitions that have work of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkFound {
    /// Those that have it now, in the order of the question.
    pub partitions: Vec<Partition>,
    /// In what time the earliest comes that has not come yet. `None` if there is none,
    /// and for kinds of work that wait for no time.
    pub next: Option<Duration>,
}

impl WorkFound {
    /// Notes that some of it comes in this time.
    pub fn note_next(&mut self, next: Option<Duration>) {
        self.next = self.next.into_iter().chain(next).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_time_is_noted() {
        let seconds = |number| Some(Duration::from_secs(number));
        let mut found = WorkFound::default();
        for (next, noted) in [
            (None, None),
            (seconds(5), seconds(5)),
            (seconds(7), seconds(5)),
            (None, seconds(5)),
            (seconds(3), seconds(3)),
        ] {
            found.note_next(next);
            assert_eq!(found.next, noted, "{next:?}");
        }
    }
}

//! Operations that have ended and do not hold their chain.
//!
//! No index has those that hold it. They are looked for among all that failed or were
//! canceled, and most of these do not hold, and never will ([`Header::is_settled`]). So the
//! header of such a one is read once, and its id is passed over from then on: a further look
//! costs the ids alone.

use std::collections::HashSet;
use std::time::Duration;

use drumline_protocol::{Header, OperationId};
use parking_lot::Mutex;
use tokio::time::Instant;

/// The ids that are remembered: some 2 MB.
const REMEMBERED: usize = 1 << 16;
/// The time after which all are forgotten: operations may have been removed, and an older
/// state of one may have been restored.
const KEPT: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, Default)]
pub(in crate::store) struct Settled {
    // The lock is held for a moment, never across an await.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The time of the first of them.
    since: Option<Instant>,
    ids: HashSet<OperationId>,
}

impl Settled {
    /// Notes those among some operations that have ended and do not hold their chain.
    pub(super) fn note<'a>(&self, headers: impl Iterator<Item = (OperationId, &'a Header)>) {
        let mut known = self.known.lock();
        for (id, header) in headers {
            if known.ids.len() >= REMEMBERED {
                return;
            }
            if header.is_settled() {
                known.since.get_or_insert_with(Instant::now);
                known.ids.insert(id);
            }
        }
    }

    /// Removes those that are known from a list, and returns their number.
    pub(super) fn remove_from(&self, ids: &mut Vec<OperationId>) -> usize {
        let mut known = self.known.lock();
        if known.since.is_some_and(|since| since.elapsed() >= KEPT) {
            *known = Known::default();
        }
        let all = ids.len();
        ids.retain(|id| !known.ids.contains(id));
        all - ids.len()
    }
}

#[cfg(test)]
mod tests {
    use drumline_protocol::operation::first_header;
    use drumline_protocol::{CommitId, Partition, Rules, Status, Timestamp};
    use tokio::time::advance;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn id(number: u8) -> OperationId {
        OperationId::new(NOW, Partition::new(0), [number; 16])
    }

    fn header(status: Status, holding: bool) -> Header {
        Header {
            status,
            holding,
            ..first_header(Rules::default(), None, CommitId(1), NOW)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_has_ended_and_does_not_hold_is_passed_over_for_a_while() {
        let settled = Settled::default();
        let ready = header(Status::WaitingForResources, false);
        let holder = header(Status::Failed, true);
        let other = header(Status::Failed, false);
        settled.note([(id(1), &ready), (id(2), &holder), (id(3), &other)].into_iter());
        let mut ids = vec![id(3), id(2), id(1)];
        assert_eq!(settled.remove_from(&mut ids), 1);
        assert_eq!(ids, [id(2), id(1)]);
        // An operation that was removed may have been restored as it was before.
        advance(KEPT).await;
        let mut again = vec![id(3)];
        assert_eq!(settled.remove_from(&mut again), 0);
        assert_eq!(again, [id(3)]);
    }
}

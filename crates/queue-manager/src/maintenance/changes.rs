//! Changes: tells the tasks that have found nothing when it is worth looking again.
//!
//! ```text
//! a task finds nothing ─→ it waits ─┬─ the number of changes is another one
//!                                   ├─ the time of the earliest work has come
//!                                   ├─ another share of the partitions
//!                                   └─ a few seconds, whatever the reason
//! ```
//!
//! One question for a number takes the place of the questions of all tasks about all
//! partitions. The number is read before a look, so whatever the look has not seen
//! changes the number later. A store that has lost its last writes may return a number
//! again, so a task looks after a few seconds anyway.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::service::QueueManager;

/// The longest time for which a task relies on the number.
pub(super) const LOOK_ANYWAY: Duration = Duration::from_secs(5);

/// The number of changes; `None` while it cannot be relied on: the store is unavailable,
/// or a member of an earlier release is alive, which does not count what it writes.
pub(super) type Known = Option<u64>;

/// Reads the number until stopped.
pub(super) async fn watch(
    manager: QueueManager,
    rest: Duration,
    all_count: watch::Receiver<bool>,
    known: watch::Sender<Known>,
    stop: CancellationToken,
) {
    let looking = async {
        loop {
            let is_counted = *all_count.borrow();
            let now = match is_counted {
                true => manager.store().changes().await.ok(),
                false => None,
            };
            known.send_if_modified(|last| {
                let is_other = *last != now;
                *last = now;
                is_other
            });
            tokio::time::sleep(rest).await;
        }
    };
    stop.run_until_cancelled(looking).await;
}

//! Pauses: brings the partitions' copies up to date, ends pauses whose time is
//! over, and releases operations that no pause holds any more.
//!
//! ```text
//! copies behind the version ─→ written again
//! a pause whose time is over ─→ removed
//! held set not empty, and the pauses have changed ─→ release, 256 at most, a rest,
//!                                                    the next 256, …
//! ```
//!
//! While pauses hold and do not change, there is nothing to release, so the held sets are
//! not looked at. Each is now and then, because a store that has lost its last writes may
//! have other pauses under the same version.
//!
//! A release puts operations into the outbox, and the relay publishes them. The
//! rest behind each step gives other callers of the store their turn.

use std::collections::HashMap;
use std::time::Duration;

use drumline_backend::store::{self, PauseCopy};
use drumline_protocol::{Partition, ScopeKey};
use tokio::time::Instant;

use super::MaintenanceOptions;
use super::task::{Look, Task};
use crate::service::QueueManager;

/// The rest behind a full step: some milliseconds of the store. Steps bound the
/// releases of one manager to some 25,000 in a second, which is more than the
/// relay publishes.
const REST: Duration = Duration::from_millis(5);

/// The time after which a held set is looked at again although the pauses are the same.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The task that looks after pauses.
pub(super) struct KeepPauses {
    batch: usize,
    /// The scope to go on behind, for partitions whose held set was not looked at
    /// to its end.
    places: HashMap<Partition, ScopeKey>,
    /// The version of the pauses at the last look at a held set, if that reached its end,
    /// and the time of the look.
    looked_at: HashMap<Partition, (u64, Instant)>,
}

impl KeepPauses {
    pub(super) fn new(options: &MaintenanceOptions) -> Self {
        Self {
            batch: options.batch,
            places: HashMap::new(),
            looked_at: HashMap::new(),
        }
    }

    /// Returns true if there may be something to release with this version of the pauses.
    fn is_to_be_looked_at(&self, partition: Partition, version: u64) -> bool {
        self.looked_at
            .get(&partition)
            .is_none_or(|(last, at)| *last != version || at.elapsed() >= LOOK_AGAIN)
    }
}

impl Task for KeepPauses {
    const NAME: &'static str = "pauses";

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        let store = manager.store();
        let now = store.now();
        let mut pauses = store.pauses().await?;
        let is_over = pauses.pauses.iter().any(|pause| !pause.is_in_force(now));
        if is_over && store.lift_ended_pauses().await? > 0 {
            pauses = store.pauses().await?;
        }
        manager.metrics().paused(&pauses.pauses);
        manager.note_freeze(&pauses.pauses);
        let copies = store.pause_copies(share).await?;
        let looked_at: Vec<(Partition, PauseCopy)> = share.iter().copied().zip(copies).collect();
        let is_behind = |(_, copy): &&(Partition, PauseCopy)| copy.version < pauses.version;
        let behind = looked_at.iter().filter(is_behind);
        let behind: Vec<Partition> = behind.map(|(partition, _)| *partition).collect();
        if !behind.is_empty() {
            store.copy_pauses(&pauses, &behind).await?;
        }
        let mut held: u64 = looked_at.iter().map(|(_, copy)| copy.held).sum();
        let mut look = Look::Clear;
        for (partition, copy) in looked_at {
            if copy.held == 0 {
                self.places.remove(&partition);
                self.looked_at.remove(&partition);
                continue;
            }
            let version = copy.version.max(pauses.version);
            if !self.is_to_be_looked_at(partition, version) {
                continue;
            }
            let after = self.places.get(&partition).copied();
            let released = store.release_held(partition, after, self.batch).await?;
            held = held.saturating_sub(released.count as u64);
            match released.next {
                Some(next) => self.places.insert(partition, next),
                None => self.places.remove(&partition),
            };
            let is_full = released.count >= self.batch;
            if is_full || released.next.is_some() {
                look = Look::More;
                tokio::time::sleep(REST).await;
            } else {
                self.looked_at.insert(partition, (version, Instant::now()));
            }
        }
        manager.metrics().held(held);
        // A pause may end, and what a pause holds may be released.
        let is_nothing = held == 0 && look == Look::Clear && pauses.pauses.is_empty();
        Ok(if is_nothing {
            Look::Nothing(None)
        } else {
            look
        })
    }
}

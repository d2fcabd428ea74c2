//! Counts operations that were accepted and are lost with the server that had them.
//!
//! A replica that is promoted may not have the last writes of the primary before it, and a
//! server that has restarted may have lost its last second. No server knows what it is
//! missing. A process that has created operations knows which ones it has created a moment
//! before, and looks whether they are there. Operations of processes that have ended, and
//! changes of operations that are there, are not counted.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drumline_backend::store::Result;
use drumline_protocol::OperationId;
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::keys::Keys;
use crate::link::{Life, Link};
use crate::reply;

/// The age up to which creates are looked for, before the last answer of the server that
/// had them: longer than a promotion takes, because a primary that is cut off takes them
/// until it is left. Replicas that are further behind are no use.
const RECENT: Duration = Duration::from_secs(60);
/// The most creates that are remembered, 32 bytes each: half a minute at full speed.
const MOST: usize = 1 << 16;
/// The interval at which the life of the server is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Operations in one question.
const AT_ONCE: usize = 1_000;

/// The creates of this process that were accepted recently.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    // The lock is held for a moment, never across an await.
    recent: Mutex<VecDeque<(Instant, OperationId)>>,
    /// Lost operations since they were last asked for.
    lost: AtomicU64,
}

impl Accepted {
    /// Remembers operations that were just created.
    pub(crate) fn note(&self, ids: impl Iterator<Item = OperationId>) {
        let now = Instant::now();
        let mut recent = self.recent.lock();
        recent.extend(ids.map(|id| (now, id)));
        let excess = recent.len().saturating_sub(MOST);
        recent.drain(..excess);
    }

    /// The number of lost operations since the last call.
    pub(crate) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    /// Forgets what a server that has answered at this moment had for long. An outage of
    /// any length forgets nothing.
    fn forget_old(&self, heard: Instant) {
        let mut recent = self.recent.lock();
        let is_old = |when: &Instant| heard.saturating_duration_since(*when) > RECENT;
        let old = recent.partition_point(|(when, _)| is_old(when));
        recent.drain(..old);
    }

    fn recent(&self) -> Vec<OperationId> {
        let recent = self.recent.lock();
        recent.iter().map(|(_, id)| *id).collect()
    }

    fn forget(&self, ids: &[OperationId]) {
        let gone: HashSet<&OperationId> = ids.iter().collect();
        self.recent.lock().retain(|(_, id)| !gone.contains(id));
    }
}

/// Looks for recent creates whenever another server, or another life of it, is used; for
/// as long as it is polled.
pub(crate) async fn watch(accepted: Arc<Accepted>, link: Link, keys: Keys, mut life: Life) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Ok((now, heard)) = link.life().await else {
            continue;
        };
        if now == life {
            accepted.forget_old(heard);
            continue;
        }
        let recent = accepted.recent();
        match missing(&link, &keys, &recent).await {
            Ok(lost) => {
                if let Some(first) = lost.first() {
                    let (lost, of) = (lost.len(), recent.len());
                    tracing::error!(
                        lost, of, %first,
                        "Redis has lost operations that were accepted within its last minute"
                    );
                }
                let count = u64::try_from(lost.len()).unwrap_or(u64::MAX);
                accepted.lost.fetch_add(count, Ordering::Relaxed);
                // Counted once, also when the next server is another one.
                accepted.forget(&lost);
                life = now;
            }
            Err(error) => tracing::debug!(%error, "recent operations cannot be looked for yet"),
        }
    }
}

/// Those of these operations that are neither there nor were removed.
async fn missing(link: &Link, keys: &Keys, ids: &[OperationId]) -> Result<Vec<OperationId>> {
    let mut missing = Vec::new();
    for some in ids.chunks(AT_ONCE) {
        let mut questions = redis::pipe();
        for id in some {
            let keys = keys
                .partition(id.partition())
                .ok_or_else(reply::unexpected)?;
            let question = questions.cmd("EXISTS");
            question.arg(keys.record(*id)).arg(keys.tombstone(*id));
        }
        let answers = link.run_some("accepted", &questions).await?;
        for (id, answer) in some.iter().zip(answers) {
            // A node that does not answer has another life when it does.
            if let Some(answer) = answer
                && reply::number(answer)? == 0
            {
                missing.push(*id);
            }
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use drumline_backend::Ids;
    use drumline_protocol::{Partition, Timestamp};
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_any_length_forgets_nothing() {
        let accepted = Accepted::default();
        let id = Ids::seeded(1).operation(Timestamp::from_millis(0), Partition::new(0));
        accepted.note(std::iter::once(id));
        advance(RECENT / 2).await;
        let last_answer = Instant::now();
        advance(RECENT * 100).await;
        accepted.forget_old(last_answer);
        assert_eq!(accepted.recent(), [id]);
        // The same server answers again.
        accepted.forget_old(Instant::now());
        assert_eq!(accepted.recent(), []);
    }
}

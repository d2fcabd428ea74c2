//! Relay: dispatch set → broker, for entries whose makers did not get there.
//!
//! A create, a resume or a promotion publishes its own entry at once; what is
//! still there after a second was left behind by a crash, by a broker that was
//! away, or by a dispatcher that had no room.

use std::time::Duration;

use drumline_backend::store;
use drumline_protocol::Partition;
use futures_util::future::join_all;

use super::Rhythm;
use super::chore::{Chore, Look, for_each};
use crate::manager::QueueManager;

/// See the module's text.
pub(super) struct Relay;

impl Chore for Relay {
    const NAME: &'static str = "relay";

    fn rest(rhythm: &Rhythm) -> Duration {
        rhythm.relay
    }

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        if let Err(error) = manager.backend().broker.check() {
            // Not an error of ours, and nothing to be done before it is back.
            manager.metrics().failed(Self::NAME);
            tracing::debug!(%error, "nothing can be relayed now");
            return Ok(Look::Clear);
        }
        let looks = for_each(share, |partition| relay(manager, partition)).await?;
        Ok(if looks.contains(&Look::More) {
            Look::More
        } else {
            Look::Clear
        })
    }
}

async fn relay(manager: &QueueManager, partition: Partition) -> store::Result<Look> {
    let Rhythm {
        relay_age, batch, ..
    } = manager.options().rhythm;
    let left = manager
        .store()
        .undispatched(partition, relay_age, batch)
        .await?;
    let published = left
        .iter()
        .map(|entry| manager.outlet().publish(&entry.operation, entry.stamp));
    let answers = join_all(published).await;
    let taken: Vec<_> = left
        .iter()
        .zip(answers)
        .filter(|(_, answer)| answer.is_ok())
        .map(|(entry, _)| (entry.operation.id, entry.stamp))
        .collect();
    manager.metrics().relayed.inc_by(taken.len() as u64);
    // Now and not when the dispatcher gets to it: the next look may come at
    // once, and would find and publish them again.
    manager.store().dispatched(&taken).await?;
    let is_full = left.len() >= batch;
    Ok(if is_full && taken.len() == left.len() {
        Look::More
    } else {
        Look::Clear
    })
}

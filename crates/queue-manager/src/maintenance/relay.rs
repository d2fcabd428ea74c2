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
    // Wait for the broker before looking again, or we would publish them twice.
    let published = left
        .iter()
        .map(|entry| manager.outlet().publish(&entry.operation, entry.stamp));
    let answers = join_all(published).await;
    let taken = answers.iter().filter(|answer| answer.is_ok()).count();
    manager.metrics().relayed.inc_by(taken as u64);
    let is_full = left.len() >= batch;
    Ok(if is_full && taken == left.len() {
        Look::More
    } else {
        Look::Clear
    })
}

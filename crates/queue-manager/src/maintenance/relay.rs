//! Relay: publishes entries of the outbox that were left there.
//!
//! A create, a resume or a promotion publishes its own entry at once. An entry
//! that is still there after a second was left by a crash, by a broker that was
//! unavailable, or by a dispatcher that had no room. An entry that no queue
//! takes stays, and does not hold up the entries behind it.

use std::collections::HashMap;
use std::time::Duration;

use drumline_backend::store::Stamp;
use drumline_backend::{dispatch, store};
use drumline_protocol::Partition;
use futures_util::future::join_all;

use super::MaintenanceOptions;
use super::task::{Look, Task, for_each};
use crate::service::QueueManager;

/// The relay of one manager.
#[derive(Debug)]
pub(super) struct Relay {
    /// Younger entries are left to the process that made them.
    age: Duration,
    batch: usize,
    /// The entry after which the next look at a partition starts; missing: at its
    /// oldest entry.
    cursors: HashMap<Partition, Stamp>,
}

impl Relay {
    pub(super) fn new(options: &MaintenanceOptions) -> Self {
        Self {
            age: options.relay_age,
            batch: options.batch,
            cursors: HashMap::new(),
        }
    }
}

impl Task for Relay {
    const NAME: &'static str = "relay";

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        if let Err(error) = manager.backend().broker.check() {
            // No error of the manager, which can do nothing before the broker is
            // back.
            manager.metrics().failed(Self::NAME);
            tracing::debug!(%error, "nothing can be relayed now");
            return Ok(Look::Clear);
        }
        let this = &*self;
        let relayed = for_each(share, |partition| async move {
            Ok((partition, this.relay(manager, partition).await?))
        });
        let relayed = relayed.await?;
        self.cursors.clear();
        let mut look = Look::Clear;
        for (partition, relayed) in relayed {
            self.cursors
                .extend(relayed.next.map(|next| (partition, next)));
            if relayed.look == Look::More {
                look = Look::More;
            }
        }
        Ok(look)
    }
}

/// The result of a look at one partition.
struct Relayed {
    look: Look,
    /// The entry after which to go on, if there are more and some was not taken.
    next: Option<Stamp>,
}

impl Relay {
    async fn relay(&self, manager: &QueueManager, partition: Partition) -> store::Result<Relayed> {
        let after = self.cursors.get(&partition).copied();
        let left = manager
            .store()
            .outbox_entries(partition, self.age, after, self.batch)
            .await?;
        let published = left.iter().map(|entry| {
            manager
                .dispatcher()
                .publish(entry.operation.offer(), entry.stamp)
        });
        let answers = join_all(published).await;
        let is_refused = answers.iter().any(|answer| match answer {
            Err(dispatch::Error::Broker(error)) => error.is_of_queue(),
            Err(dispatch::Error::Stopped) | Ok(()) => false,
        });
        let taken: Vec<_> = left
            .iter()
            .zip(answers)
            .filter(|(_, answer)| answer.is_ok())
            .map(|(entry, _)| (entry.operation.id, entry.stamp))
            .collect();
        manager.metrics().relayed.inc_by(taken.len() as u64);
        // At once and not by the dispatcher, lazily: the next look may begin now,
        // and would publish them again.
        manager.store().remove_from_outbox(&taken).await?;
        let is_full = left.len() >= self.batch;
        let all_taken = taken.len() == left.len();
        // Entries that no queue takes must not be all that is ever looked at: the
        // relay goes on behind them, and at the end begins again with the oldest.
        let goes_on = is_refused || (after.is_some() && all_taken);
        let last = left.last().map(|entry| entry.stamp);
        Ok(Relayed {
            look: if is_full && all_taken {
                Look::More
            } else {
                Look::Clear
            },
            next: last.filter(|_| goes_on),
        })
    }
}

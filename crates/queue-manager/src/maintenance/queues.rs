//! Queues that no organization uses any more: deleted in the broker, then forgotten.
//!
//! ```text
//! a use is old ─┬─ others use the queue ────────────────────────→ forgotten
//!               └─ the last ─┬─ workers serve it, or it has messages ─→ kept
//!                            └─ else: the broker deletes its queues ──→ forgotten
//! ```
//!
//! The order matters: a manager that is lost in between leaves the use, and another one
//! deletes again. A create that comes in between loses a hint at most. The next publish
//! declares the queue, and the store offers what was lost once more.

use std::collections::BTreeSet;
use std::time::Duration;

use drumline_backend::Role;
use drumline_backend::store::{self, IdleFate};
use drumline_protocol::{Partition, QueueName, Timestamp};

use super::MaintenanceOptions;
use super::task::{Look, Task};
use crate::service::QueueManager;

/// Uses in one look. Each may ask the broker for some dozen queues.
const AT_ONCE: usize = 16;
/// Between looks: nothing waits for them.
pub(super) const REST: Duration = Duration::from_secs(60);

/// The task that deletes queues. The manager of the first partition does its work.
pub(super) struct UnusedQueues {
    /// The age of a use after which it is old; `None`: none ever is.
    after: Option<Duration>,
}

impl UnusedQueues {
    pub(super) const fn new(options: &MaintenanceOptions) -> Self {
        Self {
            after: options.forget_queues,
        }
    }
}

impl Task for UnusedQueues {
    const NAME: &'static str = "queues";

    async fn look(&mut self, manager: &QueueManager, share: &[Partition]) -> store::Result<Look> {
        let Some(after) = self.after else {
            return Ok(Look::Clear);
        };
        if !share.contains(&Partition::default()) {
            return Ok(Look::Clear);
        }
        let store = manager.store();
        let after_ms = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        let before = store.now().as_millis().saturating_sub(after_ms);
        let before = Timestamp::from_millis(before);
        let idle = store.idle_queues(before, AT_ONCE).await?;
        let mut is_more = idle.len() == AT_ONCE;
        let mut looked_at = BTreeSet::new();
        for one in idle {
            let queue = &one.idle.queue;
            // Of several old uses of a queue one is the last, when the others are gone.
            if !looked_at.insert(queue.clone()) {
                is_more = true;
                continue;
            }
            let fate = if !one.is_last {
                IdleFate::Forget
            } else if is_served(manager, queue).await? {
                IdleFate::Keep
            } else {
                match delete(manager, queue).await {
                    Some(fate) => fate,
                    // The next look asks again.
                    None if manager.backend().broker.check().is_err() => {
                        return Ok(Look::Clear);
                    }
                    // This queue alone cannot be asked, and must not keep the others.
                    None => IdleFate::Keep,
                }
            };
            store.settle_queue(&one.idle, before, fate).await?;
        }
        Ok(if is_more { Look::More } else { Look::Clear })
    }
}

async fn is_served(manager: &QueueManager, queue: &QueueName) -> store::Result<bool> {
    let roster = manager.backend().membership.roster().await?;
    let mut groups = roster.groups().iter();
    Ok(groups
        .any(|group| group.profile.role == Role::Worker && group.profile.queues.contains(queue)))
}

/// Deletes the queues of the broker, unless one is in use. `None` if the broker does not
/// answer.
async fn delete(manager: &QueueManager, queue: &QueueName) -> Option<IdleFate> {
    let broker = &manager.backend().broker;
    let partitions = manager.store().partitions();
    match broker.remove_queue(queue, partitions).await {
        Ok(true) => {
            manager.forget_queue(queue);
            manager.metrics().queues_removed.inc();
            tracing::info!(%queue, "a queue that nobody has used for long is deleted in the broker");
            Some(IdleFate::Forget)
        }
        Ok(false) => Some(IdleFate::Keep),
        Err(error) => {
            tracing::warn!(%queue, %error, "an unused queue could not be deleted");
            None
        }
    }
}

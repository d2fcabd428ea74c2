//! Queues that do not answer while the broker does.
//!
//! A quorum queue without a leader takes messages and never confirms them; so
//! does one whose nodes are away. RabbitMQ even makes such queues: killed
//! within three seconds after it has created one, it forgets the name under
//! which its log is filed, starts it as an empty follower, and waits for an
//! election that nobody calls (rabbitmq-server#10070, #15725).
//!
//! One such lane must not hold up the others. Whoever has waited for it in
//! vain puts it here, and messages for it are answered at once until it has
//! confirmed what it owes us. If it does not for long, we delete it and declare
//! it anew: nothing but hints is lost with it, and those are offered again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::Channel;
use tokio_util::task::TaskTracker;

use crate::confirm::Pending;
use crate::live::Live;
use crate::topology::Target;

/// The suspects of one connection. They are forgotten with it.
#[derive(Debug, Default)]
pub(crate) struct Suspects(Mutex<HashMap<Target, Watched>>);

/// Who looks after a suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    /// Its confirms are waited for.
    Waiting,
    /// It is being made anew.
    Replacing,
}

impl Suspects {
    pub(crate) fn is_empty(&self) -> bool {
        self.targets().is_empty()
    }

    pub(crate) fn contains(&self, target: &Target) -> bool {
        self.targets().contains_key(target)
    }

    pub(crate) fn add(&self, target: &Target) {
        self.targets()
            .entry(target.clone())
            .or_insert(Watched::Waiting);
    }

    fn clear(&self, target: &Target) {
        self.targets().remove(target);
    }

    /// `true` for the one that is to make it anew.
    fn take_over(&self, target: &Target) -> bool {
        self.targets().get_mut(target).is_some_and(|watched| {
            std::mem::replace(watched, Watched::Replacing) == Watched::Waiting
        })
    }

    fn targets(&self) -> MutexGuard<'_, HashMap<Target, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Confirms that are overdue, and the channel that they will come on.
pub(crate) struct Overdue {
    pub(crate) live: Arc<Live>,
    pub(crate) channel: Channel,
    pub(crate) pending: Pending,
    /// The queues that owe them.
    pub(crate) targets: Vec<Target>,
    /// When a queue is taken for lost.
    pub(crate) lost_after: Duration,
}

impl Overdue {
    /// Waits for them in the background.
    pub(crate) fn watch(self, tasks: &TaskTracker) {
        for target in &self.targets {
            self.live.suspects.add(target);
        }
        tasks.spawn(async move {
            let live = Arc::clone(&self.live);
            tokio::select! {
                () = live.ended() => {}
                () = self.wait() => {}
            }
        });
    }

    async fn wait(mut self) {
        let settled = self.pending.settle(self.lost_after).await;
        for target in &self.targets {
            // Where the channel has broken, the next message will tell.
            if let Ok(false) = settled
                && self.live.suspects.take_over(target)
            {
                self.replace(target).await;
            }
            self.live.suspects.clear(target);
        }
        drop(self.channel);
    }

    async fn replace(&self, target: &Target) {
        let waited = self.lost_after;
        tracing::warn!(
            ?target,
            ?waited,
            "a queue does not answer, and is made anew"
        );
        if let Err(error) = self.live.replace(target).await {
            tracing::warn!(?target, %error, "it could not be made anew");
        }
    }
}

//! Confirms that have not come in time. A task waits for them in the background.
//!
//! A queue that was only slow confirms after a while, and works again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::broker::Trouble;
use lapin::Channel;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::confirm::Pending;
use crate::connection::Connection;
use crate::topology::Target;
use crate::unresponsive_queues::UnresponsiveQueues;

/// The interval at which queues are cleared.
const STEP: Duration = Duration::from_secs(1);

/// Confirms that are overdue, and the channel that they will come on.
pub(crate) struct Overdue {
    pub(crate) connection: Arc<Connection>,
    pub(crate) channel: Channel,
    pub(crate) pending: Pending,
    /// The queue of each message of the batch, in order.
    pub(crate) targets: Vec<Target>,
    pub(crate) unresponsive: Arc<UnresponsiveQueues>,
    /// The time after which the confirms are given up.
    pub(crate) given_up_after: Duration,
}

impl Overdue {
    /// Waits for them in the background.
    pub(crate) fn watch(self, tasks: &TaskTracker) {
        tasks.spawn(async move {
            let connection = Arc::clone(&self.connection);
            tokio::select! {
                () = connection.ended() => {}
                () = self.wait() => {}
            }
        });
    }

    async fn wait(mut self) {
        let end = Instant::now() + self.given_up_after;
        let mut owing = self.owing();
        loop {
            let settled = self.pending.settle(STEP).await;
            let still = self.owing();
            for target in owing.difference(&still) {
                self.unresponsive
                    .clear_if(target, |trouble| *trouble == Trouble::Silent);
            }
            owing = still;
            match settled {
                Ok(false) if Instant::now() < end => {}
                // The next message shows the trouble of a channel that has broken.
                Ok(_) | Err(_) => break,
            }
        }
        drop(self.channel);
    }

    /// The queues that have not confirmed everything.
    fn owing(&self) -> HashSet<Target> {
        let verdicts = self.pending.verdicts().into_iter();
        let of_messages = self.targets.iter().zip(verdicts);
        let owing = of_messages.filter(|(_, verdict)| verdict.is_none());
        owing.map(|(target, _)| target.clone()).collect()
    }
}

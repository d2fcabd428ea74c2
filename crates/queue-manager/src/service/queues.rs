//! The queues that organizations use: each may use so many, and an unused one is
//! deleted in the broker ([`maintenance`](crate::maintenance)).
//!
//! A process notes a use in the store once in a while, and remembers it in between: so a
//! create into a queue that is in use costs nothing.

use std::collections::HashMap;
use std::time::Duration;

use drumline_backend::store::QueueUse;
use drumline_protocol::{Body, Organization, QueueName};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::QueueManager;
use crate::error::{Error, Result};

/// The time for which a use that was noted is not noted again. The time after which
/// unused queues are deleted is far longer.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// The uses that are remembered: 200 bytes each. Beyond it all are forgotten, and noted
/// again.
const REMEMBERED: usize = 4_096;

/// The uses that this process has noted lately.
#[derive(Debug, Default)]
pub(crate) struct NotedQueues {
    // The lock is held for a moment, never across an await.
    noted: Mutex<HashMap<QueueUse, Instant>>,
}

impl NotedQueues {
    fn is_fresh(&self, wanted: &QueueUse) -> bool {
        let noted = self.noted.lock();
        noted.get(wanted).is_some_and(|at| at.elapsed() < FRESH)
    }

    fn note(&self, noted: QueueUse) {
        let mut all = self.noted.lock();
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(noted, Instant::now());
    }

    /// Forgets the uses of a queue that was deleted.
    fn forget(&self, queue: &QueueName) {
        self.noted.lock().retain(|noted, _| noted.queue != *queue);
    }
}

impl QueueManager {
    /// Notes that an organization uses a queue.
    ///
    /// # Errors
    /// [`Error::TooManyQueues`] if it uses as many others as it may, and when the store is
    /// unavailable.
    pub(super) async fn enter_queue(
        &self,
        organization: &Organization,
        queue: &QueueName,
    ) -> Result<()> {
        if queue.is_default() {
            return Ok(());
        }
        let wanted = QueueUse::new(organization, queue);
        if self.shared.noted_queues.is_fresh(&wanted) {
            return Ok(());
        }
        let limit = self.options().queues.most();
        if !self.store().use_queue(&wanted, Some(limit)).await? {
            return Err(Error::TooManyQueues {
                queue: queue.clone(),
                limit,
            });
        }
        self.shared.noted_queues.note(wanted);
        Ok(())
    }

    /// Notes that a series uses its queue. It may, whatever the limit is by now, so that the
    /// occurrence is created whatever the store answers.
    pub(crate) async fn keep_queue(&self, body: &Body) {
        let wanted = QueueUse::new(&body.organization, &body.queue);
        if body.queue.is_default() || self.shared.noted_queues.is_fresh(&wanted) {
            return;
        }
        match self.store().use_queue(&wanted, None).await {
            Ok(true) => self.shared.noted_queues.note(wanted),
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "the use of a queue could not be noted"),
        }
    }

    /// Forgets that this process has noted uses of a queue.
    pub(crate) fn forget_queue(&self, queue: &QueueName) {
        self.shared.noted_queues.forget(queue);
    }
}

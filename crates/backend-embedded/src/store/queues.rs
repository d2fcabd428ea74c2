//! The part of the store that is about queues.

use async_trait::async_trait;
use drumline_backend::store::{IdleFate, IdleQueue, QueueStore, QueueUse, Result};
use drumline_protocol::{QueueName, Timestamp};

use super::EmbeddedStore;

#[async_trait]
impl QueueStore for EmbeddedStore {
    async fn use_queue(&self, wanted: &QueueUse, limit: Option<usize>) -> Result<bool> {
        let now = self.clock.now();
        Ok(self.state().use_queue(wanted, limit, now))
    }

    async fn queues(&self, after: Option<&QueueName>, limit: usize) -> Result<Vec<QueueName>> {
        Ok(self.state().queues(after, limit))
    }

    async fn idle_queues(&self, before: Timestamp, limit: usize) -> Result<Vec<IdleQueue>> {
        Ok(self.state().idle_queues(before, limit))
    }

    async fn settle_queue(&self, idle: &QueueUse, before: Timestamp, fate: IdleFate) -> Result<()> {
        let now = self.clock.now();
        self.state().settle_queue(idle, before, fate, now);
        Ok(())
    }
}

//! The part of the store that is about queues.

use async_trait::async_trait;
use drumline_backend::store::{IdleFate, IdleQueue, QueueStore, QueueUse, Result};
use drumline_protocol::{QueueName, Timestamp};

use super::EmbeddedStore;

#[async_trait]
impl QueueStore for EmbeddedStore {
    async fn use_queue(&self, wanted: &QueueUse, limit: Option<usize>) -> Result<bool> {
        let answer = self.answer(|state, now| state.use_queue(wanted, limit, now));
        answer.written().await
    }

    async fn queues(&self, after: Option<&QueueName>, limit: usize) -> Result<Vec<QueueName>> {
        self.answer(|state, _| state.queues(after, limit))
            .written()
            .await
    }

    async fn idle_queues(&self, before: Timestamp, limit: usize) -> Result<Vec<IdleQueue>> {
        Ok(self.state().idle_queues(before, limit))
    }

    async fn settle_queue(&self, idle: &QueueUse, before: Timestamp, fate: IdleFate) -> Result<()> {
        let done = self.answer(|state, now| state.settle_queue(idle, before, fate, now));
        done.written().await
    }
}

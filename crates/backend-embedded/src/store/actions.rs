//! The part of the store that is about actions on many operations.

use async_trait::async_trait;
use drumline_backend::store::{ActionStore, ActionWrite, OpenAction, Result};
use drumline_protocol::{ActionId, BulkAction, Organization, Timestamp};

use super::EmbeddedStore;
use crate::roundtrip::through_codec;

#[async_trait]
impl ActionStore for EmbeddedStore {
    async fn put_action(&self, action: &BulkAction) -> Result<ActionWrite> {
        let action = through_codec(action)?;
        let answer = self.answer(|state, _| state.put_action(action));
        answer.written().await
    }

    async fn action(&self, id: ActionId) -> Result<Option<BulkAction>> {
        self.answer(|state, _| state.action(id)).written().await
    }

    async fn actions(
        &self,
        organization: &Organization,
        before: Option<ActionId>,
        limit: usize,
    ) -> Result<Vec<BulkAction>> {
        let actions = self.answer(|state, _| state.actions(organization, before, limit));
        actions.written().await
    }

    async fn open_actions(&self, limit: usize) -> Result<Vec<OpenAction>> {
        Ok(self.state().open_actions(limit))
    }

    async fn remove_actions(&self, before: Timestamp) -> Result<usize> {
        let count = self.answer(|state, _| state.remove_actions(before));
        count.written().await
    }
}

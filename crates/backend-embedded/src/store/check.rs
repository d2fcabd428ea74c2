//! The check, over the [`State`](crate::state::State).

use async_trait::async_trait;
use drumline_backend::store::{CheckPage, CheckStep, CheckStore, Result};

use super::EmbeddedStore;

#[async_trait]
impl CheckStore for EmbeddedStore {
    async fn check_step(&self, step: &CheckStep) -> Result<CheckPage> {
        let page = self.answer(|state, now| state.check_step(step, now));
        page.written().await
    }
}

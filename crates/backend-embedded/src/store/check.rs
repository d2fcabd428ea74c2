//! The check, over the [`State`](crate::state::State).

use async_trait::async_trait;
use drumline_backend::store::{CheckPage, CheckStep, CheckStore, Result};

use super::EmbeddedStore;

#[async_trait]
impl CheckStore for EmbeddedStore {
    async fn check_step(&self, step: &CheckStep) -> Result<CheckPage> {
        Ok(self.state().check_step(step, self.clock.now()))
    }
}

//! The part of the store that is about imports.

use async_trait::async_trait;
use drumline_backend::store::{Import, ImportStore, Result};

use super::EmbeddedStore;

#[async_trait]
impl ImportStore for EmbeddedStore {
    async fn note_import(&self, import: &Import) -> Result<()> {
        let noted = self.answer(|state, _| state.note_import(import));
        noted.written().await
    }

    async fn imports(&self) -> Result<Vec<Import>> {
        self.answer(|state, _| state.imports()).written().await
    }
}

//! Usage, over the [`State`](crate::state::State).

use async_trait::async_trait;
use drumline_backend::store::{Result, Usage, UsageStore};
use drumline_protocol::{ChainKey, Organization, Partition};

use super::EmbeddedStore;

#[async_trait]
impl UsageStore for EmbeddedStore {
    async fn usage(&self, organization: &Organization) -> Result<Usage> {
        let usage = self.answer(|state, now| state.usage(organization, now));
        usage.written().await
    }

    async fn chain_lengths(&self, chains: &[ChainKey]) -> Result<Vec<u64>> {
        let state = self.state();
        Ok(chains.iter().map(|key| state.chain_length(*key)).collect())
    }

    async fn completed_bytes(&self, partitions: &[Partition]) -> Result<Vec<u64>> {
        let state = self.state();
        let bytes = partitions.iter().map(|one| state.completed_bytes(*one));
        Ok(bytes.collect())
    }
}

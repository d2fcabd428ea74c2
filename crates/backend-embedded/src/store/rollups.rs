//! The part of the store that is about rollups and failure groups.

use async_trait::async_trait;
use drumline_backend::store::{
    FailureBatch, FailureGroup, Resolution, Result, Rollup, RollupBatch, RollupKey, RollupStore,
};
use drumline_protocol::{Organization, Timestamp};

use super::EmbeddedStore;

#[async_trait]
impl RollupStore for EmbeddedStore {
    async fn add_rollup(&self, batch: &RollupBatch) -> Result<()> {
        let now = self.clock.now();
        self.rollups.lock().add_rollup(batch, now);
        Ok(())
    }

    async fn rollup_keys(&self, since: Timestamp, until: Timestamp) -> Result<Vec<RollupKey>> {
        Ok(self.rollups.lock().keys(since, until))
    }

    async fn rollups(
        &self,
        keys: &[RollupKey],
        resolution: Resolution,
        first: u64,
        count: u64,
    ) -> Result<Vec<Vec<Rollup>>> {
        let (now, rollups) = (self.clock.now(), self.rollups.lock());
        let slots = first..first.saturating_add(count);
        Ok(slots
            .map(|slot| rollups.slot(keys, resolution, slot, now))
            .collect())
    }

    async fn add_failures(&self, batch: &FailureBatch) -> Result<()> {
        let now = self.clock.now();
        self.rollups.lock().add_failures(batch, now);
        Ok(())
    }

    async fn failure_groups(
        &self,
        organization: &Organization,
        limit: usize,
    ) -> Result<Vec<FailureGroup>> {
        Ok(self.rollups.lock().failure_groups(organization, limit))
    }
}

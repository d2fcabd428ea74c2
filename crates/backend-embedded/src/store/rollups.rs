//! The part of the store that is about rollups and failure groups.

use async_trait::async_trait;
use drumline_backend::store::{
    FailureBatch, FailureGroup, FailureHours, Resolution, Result, Rollup, RollupBatch, RollupKey,
    RollupStore,
};
use drumline_protocol::{FailureKey, Mute, Organization, Timestamp};

use super::EmbeddedStore;

#[async_trait]
impl RollupStore for EmbeddedStore {
    async fn add_rollup(&self, batch: &RollupBatch) -> Result<()> {
        let done = self.answer_rollups(|rollups, now| rollups.add_rollup(batch, now));
        done.written().await
    }

    async fn rollup_keys(&self, since: Timestamp, until: Timestamp) -> Result<Vec<RollupKey>> {
        let keys = self.answer_rollups(|rollups, _| rollups.keys(since, until));
        keys.written().await
    }

    async fn rollups(
        &self,
        keys: &[RollupKey],
        resolution: Resolution,
        first: u64,
        count: u64,
    ) -> Result<Vec<Vec<Rollup>>> {
        let counts = self.answer_rollups(|rollups, now| {
            let slots = first..first.saturating_add(count);
            let counts = slots.map(|slot| rollups.slot(keys, resolution, slot, now));
            counts.collect()
        });
        counts.written().await
    }

    async fn add_failures(&self, batch: &FailureBatch) -> Result<()> {
        let done = self.answer_rollups(|rollups, now| rollups.add_failures(batch, now));
        done.written().await
    }

    async fn failure_groups(
        &self,
        organization: &Organization,
        limit: usize,
    ) -> Result<Vec<FailureGroup>> {
        let groups = self.answer_rollups(|rollups, _| rollups.failure_groups(organization, limit));
        groups.written().await
    }

    async fn failure_hours(
        &self,
        organization: &Organization,
        keys: &[FailureKey],
        last: u64,
    ) -> Result<Vec<FailureHours>> {
        let hours = self.answer_rollups(|rollups, _| rollups.hours(organization, keys, last));
        hours.written().await
    }

    async fn failure_group(
        &self,
        organization: &Organization,
        key: FailureKey,
    ) -> Result<Option<FailureGroup>> {
        let group = self.answer_rollups(|rollups, _| rollups.failure_group(organization, key));
        group.written().await
    }

    async fn mutes(
        &self,
        organization: &Organization,
        keys: &[FailureKey],
    ) -> Result<Vec<Option<Mute>>> {
        let mutes = self.answer_rollups(|rollups, _| rollups.mutes(organization, keys));
        mutes.written().await
    }

    async fn mute(&self, organization: &Organization, key: FailureKey, mute: &Mute) -> Result<()> {
        let done = self.answer_rollups(|rollups, _| rollups.mute(organization, key, mute));
        done.written().await
    }

    async fn unmute(&self, organization: &Organization, key: FailureKey) -> Result<bool> {
        let was_muted = self.answer_rollups(|rollups, _| rollups.unmute(organization, key));
        was_muted.written().await
    }
}

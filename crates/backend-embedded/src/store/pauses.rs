//! The part of the store that is about pauses.

use async_trait::async_trait;
use drumline_backend::store::{PauseCopy, PauseStore, Pauses, Released, Result};
use drumline_protocol::{Partition, Pause, ScopeKey};

use super::EmbeddedStore;
use crate::roundtrip::through_codec;

#[async_trait]
impl PauseStore for EmbeddedStore {
    async fn pauses(&self) -> Result<Pauses> {
        Ok(self.state().pauses())
    }

    async fn set_pause(&self, pause: &Pause) -> Result<()> {
        let pause = through_codec(pause)?;
        self.state().set_pause(pause);
        Ok(())
    }

    async fn lift_pause(&self, key: ScopeKey) -> Result<bool> {
        Ok(self.state().lift_pause(key))
    }

    async fn lift_ended_pauses(&self) -> Result<usize> {
        let now = self.clock.now();
        Ok(self.state().lift_ended_pauses(now))
    }

    async fn copy_pauses(&self, pauses: &Pauses, partitions: &[Partition]) -> Result<()> {
        let mut state = self.state();
        for partition in partitions {
            state.copy_pauses(pauses, *partition);
        }
        Ok(())
    }

    async fn pause_copies(&self, partitions: &[Partition]) -> Result<Vec<PauseCopy>> {
        let state = self.state();
        let copies = partitions
            .iter()
            .map(|partition| state.pause_copy(*partition));
        Ok(copies.collect())
    }

    async fn release_held(
        &self,
        partition: Partition,
        after: Option<ScopeKey>,
        limit: usize,
    ) -> Result<Released> {
        let now = self.clock.now();
        let mut state = self.state();
        Ok(state.release_held(partition, after, limit, now))
    }
}

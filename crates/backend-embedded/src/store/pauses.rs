//! The part of the store that is about pauses.

use async_trait::async_trait;
use drumline_backend::store::{PauseCopy, PauseStore, Pauses, Released, Result};
use drumline_protocol::{Partition, Pause, ScopeKey};

use super::EmbeddedStore;
use crate::roundtrip::through_codec;
use crate::state::State;

#[async_trait]
impl PauseStore for EmbeddedStore {
    async fn pauses(&self) -> Result<Pauses> {
        self.answer(|state, _| state.pauses()).written().await
    }

    async fn set_pause(&self, pause: &Pause) -> Result<()> {
        let pause = through_codec(pause)?;
        self.change(|state, _| state.set_pause(pause))
            .written()
            .await
    }

    async fn lift_pause(&self, key: ScopeKey) -> Result<bool> {
        self.change(|state, _| state.lift_pause(key))
            .written()
            .await
    }

    async fn lift_ended_pauses(&self) -> Result<usize> {
        let count = self.answer(State::lift_ended_pauses);
        count.written().await
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
        let released = self.change(|state, now| state.release_held(partition, after, limit, now));
        released.written().await
    }
}

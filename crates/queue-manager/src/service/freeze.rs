//! Freeze and thaw: the pause of everything, in all organizations.
//!
//! A freeze is a pause like others, so every worker is bound by it, it outlives
//! restarts and is in a snapshot of the store, and a thaw releases what it held step by
//! step. It is of no organization, so its own addresses set and lift it.

use drumline_api::pause::Freeze;
use drumline_protocol::{Pause, PauseScope};

use super::{Actor, QueueManager};
use crate::error::{Error, Result};

impl QueueManager {
    /// Keeps every operation of every organization from starting. What runs goes on;
    /// reads, creates and control go on. Returns the pause, and true if there was
    /// none. It is in force everywhere when this returns.
    ///
    /// If the future is dropped, or the store fails, the freeze may be in force in
    /// some partitions or in all; maintenance completes it. May be repeated.
    ///
    /// # Errors
    /// - [`Error::Invalid`] when the time is over.
    /// - When the store is unavailable.
    pub async fn freeze(&self, actor: &Actor, request: Freeze) -> Result<(Pause, bool)> {
        let Freeze { reason, until } = request;
        let set = self
            .put_pause(actor, PauseScope::everything(), reason, until)
            .await?;
        self.note_freeze(std::slice::from_ref(&set.0));
        Ok(set)
    }

    /// Ends the freeze. Operations that it held are offered again, step by step.
    ///
    /// # Errors
    /// - [`Error::NotFrozen`] when there is none.
    /// - When the store is unavailable: it may be ended already.
    pub async fn thaw(&self) -> Result<()> {
        if self.freeze_in_force().await?.is_none() {
            return Err(Error::NotFrozen);
        }
        self.store()
            .lift_pause(PauseScope::everything().key())
            .await?;
        self.spread_pauses().await?;
        self.note_freeze(&[]);
        tracing::info!("the service is thawed");
        Ok(())
    }

    /// The freeze, if it is in force.
    async fn freeze_in_force(&self) -> Result<Option<Pause>> {
        let now = self.store().now();
        let pauses = self.store().pauses().await?.pauses.into_iter();
        let mut freezes = pauses.filter(|pause| pause.scope.is_everything());
        Ok(freezes.find(|pause| pause.is_in_force(now)))
    }

    /// Notes the pauses that were read, for those who ask whether the service is
    /// frozen.
    pub(crate) fn note_freeze(&self, pauses: &[Pause]) {
        let now = self.store().now();
        let freeze = pauses
            .iter()
            .find(|pause| pause.scope.is_everything() && pause.is_in_force(now));
        *self.shared.frozen.lock() = freeze.cloned();
    }

    /// The freeze, as it was when this manager has looked last: some seconds ago.
    pub(crate) fn known_freeze(&self) -> Option<Pause> {
        let now = self.store().now();
        let frozen = self.shared.frozen.lock().clone();
        frozen.filter(|freeze| freeze.is_in_force(now))
    }
}

//! Workers as people control them: one is asked to take nothing new.
//!
//! ```text
//! drain ─→ membership: a request beside the member ─→ its next beat ─→ the worker closes
//!          its subscriptions, says that it drains, and runs what it has
//! ```
//!
//! The request ends with the life of the process: a worker that is started again takes
//! work.

use drumline_backend::membership::{Member, all_members};
use drumline_backend::{MemberId, Role};

use super::QueueManager;
use crate::error::{Error, Result};

impl QueueManager {
    /// Asks a live worker to take nothing new, and returns it as it was then. It hears of
    /// that within some seconds, and runs what it has to its end. May be repeated.
    ///
    /// # Errors
    /// - [`Error::NoWorker`] when there is no live worker with this id.
    /// - When the store is unavailable: the worker may have been asked.
    pub async fn drain_worker(&self, id: MemberId) -> Result<Member> {
        let members = all_members(&*self.backend().membership).await?;
        let is_it = |member: &Member| member.id == id && member.profile.role == Role::Worker;
        let worker = members.into_iter().find(is_it);
        let worker = worker.ok_or_else(|| no_worker(id))?;
        if !self.backend().membership.ask_to_drain(id).await? {
            // It has left in between.
            return Err(no_worker(id));
        }
        tracing::info!(%id, host = worker.host, "a worker is asked to drain");
        Ok(worker)
    }
}

fn no_worker(id: MemberId) -> Error {
    Error::NoWorker { id: id.to_string() }
}

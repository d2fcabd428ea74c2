//! The ports through which Drumline reaches the world: a [`Store`] that
//! decides, a [`Broker`] that delivers, a [`Membership`] that lists the live
//! members, and a [`Limiter`] that bounds how much each caller asks for. Where
//! the broker's product can, there is also an [`Intake`] for requests that come
//! as messages.
//!
//! Services name these traits and never a product; adapters implement them and
//! never name a service. Parts that can be built on the ports alone stand here
//! too, and are the same over every backend: [`apply_event`] (apply a transition
//! and commit it, again after a conflict), [`batcher`] (many callers, few round
//! trips), [`dispatch`] (outbox → broker), [`bypass`] (a way round queues that do
//! not work), [`critical`] (tasks that a process cannot do without), [`tally`] (what a
//! process does, counted) and
//! [`rendezvous`] (the member that looks after a thing).

pub mod apply_event;
pub mod baseline;
pub mod batcher;
pub mod broker;
pub mod bypass;
pub mod critical;
pub mod dispatch;
pub mod formats;
pub mod ids;
pub mod intake;
pub mod limiter;
mod member_id;
pub mod membership;
pub mod random;
pub mod rendezvous;
mod roster;
pub mod store;
pub mod tally;

use std::sync::Arc;

pub use broker::Broker;
pub use critical::{CriticalTasks, TaskFailure};
pub use ids::Ids;
pub use intake::Intake;
pub use limiter::Limiter;
pub use membership::{Build, Member, MemberId, Membership, Profile, Role, Roster};
pub use random::Random;
pub use store::Store;
pub use tally::Tally;

/// A backend: one of each port.
#[derive(Clone)]
pub struct Backend {
    /// Decides.
    pub store: Arc<dyn Store>,
    /// Delivers.
    pub broker: Arc<dyn Broker>,
    /// Lists the live members.
    pub membership: Arc<dyn Membership>,
    /// Counts how much each caller asks for.
    pub limiter: Arc<dyn Limiter>,
    /// The tasks of the adapters. Their failure concerns everything that uses the
    /// backend.
    pub critical: CriticalTasks,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").finish_non_exhaustive()
    }
}

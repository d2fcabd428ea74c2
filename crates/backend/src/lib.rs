//! What Drumline needs from the world, as ports: a [`Store`] that decides, a
//! [`Broker`] that delivers, a [`Membership`] that says who is alive, a
//! [`Limiter`] that says who asks for too much; and, where
//! the broker's product can, an [`Intake`] for requests that come as messages.
//!
//! Services name these traits and never a product; adapters implement them and
//! never name a service. What can be built on the ports alone stands here too,
//! and is the same over every backend: [`decide`] (apply a transition and
//! commit it, again if somebody was faster), [`dispatch`] (dispatch set →
//! broker), [`bypass`] (a way round queues that do not work) and
//! [`rendezvous`] (who looks after what).

pub mod broker;
pub mod bypass;
pub mod decide;
pub mod dispatch;
pub mod gather;
pub mod ids;
pub mod intake;
pub mod limiter;
pub mod membership;
pub mod rendezvous;
pub mod store;

use std::sync::Arc;

pub use broker::Broker;
pub use ids::Ids;
pub use intake::Intake;
pub use limiter::Limiter;
pub use membership::{Member, MemberId, Membership, Role};
pub use store::Store;

/// A backend: one of each port.
#[derive(Clone)]
pub struct Backend {
    /// Decides.
    pub store: Arc<dyn Store>,
    /// Delivers.
    pub broker: Arc<dyn Broker>,
    /// Knows who is alive.
    pub membership: Arc<dyn Membership>,
    /// Counts who asks for how much.
    pub limiter: Arc<dyn Limiter>,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").finish_non_exhaustive()
    }
}

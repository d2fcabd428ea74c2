//! Drumline's ports in one process, with nothing to install: for a laptop, for
//! tests, and as the reference that the other backends are compared with.
//!
//! [`state`] is the whole store as a plain value: no clock, no lock, no await,
//! so that a model check can copy it and walk through all its futures.
//! [`EmbeddedStore`] puts a mutex and a clock around that value.
//! [`Durable`] keeps it on a disk, too.
//! [`EmbeddedBroker`] keeps queues in memory.
//!
//! The backend that [`backend`] makes does not survive its process. A program that starts
//! it says so to the user.

pub mod broker;
pub mod clock;
mod durable;
pub mod limiter;
pub mod membership;
mod rollups;
mod roundtrip;
pub mod state;
pub mod store;

use std::sync::Arc;

use drumline_backend::{Backend, CriticalTasks, Random};
use drumline_protocol::PartitionCount;

pub use broker::EmbeddedBroker;
pub use clock::{Clock, ManualClock, SystemClock, TokioClock};
pub use durable::{BackupFile, BackupSummary, Durable, Error};
pub use limiter::EmbeddedLimiter;
pub use membership::EmbeddedMembership;
pub use state::State;
pub use store::EmbeddedStore;

/// Makes a fresh, empty backend that goes by the system's clock. Clones share
/// their content, as processes on the same servers would.
#[must_use]
pub fn backend(partitions: PartitionCount) -> Backend {
    backend_with_clock(partitions, Arc::new(SystemClock))
}

/// Makes a fresh, empty backend that goes by `clock`.
#[must_use]
pub fn backend_with_clock(partitions: PartitionCount, clock: Arc<dyn Clock>) -> Backend {
    backend_with(partitions, clock, &Random::from_entropy())
}

/// Makes a fresh, empty backend that goes by `clock` and draws from `random`:
/// for simulations, whose runs can be repeated.
#[must_use]
pub fn backend_with(partitions: PartitionCount, clock: Arc<dyn Clock>, random: &Random) -> Backend {
    let incarnation = random.uuid().to_string();
    Backend {
        store: Arc::new(EmbeddedStore::named(
            partitions,
            Arc::clone(&clock),
            incarnation,
        )),
        broker: Arc::new(EmbeddedBroker::new()),
        membership: Arc::new(EmbeddedMembership::new(Arc::clone(&clock))),
        limiter: Arc::new(EmbeddedLimiter::new(clock)),
        critical: CriticalTasks::default(),
    }
}

//! The harness through which a suite uses an adapter.
//!
//! A harness is made once per case and stands for one set of data that is
//! empty at first (a fresh namespace on a shared server will do). Each
//! `connect` stands for one more process that works on that data.
//!
//! A case that cannot connect has failed, so `connect` panics instead of
//! returning an error.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::{Broker, Limiter, Membership, Store};

/// A store of at least 4 partitions.
#[async_trait]
pub trait StoreHarness: Send + Sync {
    /// One more process's store.
    async fn connect(&self) -> Arc<dyn Store>;
}

/// A store that survives the end of its process.
#[async_trait]
pub trait RestartHarness: StoreHarness {
    /// Ends the process, and starts the next one, whose clock is set back by so much.
    /// From then on, [`StoreHarness::connect`] gives the store of the next one.
    async fn restart(&self, back: Duration);
}

/// A broker.
#[async_trait]
pub trait BrokerHarness: Send + Sync {
    /// One more process's broker.
    async fn connect(&self) -> Arc<dyn Broker>;

    /// Returns false if what a consumer gives back may come behind what it has not had.
    fn gives_back_in_order(&self) -> bool {
        true
    }
}

/// A limiter.
#[async_trait]
pub trait LimiterHarness: Send + Sync {
    /// One more process's limiter.
    async fn connect(&self) -> Arc<dyn Limiter>;
}

/// A membership.
#[async_trait]
pub trait MembershipHarness: Send + Sync {
    /// One more process's membership.
    async fn connect(&self) -> Arc<dyn Membership>;
}

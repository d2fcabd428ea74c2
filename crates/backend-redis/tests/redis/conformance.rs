//! Store, membership and limiter on Redis do what every backend must do.

use std::sync::Arc;

use async_trait::async_trait;
use drumline_backend::{Limiter, Membership, Store};
use drumline_backend_redis::{Options, RedisLimiter, RedisMembership, RedisStore};
use drumline_conformance::{LimiterHarness, MembershipHarness, StoreHarness};

use crate::common;

drumline_conformance::store_suite!(harness);
drumline_conformance::membership_suite!(harness);
drumline_conformance::limiter_suite!(harness);

/// A namespace; each `connect` is one more process that works in it.
pub(crate) struct Namespace(pub(crate) Options);

async fn harness() -> Namespace {
    Namespace(common::options().await)
}

#[async_trait]
impl StoreHarness for Namespace {
    async fn connect(&self) -> Arc<dyn Store> {
        Arc::new(RedisStore::connect(&self.0).await.expect("connect"))
    }
}

#[async_trait]
impl MembershipHarness for Namespace {
    async fn connect(&self) -> Arc<dyn Membership> {
        let store = RedisStore::connect(&self.0).await.expect("connect");
        Arc::new(RedisMembership::new(&store))
    }
}

#[async_trait]
impl LimiterHarness for Namespace {
    async fn connect(&self) -> Arc<dyn Limiter> {
        let store = RedisStore::connect(&self.0).await.expect("connect");
        Arc::new(RedisLimiter::new(&store))
    }
}

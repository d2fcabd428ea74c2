//! The store and the membership on Redis do what every backend must do.

use std::sync::Arc;

use async_trait::async_trait;
use drumline_backend::{Membership, Store};
use drumline_backend_redis::{Options, RedisMembership, RedisStore};
use drumline_conformance::{MembershipHarness, StoreHarness};

use crate::common;

drumline_conformance::store_suite!(harness);
drumline_conformance::membership_suite!(harness);

/// A namespace; each `connect` is one more process that works in it.
struct Namespace(Options);

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

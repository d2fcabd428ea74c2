//! The conformance suites on the embedded backend.

use std::sync::Arc;

use async_trait::async_trait;
use drumline_backend::{Backend, Broker, Limiter, Membership, Store};
use drumline_conformance::{BrokerHarness, LimiterHarness, MembershipHarness, StoreHarness};
use drumline_protocol::PartitionCount;

drumline_conformance::store_suite!(harness);
drumline_conformance::broker_suite!(harness);
drumline_conformance::membership_suite!(harness);
drumline_conformance::limiter_suite!(harness);

struct Embedded(Backend);

async fn harness() -> Embedded {
    let partitions = PartitionCount::new(8).expect("between 1 and 4096");
    Embedded(drumline_backend_embedded::backend(partitions))
}

#[async_trait]
impl StoreHarness for Embedded {
    async fn connect(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0.store)
    }
}

#[async_trait]
impl BrokerHarness for Embedded {
    async fn connect(&self) -> Arc<dyn Broker> {
        Arc::clone(&self.0.broker)
    }
}

#[async_trait]
impl MembershipHarness for Embedded {
    async fn connect(&self) -> Arc<dyn Membership> {
        Arc::clone(&self.0.membership)
    }
}

#[async_trait]
impl LimiterHarness for Embedded {
    async fn connect(&self) -> Arc<dyn Limiter> {
        Arc::clone(&self.0.limiter)
    }
}

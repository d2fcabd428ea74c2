//! Store, membership and limiter on a Redis Cluster do what every backend must do.

use drumline_test_servers::redis_cluster_url;

use crate::common;
use crate::conformance::Namespace;

drumline_conformance::store_suite!(harness);
drumline_conformance::membership_suite!(harness);
drumline_conformance::limiter_suite!(harness);

async fn harness() -> Namespace {
    let url = redis_cluster_url().await.expect("a Redis Cluster");
    Namespace(common::options_on(&url))
}

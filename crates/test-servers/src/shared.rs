//! Servers for tests that need any server, not a server of their own.
//!
//! `make test` starts one of each for the whole run and names it in the
//! environment; namespaces keep the tests apart. A test that is run by itself
//! gets those of its process's own, which the reaper ends with the process.

use tokio::sync::OnceCell;

use crate::{RabbitServer, RedisCluster, RedisServer};

/// Names the Redis of the whole test run.
pub const REDIS_URL: &str = "DRUMLINE_TEST_REDIS_URL";
/// Names the Redis Cluster of the whole test run.
pub const REDIS_CLUSTER_URL: &str = "DRUMLINE_TEST_REDIS_CLUSTER_URL";
/// Names the RabbitMQ of the whole test run.
pub const AMQP_URL: &str = "DRUMLINE_TEST_AMQP_URL";

// One per process, so that the tests of one binary share them too.
static REDIS: OnceCell<RedisServer> = OnceCell::const_new();
static REDIS_CLUSTER: OnceCell<RedisCluster> = OnceCell::const_new();
static RABBIT: OnceCell<RabbitServer> = OnceCell::const_new();

/// The URL of a Redis that other tests use too: do not stop or empty it.
///
/// # Errors
/// When none is named in the environment and none can be started.
pub async fn redis_url() -> anyhow::Result<String> {
    match named(REDIS_URL) {
        Some(url) => Ok(url),
        None => Ok(REDIS.get_or_try_init(RedisServer::start).await?.url()),
    }
}

/// The URL of a Redis Cluster of three primaries that other tests use too: do not stop or
/// empty it.
///
/// # Errors
/// When none is named in the environment and none can be started.
pub async fn redis_cluster_url() -> anyhow::Result<String> {
    match named(REDIS_CLUSTER_URL) {
        Some(url) => Ok(url),
        None => {
            let start = RedisCluster::start_primaries;
            Ok(REDIS_CLUSTER.get_or_try_init(start).await?.url())
        }
    }
}

/// The URL of a RabbitMQ that other tests use too: do not stop or block it.
///
/// # Errors
/// When none is named in the environment and none can be started.
pub async fn amqp_url() -> anyhow::Result<String> {
    match named(AMQP_URL) {
        Some(url) => Ok(url),
        None => Ok(RABBIT.get_or_try_init(RabbitServer::start).await?.url()),
    }
}

/// The value of a variable of the environment, if it is set and not empty.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where tests read the environment"
)]
pub(crate) fn named(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|url| !url.is_empty())
}

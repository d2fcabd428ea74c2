//! Redis and RabbitMQ: the settings in the adapters' types, and the failures of
//! connecting in the program's.

use std::sync::Arc;

use drumline_backend::{Membership, Store};
use drumline_backend_redis::{RedisMembership, RedisStore};
use drumline_process::{Servers, masked};
use drumline_protocol::PartitionCount;

use crate::cli::service::{self as cli, ServerConnection};
use crate::exit::{Exit, Failure, Result};

/// Waits until both servers are up. Cancel-safe.
///
/// # Errors
/// When a server stays unavailable, or must not be used.
pub(crate) async fn connect(connection: &ServerConnection, purpose: &str) -> Result<Servers> {
    let ServerConnection {
        servers,
        partitions,
        start_patience,
    } = connection;
    let redis = redis_options(servers, *partitions)?;
    let rabbitmq = rabbit_options(servers, purpose)?;
    let urls = [masked(&servers.redis_url), masked(&servers.amqp_url)];
    let connecting = Servers::connect(
        redis,
        rabbitmq,
        urls.each_ref().map(String::as_str),
        *start_patience,
    );
    connecting.await.map_err(|error| {
        let (exit, what) = match error.waited {
            Some(waited) => {
                let waited = humantime::format_duration(waited);
                (Exit::Unavailable, format!("was unavailable for {waited}"))
            }
            None => (Exit::Usage, "cannot be used".to_owned()),
        };
        let text = format!("{error} {what}");
        Failure::caused(exit, anyhow::Error::from_boxed(error.source).context(text))
    })
}

/// The store of a namespace and its members, if there is a store: none is made.
///
/// # Errors
/// When Redis is unavailable, or must not be used.
pub(crate) async fn existing_store(
    servers: &cli::Servers,
) -> anyhow::Result<Option<(Arc<dyn Store>, Arc<dyn Membership>)>> {
    let Some(store) = existing_redis_store(servers).await? else {
        return Ok(None);
    };
    let membership = RedisMembership::new(&store);
    Ok(Some((Arc::new(store), Arc::new(membership))))
}

/// The store of a namespace. One that does not exist is made, with this number of
/// partitions.
///
/// # Errors
/// When Redis is unavailable, or must not be used.
pub(crate) async fn redis_store_with(
    servers: &cli::Servers,
    partitions: u16,
) -> Result<RedisStore> {
    let options = redis_options(servers, partitions)?;
    let store = RedisStore::connect(&options).await;
    store.map_err(|error| Failure::caused(Exit::Unavailable, error))
}

/// The store of a namespace, if there is one: none is made.
///
/// # Errors
/// When Redis is unavailable, or must not be used.
pub(crate) async fn existing_redis_store(
    servers: &cli::Servers,
) -> anyhow::Result<Option<RedisStore>> {
    let options = redis_options(servers, 1).map_err(|failure| failure.error)?;
    if !drumline_backend_redis::store_exists(&options).await? {
        return Ok(None);
    }
    Ok(Some(RedisStore::connect(&options).await?))
}

/// The settings in the store's type.
pub(crate) fn redis_options(
    servers: &cli::Servers,
    partitions: u16,
) -> Result<drumline_backend_redis::Options> {
    let partitions = PartitionCount::new(partitions)
        .ok_or_else(|| Failure::new(Exit::Usage, "--partitions: expected 1 to 4096"))?;
    Ok(drumline_backend_redis::Options {
        url: servers.redis_url.clone(),
        encryption: servers.redis_tls.encryption(),
        namespace: servers.namespace.clone(),
        partitions,
        wait_replicas: servers.redis_wait_replicas,
        ..Default::default()
    })
}

/// The settings in the broker's type.
pub(crate) fn rabbit_options(
    servers: &cli::Servers,
    purpose: &str,
) -> Result<drumline_backend_rabbitmq::Options> {
    let usage = |error: drumline_backend_rabbitmq::Error| Failure::caused(Exit::Usage, error);
    let mut options =
        drumline_backend_rabbitmq::Options::new(servers.amqp_url.parse().map_err(usage)?);
    options.encryption = servers.amqp_tls.encryption();
    options.namespace = servers.namespace.parse().map_err(usage)?;
    options.connection_name = format!("drumline {purpose} {}", drumline_process::host_id());
    Ok(options)
}

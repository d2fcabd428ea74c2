//! The targets of the bench: servers and a namespace of its own on them, or the
//! embedded backend.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend_rabbitmq::{self as rabbitmq, RabbitBaseline};
use drumline_backend_redis::{self as redis, RedisBaseline};
use drumline_bench::{BackendHandle, Baseline, Target, TargetServers};
use drumline_protocol::{PartitionCount, QueueName};

use super::{Connected, servers};
use crate::cli::service::{ServerConnection, Servers};
use crate::cli::tools::Bench;
use crate::exit::Failure;

/// The target that the flags choose.
///
/// # Errors
/// When a server is unavailable.
pub(crate) async fn prepare(bench: &Bench) -> anyhow::Result<Box<dyn Target>> {
    Ok(if bench.embedded {
        Box::new(Embedded(Mutex::new(Connected::embedded())))
    } else {
        Box::new(OnServers::prepare(&bench.servers).await?)
    })
}

impl From<Connected> for BackendHandle {
    fn from(connected: Connected) -> Self {
        Self {
            backend: connected.backend().clone(),
            leases: connected.lease_store(),
            disconnect: Box::pin(async move { connected.disconnect().await }),
        }
    }
}

/// The embedded backend: a new one after each round, because nothing is as empty.
#[derive(Debug)]
struct Embedded(Mutex<Connected>);

#[async_trait(?Send)]
impl Target for Embedded {
    fn description(&self) -> &str {
        "embedded backend, nothing leaves the process"
    }

    async fn connect(&self, _purpose: &str) -> anyhow::Result<BackendHandle> {
        let connected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Connected::Embedded(connected.backend().clone()).into())
    }

    async fn clean(&self) -> anyhow::Result<()> {
        let mut connected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *connected = Connected::embedded();
        Ok(())
    }

    async fn remove(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn servers(&self) -> Option<&dyn TargetServers> {
        None
    }
}

/// Redis and RabbitMQ, and a namespace of the bench on them.
#[derive(Debug)]
struct OnServers {
    connection: ServerConnection,
    redis: redis::Options,
    rabbitmq: rabbitmq::Options,
    description: String,
}

impl OnServers {
    /// Inspects the servers, and chooses a namespace that is not in use.
    async fn prepare(servers: &Servers) -> anyhow::Result<Self> {
        let namespace = format!("{}-bench-{:08x}", servers.namespace, fastrand::u32(..));
        let servers = Servers {
            namespace,
            ..servers.clone()
        };
        let partitions = PartitionCount::DEFAULT.get();
        let redis = servers::redis_options(&servers, partitions).map_err(cause)?;
        let store = redis::inspect(&redis).await?;
        let rabbitmq = servers::rabbit_options(&servers, "bench").map_err(cause)?;
        let broker = rabbitmq::inspect(&rabbitmq).await?;
        let durability = match (store.append_only, store.append_fsync.as_deref()) {
            (true, Some(fsync)) => format!("appendfsync {fsync}"),
            (true, None) => "appendonly".to_owned(),
            (false, _) => "not durable".to_owned(),
        };
        Ok(Self {
            connection: ServerConnection {
                servers,
                partitions,
                start_patience: Duration::from_secs(10),
            },
            redis,
            rabbitmq,
            description: format!(
                "Redis {} ({durability}), {} {}",
                store.version, broker.product, broker.version
            ),
        })
    }
}

#[async_trait(?Send)]
impl Target for OnServers {
    fn description(&self) -> &str {
        &self.description
    }

    async fn connect(&self, purpose: &str) -> anyhow::Result<BackendHandle> {
        let connected = Connected::to_servers(&self.connection, purpose).await;
        Ok(connected.map_err(cause)?.into())
    }

    async fn clean(&self) -> anyhow::Result<()> {
        // No worker runs while creates are measured; in all other rounds
        // everything that was published has been consumed.
        let purged = rabbitmq::purge_work_queue(&self.rabbitmq, &QueueName::default()).await;
        if let Err(error) = purged {
            tracing::debug!(%error, "a queue could not be purged");
        }
        Ok(redis::remove_operations(&self.redis).await?)
    }

    async fn remove(&self) -> anyhow::Result<()> {
        let (queue, partitions) = (QueueName::default(), PartitionCount::DEFAULT);
        rabbitmq::delete_queues(&self.rabbitmq, &queue, partitions).await?;
        Ok(redis::remove_store(&self.redis).await?)
    }

    fn servers(&self) -> Option<&dyn TargetServers> {
        Some(self)
    }
}

#[async_trait(?Send)]
impl TargetServers for OnServers {
    async fn baseline(&self) -> anyhow::Result<Baseline> {
        let broker = RabbitBaseline::connect(&self.rabbitmq).await?;
        let store = RedisBaseline::connect(&self.redis).await?;
        Ok(Baseline::new(store, broker))
    }

    async fn store_bytes(&self) -> anyhow::Result<u64> {
        Ok(redis::inspect(&self.redis).await?.used_memory)
    }

    async fn store_bytes_by_kind(&self) -> anyhow::Result<BTreeMap<&'static str, u64>> {
        Ok(redis::memory_by_kind(&self.redis).await?)
    }

    fn worker_process(&self, concurrency: NonZeroU32) -> anyhow::Result<Command> {
        let servers = &self.connection.servers;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("__bench-worker")
            // Everyone on the machine can read a command line, and URLs hold passwords.
            .env("DRUMLINE_REDIS_URL", &servers.redis_url)
            .env("DRUMLINE_AMQP_URL", &servers.amqp_url)
            .envs(servers.tls_variables())
            .args(["--namespace", &servers.namespace])
            .args([
                "--redis-wait-replicas",
                &servers.redis_wait_replicas.to_string(),
            ])
            .args(["--concurrency", &concurrency.to_string()])
            .args(["--log", "warn"]);
        Ok(command)
    }
}

fn cause(failure: Failure) -> anyhow::Error {
    failure.error
}

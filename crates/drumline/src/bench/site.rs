//! The place of a run: servers and a namespace of its own on them, or the
//! embedded backend.
//!
//! Between rounds the records of the last one are removed, so that a long run
//! does not fill the servers; at the end everything is removed. This file names
//! redis and lapin because no port can make a store forget.

use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use drumline_backend::Backend;
use drumline_protocol::PartitionCount;
use lapin::options::{QueueDeleteOptions, QueuePurgeOptions};
use lapin::{Connection, ConnectionProperties};
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;

use super::floor::Floor;
use crate::cli::service::{Meeting, Servers};
use crate::cli::tools::Bench;
use crate::run::servers::{self, Met};

/// Keys in one UNLINK.
const UNLINK: usize = 500;

/// The place of a run.
pub(super) struct Site {
    kind: Kind,
    description: String,
}

enum Kind {
    Embedded(Mutex<Backend>),
    Servers(Box<Meeting>),
}

/// A backend of the site, for one party.
pub(super) struct Way {
    pub(super) backend: Backend,
    met: Option<Met>,
}

impl Way {
    /// Closes the connections.
    pub(super) async fn part(self) {
        if let Some(met) = self.met {
            met.part().await;
        }
    }
}

impl Site {
    /// Inspects the servers, and chooses a namespace that is not in use.
    pub(super) async fn prepare(bench: &Bench) -> anyhow::Result<Self> {
        if bench.embedded {
            return Ok(Self {
                kind: Kind::Embedded(Mutex::new(drumline_backend_embedded::backend(
                    PartitionCount::DEFAULT,
                ))),
                description: "embedded backend, nothing leaves the process".to_owned(),
            });
        }
        let namespace = format!(
            "{}-bench-{:08x}",
            bench.servers.namespace,
            fastrand::u32(..)
        );
        let servers = Servers {
            namespace,
            ..bench.servers.clone()
        };
        let redis = servers::redis_options(&servers, PartitionCount::DEFAULT.get())
            .map_err(|failure| failure.error)?;
        let info = drumline_backend_redis::inspect(&redis).await?;
        let rabbit = servers::rabbit_options(&servers, "bench").map_err(|failure| failure.error)?;
        let broker = drumline_backend_rabbitmq::RabbitBroker::start(rabbit);
        let greeting = broker.inspect().await?;
        broker.stop().await;
        let durability = match (info.append_only, info.append_fsync.as_deref()) {
            (true, Some(fsync)) => format!("appendfsync {fsync}"),
            (true, None) => "appendonly".to_owned(),
            (false, _) => "not durable".to_owned(),
        };
        Ok(Self {
            kind: Kind::Servers(Box::new(Meeting {
                servers,
                partitions: PartitionCount::DEFAULT.get(),
                start_patience: std::time::Duration::from_secs(10),
            })),
            description: format!(
                "Redis {} ({durability}), {} {}",
                info.version, greeting.product, greeting.version
            ),
        })
    }

    /// The description of the site, for people.
    pub(super) fn describe(&self) -> &str {
        &self.description
    }

    /// The servers, if there are any, and the bench's namespace on them.
    pub(super) fn servers(&self) -> Option<(&Servers, &str)> {
        let meeting = self.meeting()?;
        Some((&meeting.servers, &meeting.servers.namespace))
    }

    /// The settings to connect to the servers, if there are any.
    pub(super) fn meeting(&self) -> Option<&Meeting> {
        match &self.kind {
            Kind::Embedded(_) => None,
            Kind::Servers(meeting) => Some(meeting),
        }
    }

    /// The bare libraries on the servers, if there are any.
    pub(super) async fn floor(&self) -> anyhow::Result<Option<Floor>> {
        match self.servers() {
            Some((servers, namespace)) => Ok(Some(Floor::open(servers, namespace).await?)),
            None => Ok(None),
        }
    }

    /// Creates a backend. On servers each has connections of its own, as
    /// processes would have.
    pub(super) async fn enter(&self, purpose: &str) -> anyhow::Result<Way> {
        match &self.kind {
            Kind::Embedded(backend) => Ok(Way {
                backend: backend
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone(),
                met: None,
            }),
            Kind::Servers(meeting) => {
                let met = servers::meet(meeting, purpose)
                    .await
                    .map_err(|failure| failure.error)?;
                Ok(Way {
                    backend: met.backend.clone(),
                    met: Some(met),
                })
            }
        }
    }

    /// Bytes that Redis uses now.
    pub(super) async fn redis_bytes(&self) -> anyhow::Result<u64> {
        let meeting = self.meeting().context("no servers")?;
        let redis = servers::redis_options(&meeting.servers, meeting.partitions)
            .map_err(|failure| failure.error)?;
        Ok(drumline_backend_redis::inspect(&redis).await?.used_memory)
    }

    /// Removes operations and messages; the store itself stays.
    pub(super) async fn clean(&self) -> anyhow::Result<()> {
        let (servers, namespace) = match &self.kind {
            Kind::Embedded(backend) => {
                // Nothing is as empty as a new backend.
                let mut backend = backend.lock().unwrap_or_else(PoisonError::into_inner);
                *backend = drumline_backend_embedded::backend(PartitionCount::DEFAULT);
                return Ok(());
            }
            Kind::Servers(meeting) => (&meeting.servers, &meeting.servers.namespace),
        };
        // No worker runs while creates are measured; in all other rounds
        // everything that was published has been consumed.
        if let Err(error) = purge(servers, &work_queue(namespace)).await {
            tracing::debug!(%error, "a queue could not be purged");
        }
        unlink(servers, namespace, |key| {
            // Counters must go on: stamps and fences only ever grow.
            !key.ends_with(b":tick") && !key.windows(2).any(|pair| pair == b"{m")
        })
        .await
    }

    /// Removes everything.
    pub(super) async fn remove(&self) -> anyhow::Result<()> {
        let Some((servers, namespace)) = self.servers() else {
            return Ok(());
        };
        let rabbit =
            Connection::connect(&servers.amqp_url, ConnectionProperties::default()).await?;
        let channel = rabbit.create_channel().await?;
        for queue in queues(namespace) {
            channel
                .queue_delete(queue.into(), QueueDeleteOptions::default())
                .await?;
        }
        rabbit.close(200, "done".into()).await?;
        unlink(servers, namespace, |_key| true).await
    }
}

/// Every queue that a run may have made.
fn queues(namespace: &str) -> Vec<String> {
    let lanes = PartitionCount::DEFAULT
        .all()
        .map(|partition| format!("{namespace}.lane.default.{partition}"));
    let others = ["quarantine", "floor"].map(|name| format!("{namespace}.{name}"));
    let work = std::iter::once(work_queue(namespace));
    work.chain(others).chain(lanes).collect()
}

/// The queue of independent operations.
fn work_queue(namespace: &str) -> String {
    format!("{namespace}.work.default")
}

/// Empties a queue.
async fn purge(servers: &Servers, queue: &str) -> lapin::Result<()> {
    let connection =
        Connection::connect(&servers.amqp_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .queue_purge(queue.into(), QueuePurgeOptions::default())
        .await?;
    connection.close(200, "done".into()).await
}

async fn unlink(
    servers: &Servers,
    namespace: &str,
    goes: impl Fn(&[u8]) -> bool,
) -> anyhow::Result<()> {
    let client = redis::Client::open(servers.redis_url.as_str())?;
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let mut redis = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    for pattern in [format!("{namespace}:{{*"), format!("{namespace}:{{*}}:*")] {
        let found = keys(&mut redis, &pattern).await?;
        let going: Vec<Vec<u8>> = found.into_iter().filter(|key| goes(key)).collect();
        for some in going.chunks(UNLINK) {
            let _count: u64 = redis.unlink(some).await?;
        }
    }
    Ok(())
}

async fn keys(redis: &mut MultiplexedConnection, pattern: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let (next, some): (u64, Vec<Vec<u8>>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(pattern)
            .arg("COUNT")
            .arg(5_000)
            .query_async(redis)
            .await?;
        keys.extend(some);
        if next == 0 {
            return Ok(keys);
        }
        cursor = next;
    }
}

//! The target of a drill: Redis and RabbitMQ, and a namespace of its own on them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use drumline_backend_rabbitmq as rabbitmq;
use drumline_backend_redis as redis;
use drumline_drill::{Target, WorkerSettings};
use drumline_protocol::{PartitionCount, QueueName};
use tokio::time::{Instant, sleep};

use super::servers;
use crate::cli::service::Servers;
use crate::exit::Failure;
use crate::settings;

/// The partitions of a drill: few, so that tokens share lanes.
const PARTITIONS: u16 = 16;
/// The time within which the namespace must be removed: a broker that was wiped starts again.
const REMOVAL: Duration = Duration::from_secs(60);
/// The pause between two attempts to remove it.
const AGAIN: Duration = Duration::from_secs(1);

/// Servers, and the namespace.
#[derive(Debug)]
pub(crate) struct DrillTarget {
    servers: Servers,
    redis: redis::Options,
    rabbitmq: rabbitmq::Options,
    description: String,
    wipe: Option<String>,
}

impl DrillTarget {
    /// Inspects the servers, and chooses a namespace that is not in use.
    ///
    /// # Errors
    /// When a server is unavailable, or must not be used.
    pub(crate) async fn prepare(servers: &Servers, wipe: Option<&str>) -> anyhow::Result<Self> {
        let namespace = format!("{}-drill-{:08x}", servers.namespace, fastrand::u32(..));
        let servers = Servers {
            namespace,
            ..servers.clone()
        };
        let redis = servers::redis_options(&servers, PARTITIONS).map_err(cause)?;
        let store = redis::inspect(&redis).await?;
        let rabbitmq = servers::rabbit_options(&servers, "drill").map_err(cause)?;
        let broker = rabbitmq::inspect(&rabbitmq).await?;
        Ok(Self {
            description: format!(
                "Redis {}, {} {}",
                store.version, broker.product, broker.version
            ),
            servers,
            redis,
            rabbitmq,
            wipe: wipe.map(str::to_owned),
        })
    }

    /// The namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.servers.namespace
    }

    /// A command of this program on the servers. It has nothing of the drill's environment and
    /// reads no file of settings: the setup of the drill is the same everywhere.
    fn command(&self, name: &str) -> anyhow::Result<Command> {
        let servers = &self.servers;
        let mut command = Command::new(std::env::current_exe()?);
        command.env_clear();
        for name in ["PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
            if let Some(value) = settings::variable(name) {
                command.env(name, value);
            }
        }
        command
            .arg(name)
            .args(["--config", "/dev/null", "--log", "info"])
            // Everyone on the machine can read a command line, and URLs hold passwords.
            .env("DRUMLINE_REDIS_URL", &servers.redis_url)
            .env("DRUMLINE_AMQP_URL", &servers.amqp_url)
            .envs(servers.tls_variables())
            .args(["--namespace", &servers.namespace])
            .args(["--partitions", &PARTITIONS.to_string()])
            .args([
                "--redis-wait-replicas",
                &servers.redis_wait_replicas.to_string(),
            ]);
        Ok(command)
    }

    async fn try_to_remove(&self) -> anyhow::Result<()> {
        self.delete_queues().await?;
        Ok(redis::remove_store(&self.redis).await?)
    }

    async fn delete_queues(&self) -> anyhow::Result<()> {
        let partitions = PartitionCount::new(PARTITIONS).context("partitions")?;
        let queue = QueueName::default();
        Ok(rabbitmq::delete_queues(&self.rabbitmq, &queue, partitions).await?)
    }
}

#[async_trait(?Send)]
impl Target for DrillTarget {
    fn description(&self) -> &str {
        &self.description
    }

    fn manager_process(&self, auth_file: &Path) -> anyhow::Result<Command> {
        let mut command = self.command("queue-manager")?;
        command
            .args(["--listen", "127.0.0.1:0", "--drain-delay", "0s"])
            // The clients of a drill are one caller, who comes back as often as it takes.
            .args(["--protect-requests", "0", "--protect-execution", "0s"])
            .args(["--protect-concurrent", "0"])
            // Requests over AMQP have an exchange that outlives the namespace.
            .args(["--intake", "false"])
            .arg("--auth-file")
            .arg(auth_file);
        Ok(command)
    }

    fn worker_process(&self, settings: &WorkerSettings) -> anyhow::Result<Command> {
        let lease = format!("{}ms", settings.lease.as_millis());
        let mut command = self.command("__drill-worker")?;
        command
            .args(["--concurrency", &settings.concurrency.to_string()])
            .args(["--lease", &lease])
            .arg("--journal")
            .arg(&settings.recorder.journal);
        if let Some(sink) = settings.recorder.sink {
            command.args(["--sink", &sink.to_string()]);
        }
        Ok(command)
    }

    fn loss(&self) -> &str {
        match &self.wipe {
            Some(_) => "all of its data deleted",
            None => "the queues of the namespace deleted",
        }
    }

    async fn lose_messages(&self) -> anyhow::Result<()> {
        let Some(wipe) = &self.wipe else {
            return self.delete_queues().await;
        };
        let mut command = tokio::process::Command::new("/bin/sh");
        command
            .args(["-c", wipe])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        let status = command.status().await.context("cannot start /bin/sh")?;
        ensure!(
            status.success(),
            "--wipe-broker: the command ended with {status}"
        );
        Ok(())
    }

    async fn remove(&self) -> anyhow::Result<()> {
        let end = Instant::now() + REMOVAL;
        loop {
            match self.try_to_remove().await {
                Err(_unavailable) if Instant::now() < end => sleep(AGAIN).await,
                removed => return removed,
            }
        }
    }
}

fn cause(failure: Failure) -> anyhow::Error {
    failure.error
}

//! The addresses of Redis and RabbitMQ.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use drumline_backend_rabbitmq as rabbitmq;
use drumline_backend_redis as redis;
use drumline_process::{host_id, masked};
use drumline_tls::Encryption;
use drumline_worker::Builder;

use crate::error::{Error, Result};
use crate::process;
use crate::servers::Servers;
use crate::settings::{Mistake, Settings, values};

/// The addresses of Redis and RabbitMQ, and how long to wait for them. Nothing
/// is connected before [`Self::connect`] or [`Self::run`].
///
/// ```no_run
/// # async fn example() -> drumline_sdk::Result<()> {
/// use drumline_sdk::Connection;
///
/// let connection = Connection::to("redis://redis:6379", "amqp://user:password@rabbit:5672")
///     .namespace("team-a");
/// let servers = connection.connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Connection {
    pub(crate) redis_url: String,
    pub(crate) amqp_url: String,
    pub(crate) redis_encryption: Encryption,
    pub(crate) amqp_encryption: Encryption,
    pub(crate) namespace: String,
    pub(crate) partitions: u16,
    pub(crate) wait_replicas: u16,
    pub(crate) start_patience: Duration,
}

impl Default for Connection {
    /// Servers on this machine, on their usual ports.
    fn default() -> Self {
        Self::to("redis://127.0.0.1:6379", "amqp://127.0.0.1:5672")
    }
}

impl Connection {
    /// Returns a connection to `redis://[user:password@]host[:port][/db]` and
    /// `amqp://user:password@host[:port][/vhost]` (or `amqps://…`). Redis may be behind
    /// sentinels: `redis+sentinel://[user:password@]host[:port],…/name[/db]`, or a cluster:
    /// `redis+cluster://[user:password@]host[:port],…`. The URLs of
    /// several nodes of a RabbitMQ cluster are separated by commas. The URLs are checked by
    /// [`Self::connect`].
    pub fn to(redis_url: impl Into<String>, amqp_url: impl Into<String>) -> Self {
        Self {
            redis_url: redis_url.into(),
            amqp_url: amqp_url.into(),
            redis_encryption: Encryption::default(),
            amqp_encryption: Encryption::default(),
            namespace: "drumline".to_owned(),
            partitions: 64,
            wait_replicas: 0,
            start_patience: Duration::from_secs(5 * 60),
        }
    }

    /// Returns the connection that the environment and `drumline.toml` name:
    /// that of [`Settings::load`].
    ///
    /// # Errors
    /// [`Error::Settings`] with all mistakes, those in other settings of a
    /// worker included.
    pub fn from_settings() -> Result<Self> {
        Ok(Settings::load()?.connection)
    }

    /// Sets the prefix of keys, queues and exchanges, so that installations can
    /// share servers: 1 to 64 of `A-Z`, `a-z`, `0-9`, `-`, `_` and `.`. Default
    /// `drumline`. Queue managers and workers of one installation have the same.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets the number of partitions (and lanes per queue) that a namespace
    /// gets when it is first used, 1 to 4096; fixed from then on. Default 64.
    #[must_use]
    pub const fn partitions(mut self, partitions: u16) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets the number of replicas of Redis that must have received a claim or an end before it
    /// counts. Default 0. See docs/servers.md: queue managers and workers of one
    /// installation have the same.
    #[must_use]
    pub const fn redis_wait_replicas(mut self, replicas: u16) -> Self {
        self.wait_replicas = replicas;
        self
    }

    /// Sets the file with the CAs, in PEM, that may have signed the certificate of a
    /// Redis at `rediss://…`. Default: the CAs of the system.
    #[must_use]
    pub fn redis_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.redis_encryption.files.ca = Some(path.into());
        self
    }

    /// Sets the certificate that is shown to Redis, and its key: two files in PEM.
    #[must_use]
    pub fn redis_certificate(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.redis_encryption.files.cert = Some(cert.into());
        self.redis_encryption.files.key = Some(key.into());
        self
    }

    /// Sets the name that the certificate of Redis must be for. Default: the host of
    /// its URL.
    #[must_use]
    pub fn redis_server_name(mut self, name: impl Into<String>) -> Self {
        self.redis_encryption.server_name = Some(name.into());
        self
    }

    /// As [`Self::redis_ca_file`], for a RabbitMQ at `amqps://…`.
    #[must_use]
    pub fn amqp_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.amqp_encryption.files.ca = Some(path.into());
        self
    }

    /// As [`Self::redis_certificate`], for RabbitMQ.
    #[must_use]
    pub fn amqp_certificate(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.amqp_encryption.files.cert = Some(cert.into());
        self.amqp_encryption.files.key = Some(key.into());
        self
    }

    /// As [`Self::redis_server_name`], for RabbitMQ.
    #[must_use]
    pub fn amqp_server_name(mut self, name: impl Into<String>) -> Self {
        self.amqp_encryption.server_name = Some(name.into());
        self
    }

    /// Sets how long a start waits for servers that are not up yet. Default
    /// 5 minutes; zero tries once.
    #[must_use]
    pub const fn start_patience(mut self, patience: Duration) -> Self {
        self.start_patience = patience;
        self
    }

    /// Waits until both servers are available, and connects. Logs warnings
    /// while it waits.
    ///
    /// Installs *ring* as the process's `rustls` cryptography provider where
    /// there is none.
    ///
    /// Cancel-safe: dropping the future closes what it has opened.
    ///
    /// # Errors
    /// [`Error::Settings`] for values that cannot be used,
    /// [`Error::Unavailable`] when a server was unavailable for the whole
    /// [`Self::start_patience`], [`Error::Unfit`] for a server that must not be
    /// used, such as a RabbitMQ without quorum queues.
    pub async fn connect(&self) -> Result<Servers> {
        Servers::connect(self.checked()?).await
    }

    /// Connects, starts the worker, and logs `ready` when it takes work.
    /// Returns when SIGTERM or SIGINT has drained the worker: it starts nothing
    /// new, handlers may come to their end within the drain timeout, and
    /// operations that have not ended are given back, which does not count as
    /// an attempt. A signal before the servers are available ends it, too.
    ///
    /// The two signals no longer end the process by themselves, also after the
    /// return. A handler that blocks its thread can keep the caller's runtime
    /// from shutting down; [`run`](crate::run) does not wait for such a
    /// handler.
    ///
    /// Dropping the future stops the worker at once, as a crash would: other
    /// workers take its operations over when their leases end.
    ///
    /// # Errors
    /// Those of [`Self::connect`]; [`Error::Worker`] when the worker cannot
    /// start; [`Error::Signals`] when signals cannot be caught;
    /// [`Error::Interrupted`] when a second signal has come before the worker
    /// was drained.
    pub async fn run(&self, worker: Builder) -> Result<()> {
        // Boxed: the callers' futures need not be that large.
        Box::pin(process::until_signal(self, worker)).await
    }

    /// Returns the settings as the adapters take them.
    fn checked(&self) -> Result<Checked> {
        let mut mistakes = Vec::new();
        let mut note = |place: &str, reason: String| mistakes.push(Mistake::new(place, reason));
        if let Err(reason) = values::redis_url(&self.redis_url) {
            note("redis-url", reason);
        }
        let amqp_url = values::amqp_url(&self.amqp_url)
            .map_err(|reason| note("amqp-url", reason))
            .ok();
        let namespace = values::namespace(&self.namespace)
            .map_err(|reason| note("namespace", reason))
            .ok();
        let partitions = values::partitions(self.partitions)
            .map_err(|reason| note("partitions", reason))
            .ok();
        let (Some(amqp_url), Some(namespace), Some(partitions), []) =
            (amqp_url, namespace, partitions, mistakes.as_slice())
        else {
            return Err(Error::Settings(mistakes));
        };
        let mut rabbitmq = rabbitmq::Options::new(amqp_url);
        rabbitmq.encryption = self.amqp_encryption.clone();
        rabbitmq.namespace = namespace;
        rabbitmq.connection_name = format!("drumline worker {}", host_id());
        Ok(Checked {
            redis: redis::Options {
                url: self.redis_url.clone(),
                encryption: self.redis_encryption.clone(),
                namespace: self.namespace.clone(),
                partitions,
                wait_replicas: self.wait_replicas,
                ..redis::Options::default()
            },
            rabbitmq,
            patience: self.start_patience,
        })
    }
}

/// Settings that have been checked.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) redis: redis::Options,
    pub(crate) rabbitmq: rabbitmq::Options,
    pub(crate) patience: Duration,
}

// By hand: the URLs may hold passwords.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("redis_url", &masked(&self.redis_url))
            .field("amqp_url", &masked(&self.amqp_url))
            .field("redis_encryption", &self.redis_encryption)
            .field("amqp_encryption", &self.amqp_encryption)
            .field("namespace", &self.namespace)
            .field("partitions", &self.partitions)
            .field("wait_replicas", &self.wait_replicas)
            .field("start_patience", &self.start_patience)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let connection = Connection::to(
            "redis://me:hu@sh@host:1/2?password=hush",
            "amqp://ada:hush@rabbit/%2f",
        );
        let shown = format!("{connection:?}");
        assert!(
            !shown.contains("hu@sh") && !shown.contains("hush"),
            "{shown}"
        );
        assert!(
            shown.contains("redis://me:***@host:1/2") && shown.contains("ada:***@rabbit"),
            "{shown}"
        );
    }

    #[tokio::test]
    async fn every_wrong_value_is_named() {
        let error = Connection::to("http://hush", "amqp:hush")
            .namespace("a b")
            .partitions(0)
            .connect()
            .await
            .unwrap_err();
        let text = error.to_string();
        let named: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(
            named,
            ["redis-url", "amqp-url", "namespace", "partitions"],
            "{text}"
        );
        assert!(!text.contains("hush"), "{text}");
    }
}

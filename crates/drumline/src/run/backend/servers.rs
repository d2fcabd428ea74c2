//! Redis and RabbitMQ. They are connected with patience for servers that are not up
//! yet, and with none for servers that must not be used.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::{Backend, Broker, Intake, Membership, Store, broker, store};
use drumline_backend_rabbitmq::RabbitBroker;
use drumline_backend_redis::{RedisLimiter, RedisMembership, RedisStore};
use drumline_protocol::PartitionCount;
use drumline_worker::LeaseStore;
use tokio::time::{Instant, sleep};

use crate::cli::service::{self as cli, ServerConnection};
use crate::exit::{Exit, Failure, Result};
use crate::output::reasons;
use crate::settings::report::masked;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// The interval of lines that report the wait.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Connected servers that are fit for use.
#[derive(Debug)]
pub(crate) struct Servers {
    backend: Backend,
    broker: Arc<RabbitBroker>,
    redis: drumline_backend_redis::Options,
}

impl Servers {
    /// The ports on them.
    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The store once more, on a connection that is made on the lease thread.
    pub(crate) fn lease_store(&self) -> LeaseStore {
        let redis = self.redis.clone();
        LeaseStore::connect(async move || {
            let store: Arc<dyn Store> = Arc::new(RedisStore::connect(&redis).await?);
            Ok(store)
        })
    }

    /// The intake beside the broker.
    pub(crate) fn intake(&self) -> Arc<dyn Intake> {
        Arc::new(self.broker.intake())
    }

    /// Disconnects: unacknowledged messages go back to their queue at once.
    pub(crate) async fn disconnect(&self) {
        self.broker.stop().await;
    }
}

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
    let store = patiently("Redis", &servers.redis_url, *start_patience, async || {
        let store = RedisStore::connect(&redis).await?;
        for risk in store.inspect().await?.risks() {
            tracing::warn!(risk, "Redis may lose operations");
        }
        Ok(store)
    })
    .await?;
    let broker = Arc::new(RabbitBroker::start(rabbit_options(servers, purpose)?));
    patiently("RabbitMQ", &servers.amqp_url, *start_patience, async || {
        let greeting = broker.inspect().await?;
        if let Some(fatal) = greeting.warnings.iter().find(|warning| warning.is_fatal()) {
            let version = &greeting.version;
            return Err(Trouble::Unfit(anyhow::anyhow!(
                "RabbitMQ {version}: {fatal}"
            )));
        }
        broker.connected().await?;
        Ok(())
    })
    .await?;
    let membership = RedisMembership::new(&store);
    let limiter = RedisLimiter::new(&store);
    Ok(Servers {
        backend: Backend {
            store: Arc::new(store),
            broker: Arc::clone(&broker) as Arc<dyn Broker>,
            membership: Arc::new(membership),
            limiter: Arc::new(limiter),
        },
        broker,
        redis,
    })
}

/// The store of a namespace and its members, if there is a store: none is made.
///
/// # Errors
/// When Redis is unavailable, or must not be used.
pub(crate) async fn existing_store(
    servers: &cli::Servers,
) -> anyhow::Result<Option<(Arc<dyn Store>, Arc<dyn Membership>)>> {
    let options = redis_options(servers, 1).map_err(|failure| failure.error)?;
    if !drumline_backend_redis::store_exists(&options).await? {
        return Ok(None);
    }
    let store = RedisStore::connect(&options).await?;
    let membership = RedisMembership::new(&store);
    Ok(Some((Arc::new(store), Arc::new(membership))))
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
        namespace: servers.namespace.clone(),
        partitions,
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
    options.namespace = servers.namespace.parse().map_err(usage)?;
    options.connection_name = format!("drumline {purpose} {}", crate::run::host_id());
    Ok(options)
}

/// The reason that a server cannot be used now.
enum Trouble {
    /// It may come up.
    Away(anyhow::Error),
    /// It is up, and must not be used as it is.
    Unfit(anyhow::Error),
}

impl From<store::Error> for Trouble {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable { .. } => Self::Away(error.into()),
            store::Error::Unfit(_) | store::Error::Corrupt(_) => Self::Unfit(error.into()),
        }
    }
}

impl From<broker::Error> for Trouble {
    fn from(error: broker::Error) -> Self {
        match error {
            // A full disk passes; the broker is available.
            broker::Error::Unavailable { .. } | broker::Error::Blocked { .. } => {
                Self::Away(error.into())
            }
            broker::Error::Unroutable { .. }
            | broker::Error::Queue { .. }
            | broker::Error::Refused
            | broker::Error::Encode(_) => Self::Unfit(error.into()),
        }
    }
}

/// Connects, again and again while the server is unavailable.
async fn patiently<T>(
    what: &str,
    url: &str,
    patience: Duration,
    mut connect: impl AsyncFnMut() -> Result<T, Trouble>,
) -> Result<T> {
    let start = Instant::now();
    let mut said: Option<Instant> = None;
    loop {
        let error = match connect().await {
            Ok(connected) => {
                if said.is_some() {
                    tracing::info!("{what} is available");
                }
                return Ok(connected);
            }
            Err(Trouble::Unfit(error)) => {
                let error = error.context(format!("{what} at {} cannot be used", masked(url)));
                return Err(Failure::caused(Exit::Usage, error));
            }
            Err(Trouble::Away(error)) => error,
        };
        if start.elapsed() + PAUSE > patience {
            let error = error.context(format!(
                "{what} at {} was unavailable for {}",
                masked(url),
                humantime::format_duration(patience)
            ));
            return Err(Failure::caused(Exit::Unavailable, error));
        }
        if said.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            said = Some(Instant::now());
            let url = masked(url);
            tracing::warn!(%url, error = %reasons(&error), "waiting for {what}");
        }
        sleep(PAUSE).await;
    }
}

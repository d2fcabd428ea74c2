//! Connections to Redis and RabbitMQ, and how they are made: with patience for
//! a server that is not up yet, and with none for a server that must not be
//! used.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::{Backend, Broker, CriticalTasks, Intake, Store, broker, store};
use drumline_backend_rabbitmq::{self as rabbitmq, RabbitBroker};
use drumline_backend_redis::{self as redis, RedisLimiter, RedisMembership, RedisStore};
use drumline_tls::Trouble;
use drumline_worker::LeaseStore;
use tokio::time::{Instant, sleep};

use crate::reasons;

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// The time between two warnings while a server is unavailable.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// The reason why a server cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{server} at {url}")]
pub struct ConnectError {
    /// `Redis` or `RabbitMQ`.
    pub server: &'static str,
    /// The URL of the server, as people may see it.
    pub url: String,
    /// The time for which the server was unavailable; `None` for a server that
    /// is up, and must not be used as it is.
    pub waited: Option<Duration>,
    /// The last failure.
    pub source: Box<dyn StdError + Send + Sync>,
}

/// Connected servers that are fit for use. Connections that break later are
/// made again in the background.
pub struct Servers {
    backend: Backend,
    broker: Arc<RabbitBroker>,
    redis: redis::Options,
}

impl Servers {
    /// Waits until both servers are available, and connects. Logs warnings while
    /// it waits, and the risks that a server brings. `urls` are those of Redis and
    /// RabbitMQ, as people may see them. Cancel-safe: dropping the future closes
    /// what it has opened.
    ///
    /// # Errors
    /// When a server stays unavailable, or must not be used.
    pub async fn connect(
        redis: redis::Options,
        rabbitmq: rabbitmq::Options,
        urls: [&str; 2],
        patience: Duration,
    ) -> Result<Self, ConnectError> {
        let [redis_url, amqp_url] = urls;
        let critical = CriticalTasks::default();
        let redis = redis::Options {
            critical: critical.clone(),
            ..redis
        };
        let rabbitmq = rabbitmq::Options {
            critical: critical.clone(),
            ..rabbitmq
        };
        let store = patiently("Redis", redis_url, patience, async || {
            let store = RedisStore::connect(&redis).await?;
            for risk in store.risks().await? {
                tracing::warn!(risk, "Redis may lose operations");
            }
            Ok(store)
        })
        .await?;
        let broker = Arc::new(RabbitBroker::start(rabbitmq));
        patiently("RabbitMQ", amqp_url, patience, async || {
            let server = broker.inspect().await?;
            if let Some(fatal) = server.warnings.iter().find(|warning| warning.is_fatal()) {
                let reason = format!("RabbitMQ {}: {fatal}", server.version);
                return Err(Failure::Unfit(reason.into()));
            }
            broker.connected().await?;
            Ok(())
        })
        .await?;
        Ok(Self {
            backend: Backend {
                membership: Arc::new(RedisMembership::new(&store)),
                limiter: Arc::new(RedisLimiter::new(&store)),
                store: Arc::new(store),
                broker: Arc::clone(&broker) as Arc<dyn Broker>,
                critical,
            },
            broker,
            redis,
        })
    }

    /// Returns the ports on the servers.
    #[must_use]
    pub const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Returns the store for a worker's leases, on a connection that is made on
    /// the lease thread.
    #[must_use]
    pub fn lease_store(&self) -> LeaseStore {
        let redis = self.redis.clone();
        LeaseStore::connect(async move || {
            let store: Arc<dyn Store> = Arc::new(RedisStore::connect(&redis).await?);
            Ok(store)
        })
    }

    /// Returns the intake beside the broker, over a connection of its own:
    /// producers publish requests there.
    #[must_use]
    pub fn intake(&self) -> Arc<dyn Intake> {
        Arc::new(self.broker.intake())
    }

    /// Closes the connections to RabbitMQ: messages that are not acknowledged
    /// return to their queues at once. Cancel-safe.
    pub async fn close(&self) {
        self.broker.stop().await;
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers")
            .field("redis", &self.redis)
            .finish_non_exhaustive()
    }
}

/// The reason why an attempt has failed.
enum Failure {
    /// The server may come up.
    Unavailable(Box<dyn StdError + Send + Sync>),
    /// The server is up, and must not be used as it is.
    Unfit(Box<dyn StdError + Send + Sync>),
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable { .. } if is_lasting(&error) => Self::Unfit(error.into()),
            store::Error::Unavailable { .. } => Self::Unavailable(error.into()),
            store::Error::Unfit(_) | store::Error::Corrupt(_) => Self::Unfit(error.into()),
        }
    }
}

impl From<broker::Error> for Failure {
    fn from(error: broker::Error) -> Self {
        match error {
            broker::Error::Unavailable { .. } if is_lasting(&error) => Self::Unfit(error.into()),
            // A full disk passes; the broker is up.
            broker::Error::Unavailable { .. } | broker::Error::Blocked { .. } => {
                Self::Unavailable(error.into())
            }
            broker::Error::Unroutable { .. }
            | broker::Error::Queue { .. }
            | broker::Error::Refused
            | broker::Error::Encode(_) => Self::Unfit(error.into()),
        }
    }
}

/// Returns true if a certificate, a file or an address has to be changed first.
fn is_lasting(error: &(dyn StdError + 'static)) -> bool {
    Trouble::find(error).is_some_and(|trouble| trouble.is_lasting())
}

/// Repeats an attempt while the server is unavailable. Cancel-safe if the
/// attempt is.
async fn patiently<T>(
    server: &'static str,
    url: &str,
    patience: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T, ConnectError> {
    let failed = |waited, source| ConnectError {
        server,
        url: url.to_owned(),
        waited,
        source,
    };
    let start = Instant::now();
    let mut warned: Option<Instant> = None;
    loop {
        let source = match attempt().await {
            Ok(connected) => {
                if warned.is_some() {
                    tracing::info!("{server} is available");
                }
                return Ok(connected);
            }
            Err(Failure::Unfit(source)) => return Err(failed(None, source)),
            Err(Failure::Unavailable(source)) => source,
        };
        if start.elapsed() + PAUSE > patience {
            return Err(failed(Some(patience), source));
        }
        if warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
            warned = Some(Instant::now());
            tracing::warn!(%url, error = %reasons(source.as_ref()), "waiting for {server}");
        }
        sleep(PAUSE).await;
    }
}

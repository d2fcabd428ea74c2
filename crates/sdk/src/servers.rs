//! Connections to Redis and RabbitMQ, and how they are made: with patience for
//! a server that is not up yet, and with none for a server that must not be
//! used.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use drumline_backend::{Backend, Broker, Store, broker, store};
use drumline_backend_rabbitmq::RabbitBroker;
use drumline_backend_redis::{self as redis, RedisLimiter, RedisMembership, RedisStore};
use drumline_worker::{Builder, LeaseStore, RunningWorker};
use tokio::time::{Instant, sleep};

use crate::connection::{Checked, masked};
use crate::error::{Error, Result, reasons};

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// The time between two warnings while a server is unavailable.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Connections to Redis and RabbitMQ, made by
/// [`Connection::connect`](crate::Connection::connect). Connections that break
/// later are made again in the background.
///
/// ```no_run
/// # async fn greet(_: String, _: drumline_sdk::Context) -> drumline_sdk::Outcome { drumline_sdk::Outcome::Done(None) }
/// # async fn example(stop: impl Future<Output = ()>) -> drumline_sdk::Result<()> {
/// use drumline_sdk::{Connection, Worker};
///
/// let servers = Connection::from_settings()?.connect().await?;
/// let worker = servers.start(Worker::builder().handler("Greet", greet)).await?;
/// stop.await;
/// worker.drain().await;
/// servers.close().await;
/// # Ok(())
/// # }
/// ```
pub struct Servers {
    backend: Backend,
    broker: Arc<RabbitBroker>,
    redis: redis::Options,
}

impl Servers {
    pub(crate) async fn connect(settings: Checked) -> Result<Self> {
        let Checked {
            redis,
            rabbitmq,
            patience,
        } = settings;
        // Fails where the program has installed a provider, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let url = masked(&redis.url);
        let store = patiently("Redis", &url, patience, async || {
            let store = RedisStore::connect(&redis).await?;
            for risk in store.inspect().await?.risks() {
                tracing::warn!(risk, "Redis may lose operations");
            }
            Ok(store)
        })
        .await?;
        let url = rabbitmq.url.to_string();
        let broker = Arc::new(RabbitBroker::start(rabbitmq));
        patiently("RabbitMQ", &url, patience, async || {
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
            },
            broker,
            redis,
        })
    }

    /// Starts a worker on these connections, with a connection to Redis of its
    /// own for leases. May be called several times.
    ///
    /// Returns when the lease connection stands; the worker takes work when
    /// [`RunningWorker::ready`] says so. Dropping the future starts nothing.
    ///
    /// # Errors
    /// [`Error::Worker`] when the builder cannot be used (no handler, two
    /// handlers for one message name, a lease that is too short), or Redis has
    /// become unavailable.
    pub async fn start(&self, worker: Builder) -> Result<RunningWorker> {
        let redis = self.redis.clone();
        let leases = LeaseStore::connect(async move || {
            let store: Arc<dyn Store> = Arc::new(RedisStore::connect(&redis).await?);
            Ok(store)
        });
        // Boxed: the callers' futures need not be that large.
        let worker = Box::pin(worker.start(self.backend.clone(), leases)).await?;
        Ok(worker)
    }

    /// Closes the connections to RabbitMQ: messages that are not acknowledged
    /// return to their queues at once. Drain workers before. Without it,
    /// dropping the connections does the same a little later.
    ///
    /// Cancel-safe: dropping the future drops the connections.
    pub async fn close(self) {
        self.broker.stop().await;
    }
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
            store::Error::Unavailable { .. } => Self::Unavailable(error.into()),
            store::Error::Unfit(_) | store::Error::Corrupt(_) => Self::Unfit(error.into()),
        }
    }
}

impl From<broker::Error> for Failure {
    fn from(error: broker::Error) -> Self {
        match error {
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

/// Repeats an attempt while the server is unavailable. Cancel-safe if the
/// attempt is.
async fn patiently<T>(
    server: &'static str,
    url: &str,
    patience: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T> {
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
            Err(Failure::Unfit(source)) => {
                let url = url.to_owned();
                return Err(Error::Unfit {
                    server,
                    url,
                    source,
                });
            }
            Err(Failure::Unavailable(source)) => source,
        };
        if start.elapsed() + PAUSE > patience {
            return Err(Error::Unavailable {
                server,
                url: url.to_owned(),
                waited: patience,
                source,
            });
        }
        if warned.is_none_or(|warned| warned.elapsed() >= WARN_EVERY) {
            warned = Some(Instant::now());
            tracing::warn!(%url, error = %reasons(source.as_ref()), "waiting for {server}");
        }
        sleep(PAUSE).await;
    }
}

//! Connected servers, and workers on them.

use drumline_process::masked;
use drumline_worker::{Builder, RunningWorker};

use crate::connection::Checked;
use crate::error::Result;

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
#[derive(Debug)]
pub struct Servers(drumline_process::Servers);

impl Servers {
    pub(crate) async fn connect(settings: Checked) -> Result<Self> {
        let Checked {
            redis,
            rabbitmq,
            patience,
        } = settings;
        // Fails where the program has installed a provider, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let (redis_url, amqp_url) = (masked(&redis.url), rabbitmq.url.to_string());
        let urls = [redis_url.as_str(), &amqp_url];
        let servers = drumline_process::Servers::connect(redis, rabbitmq, urls, patience);
        Ok(Self(servers.await?))
    }

    /// Starts a worker on these connections, with a connection to Redis of its
    /// own for leases. May be called several times.
    ///
    /// Returns when the lease connection stands; the worker takes work when
    /// [`RunningWorker::ready`] says so. Dropping the future starts nothing.
    ///
    /// # Errors
    /// [`Error::Worker`](crate::Error::Worker) when the builder cannot be used (no handler, two
    /// handlers for one message name, a lease that is too short), or Redis has
    /// become unavailable.
    pub async fn start(&self, worker: Builder) -> Result<RunningWorker> {
        let (backend, leases) = (self.0.backend().clone(), self.0.lease_store());
        // Boxed: the callers' futures need not be that large.
        let worker = Box::pin(worker.start(backend, leases)).await?;
        Ok(worker)
    }

    /// Closes the connections to RabbitMQ: messages that are not acknowledged
    /// return to their queues at once. Drain workers before. Without it,
    /// dropping the connections does the same a little later.
    ///
    /// Cancel-safe: dropping the future drops the connections.
    pub async fn close(self) {
        self.0.close().await;
    }
}

//! A worker as a user would build it on the library, whose one handler writes
//! down when it starts and ends, and writes to the fenced sink. Tests kill, stop and drain it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use drumline_backend::{Backend, CriticalTasks, Store};
use drumline_backend_rabbitmq::RabbitBroker;
use drumline_backend_redis::{RedisLimiter, RedisMembership, RedisStore};
use drumline_drill::recorder::{self, Recorder, Step};
use drumline_worker::{Context, LeaseStore, Worker};
use tokio::signal::unix::{SignalKind, signal};

#[expect(
    clippy::disallowed_methods,
    reason = "a test program is set up by its environment"
)]
fn setting(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}

/// The number of replicas that a change waits for: none unless it is set.
fn wait_replicas() -> Result<u16> {
    match setting("DRUMLINE_REDIS_WAIT_REPLICAS") {
        Ok(number) => Ok(number.parse()?),
        Err(_not_set) => Ok(0),
    }
}

async fn connect() -> Result<Arc<RedisStore>> {
    let options = drumline_backend_redis::Options {
        url: setting("DRUMLINE_REDIS_URL")?,
        wait_replicas: wait_replicas()?,
        ..drumline_backend_redis::Options::default()
    };
    Ok(Arc::new(RedisStore::connect(&options).await?))
}

#[tokio::main]
async fn main() -> Result<()> {
    let _telemetry = drumline_telemetry::init(&drumline_telemetry::Options {
        service_name: "chaos-worker".to_owned(),
        // Enough log for a person to find out in the morning why a fleet is
        // stuck.
        directives: "info,drumline_worker=debug,drumline_backend_rabbitmq=debug".to_owned(),
        ..drumline_telemetry::Options::default()
    })?;
    let mut terminate = signal(SignalKind::terminate())?;
    let store = connect().await?;
    let url = setting("DRUMLINE_AMQP_URL")?.parse()?;
    let backend = Backend {
        membership: Arc::new(RedisMembership::new(&store)),
        limiter: Arc::new(RedisLimiter::new(&store)),
        store,
        broker: Arc::new(RabbitBroker::start(
            drumline_backend_rabbitmq::Options::new(url),
        )),
        critical: CriticalTasks::default(),
    };
    let url = setting("DRUMLINE_REDIS_URL")?;
    let leases = LeaseStore::connect(move || async move {
        let options = drumline_backend_redis::Options {
            url,
            ..drumline_backend_redis::Options::default()
        };
        let store: Arc<dyn Store> = Arc::new(RedisStore::connect(&options).await?);
        Ok(store)
    });
    let recorder = Recorder::start(&recorder::Options {
        journal: setting("CHAOS_JOURNAL")?.into(),
        sink: Some(setting("CHAOS_SINK")?.parse()?),
    })?;
    let queues = setting("CHAOS_QUEUES")?;
    let mut builder = Worker::builder();
    for queue in ["default"].into_iter().chain(queues.split(',')) {
        if !queue.is_empty() {
            builder = builder.queue(queue.parse()?);
        }
    }
    let handler = move |step: Step, context: Context| Arc::clone(&recorder).step(step, context);
    let worker = builder
        .handler("Step", handler.clone())
        // The same under another name, for tests that tell two kinds apart.
        .handler("Mail", handler)
        .host(format!("chaos-{}", std::process::id()))
        .concurrency(setting("CHAOS_CONCURRENCY")?.parse()?)
        .lease(Duration::from_millis(setting("CHAOS_LEASE_MS")?.parse()?))
        .start(backend, leases)
        .await?;
    terminate.recv().await;
    worker.drain().await;
    Ok(())
}

//! A worker as a user would build it on the library, whose one handler writes
//! down when it starts and ends. Tests kill, stop and drain it.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use drumline_backend::{Backend, CriticalTasks, Store};
use drumline_backend_rabbitmq::RabbitBroker;
use drumline_backend_redis::{RedisLimiter, RedisMembership, RedisStore};
use drumline_oracle::journal::{self, Entry, Event};
use drumline_worker::{Context, ErrorCode, HandlerError, LeaseStore, Worker};
use tokio::signal::unix::{SignalKind, signal};

/// The payload of a step.
#[derive(Debug, serde::Deserialize)]
struct Step {
    /// Its token, as a number.
    token: usize,
    /// Its place in the token.
    index: usize,
    /// The time that it takes.
    ms: u64,
    /// The number of attempts that fail before one succeeds.
    retries: u32,
}

/// Writes the end of a run, also of a run whose handler is dropped.
struct Run {
    file: File,
    entry: Entry,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.entry.event = Event::End;
        self.entry.at_ns = journal::now_ns();
        drop(journal::append(&mut self.file, &self.entry));
    }
}

async fn step(step: Step, context: Context, path: PathBuf) -> Result<(), HandlerError> {
    let mut file = journal::open(&path).map_err(|error| HandlerError::fail(error.to_string()))?;
    let entry = Entry {
        event: Event::Start,
        id: context.operation().id.to_string(),
        token: step.token,
        index: step.index,
        pid: std::process::id(),
        fence: context.fence().0,
        at_ns: journal::now_ns(),
    };
    journal::append(&mut file, &entry).map_err(|error| HandlerError::fail(error.to_string()))?;
    let _run = Run { file, entry };
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(step.ms)) => {}
        _why = context.stop_requested() => return Err(HandlerError::stopped()),
    }
    if context.operation().header.retry_count < step.retries {
        return Err(HandlerError::new(
            ErrorCode::SERVER_BUSY,
            "as it was told to",
        ));
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test program is set up by its environment"
)]
fn setting(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}

async fn connect() -> Result<Arc<RedisStore>> {
    let options = drumline_backend_redis::Options {
        url: setting("DRUMLINE_REDIS_URL")?,
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
    let path = PathBuf::from(setting("CHAOS_JOURNAL")?);
    let queues = setting("CHAOS_QUEUES")?;
    let mut builder = Worker::builder();
    for queue in ["default"].into_iter().chain(queues.split(',')) {
        if !queue.is_empty() {
            builder = builder.queue(queue.parse()?);
        }
    }
    let handler = move |input: Step, context: Context| step(input, context, path.clone());
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

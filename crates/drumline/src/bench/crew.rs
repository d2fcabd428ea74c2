//! Workers with a handler that does nothing, here or in processes of their own.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context as _;
use drumline_worker::{
    Builder, Context, Handler, HandlerFuture, Limits, Outcome, RunningWorker, Worker,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::site::{Site, Way};
use crate::cli::tools::{Bench, BenchWorker};
use crate::exit::{Exit, Failure, Result};
use crate::output;
use crate::run::servers;
use crate::run::signals::Signals;
use crate::run::worker::until_ready;

/// The message that the bench's operations carry.
pub(super) const MESSAGE: &str = "Bench";

/// Workers, in this process or in others.
pub(super) enum Crew {
    /// In this process.
    Here {
        worker: RunningWorker,
        way: Box<Way>,
    },
    /// In processes of their own, which end when this is dropped.
    Elsewhere(Vec<Child>),
}

/// A handler that does nothing but report to `seen` that an operation was
/// started.
struct Nothing<F>(F);

impl<F: Fn(&Context) + Send + Sync + 'static> Handler for Nothing<F> {
    fn run(&self, context: Context) -> HandlerFuture {
        (self.0)(&context);
        Box::pin(std::future::ready(Outcome::Done(None)))
    }
}

fn builder(concurrency: u32, seen: impl Fn(&Context) + Send + Sync + 'static) -> Builder {
    Worker::builder()
        .concurrency(usize::try_from(concurrency).unwrap_or(usize::MAX))
        .handler_dyn(MESSAGE, Limits::new(), Arc::new(Nothing(seen)))
}

impl Crew {
    /// A worker in this process.
    pub(super) async fn here(
        site: &Site,
        bench: &Bench,
        seen: impl Fn(&Context) + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let way = site.enter("bench worker").await?;
        let builder = builder(bench.concurrency.get(), seen);
        let worker = match site.meeting() {
            None => {
                let leases = Arc::clone(&way.backend.store);
                builder.start(way.backend.clone(), leases).await?
            }
            Some(meeting) => {
                let leases = servers::lease_store(meeting).map_err(|failure| failure.error)?;
                builder.start(way.backend.clone(), leases).await?
            }
        };
        until_ready(&worker).await;
        let way = Box::new(way);
        Ok(Self::Here { worker, way })
    }

    /// Starts as many processes as the flags want.
    pub(super) async fn elsewhere(site: &Site, bench: &Bench) -> anyhow::Result<Self> {
        let meeting = site
            .meeting()
            .context("the embedded backend is in this process alone")?;
        let program = std::env::current_exe()?;
        let mut children = Vec::new();
        for _ in 0..bench.processes {
            let mut child = Command::new(&program)
                .arg("__bench-worker")
                .args(["--redis-url", &meeting.servers.redis_url])
                .args(["--amqp-url", &meeting.servers.amqp_url])
                .args(["--namespace", &meeting.servers.namespace])
                .args(["--concurrency", &bench.concurrency.to_string()])
                .args(["--log", "warn"])
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let said = child.stdout.take().context("no standard output")?;
            let line = BufReader::new(said).lines().next_line().await?;
            anyhow::ensure!(line.is_some(), "a worker process has not started");
            children.push(child);
        }
        Ok(Self::Elsewhere(children))
    }

    /// Ends the workers.
    pub(super) async fn dismiss(self) {
        match self {
            Self::Here { worker, way } => {
                worker.drain().await;
                way.part().await;
            }
            Self::Elsewhere(children) => {
                for mut child in children {
                    // The child may have ended before, which is fine.
                    drop(child.kill().await);
                }
            }
        }
    }
}

/// The process that [`Crew::elsewhere`] starts.
pub(crate) async fn work(settings: &BenchWorker) -> Result<Exit> {
    let mut signals = Signals::catch()?;
    let met = servers::meet(&settings.meeting, "bench worker").await?;
    let leases = servers::lease_store(&settings.meeting)?;
    let worker = builder(settings.concurrency.get(), |_context| {})
        .start(met.backend.clone(), leases)
        .await
        .map_err(|error| Failure::caused(Exit::Failed, error))?;
    until_ready(&worker).await;
    output::line("ready")?;
    signals.next().await;
    worker.drain().await;
    met.part().await;
    Ok(Exit::Ok)
}

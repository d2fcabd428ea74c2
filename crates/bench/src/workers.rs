//! Workers with a handler that does nothing, here or in processes of their own.

use std::num::NonZeroU32;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context as _;
use drumline_worker::{
    Builder, Context, Handler, HandlerFuture, Limits, Outcome, RunningWorker, Worker,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::plan::Plan;
use crate::target::{BackendHandle, Disconnect, Target};

/// The message that the bench's operations carry.
pub(crate) const MESSAGE: &str = "Bench";
/// The message of those that a pause holds.
pub(crate) const HELD: &str = "BenchHeld";

/// Workers, in this process or in others.
pub(crate) enum Workers {
    /// In this process.
    Here {
        worker: RunningWorker,
        disconnect: Disconnect,
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

/// Returns a worker for the bench's operations: the worker of a process of its
/// own ([`TargetServers::worker_process`](crate::TargetServers::worker_process)).
pub fn worker(concurrency: NonZeroU32) -> Builder {
    builder(concurrency, |_context| {})
}

fn builder(concurrency: NonZeroU32, seen: impl Fn(&Context) + Send + Sync + 'static) -> Builder {
    let handler: Arc<dyn Handler> = Arc::new(Nothing(seen));
    Worker::builder()
        .concurrency(usize::try_from(concurrency.get()).unwrap_or(usize::MAX))
        .handler_dyn(MESSAGE, Limits::new(), Arc::clone(&handler))
        .handler_dyn(HELD, Limits::new(), handler)
}

impl Workers {
    /// Starts a worker in this process.
    pub(crate) async fn here(
        target: &dyn Target,
        plan: &Plan,
        seen: impl Fn(&Context) + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let BackendHandle {
            backend,
            leases,
            disconnect,
        } = target.connect("bench worker").await?;
        let builder = builder(plan.concurrency, seen);
        let worker = builder.start(backend, leases).await?;
        worker.until_ready().await;
        Ok(Self::Here { worker, disconnect })
    }

    /// Starts as many processes as the plan wants.
    pub(crate) async fn elsewhere(target: &dyn Target, plan: &Plan) -> anyhow::Result<Self> {
        let servers = target
            .servers()
            .context("the embedded backend is in this process alone")?;
        let mut children = Vec::new();
        for _ in 0..plan.processes {
            let mut child = Command::from(servers.worker_process(plan.concurrency)?)
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
    pub(crate) async fn end(self) {
        match self {
            Self::Here { worker, disconnect } => {
                worker.drain().await;
                disconnect.await;
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

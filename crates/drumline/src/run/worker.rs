//! `drumline worker`: handlers from a file, on Redis and RabbitMQ.

use drumline_process::{Signals, host_id};
use drumline_worker::handlers_file::{self, HandlersFile};
use drumline_worker::supervise::Supervisor;
use drumline_worker::{Builder, Error, Options, RunningWorker, Worker};

use super::backend::Connected;
use super::{catch_signals, failed, health, listen, until_signal};
use crate::cli::service::{self, Execution, ServerConnection};
use crate::exit::{Exit, Failure, Result};
use crate::output;

/// Runs until a signal.
pub(crate) async fn run(settings: &service::Worker) -> Result<Exit> {
    let mut signals = catch_signals()?;
    let builder = Worker::builder().options(Options {
        unhandled_after: settings.unhandled_after,
        run_secrets: listen::run_secrets(settings.run_key_file.as_deref())?,
        ..options(
            &settings.execution,
            settings.host_id.clone().unwrap_or_else(host_id),
        )
    });
    let Some(handlers) = read_handlers(&settings.execution)? else {
        return Err(Failure::new(
            Exit::Usage,
            "a worker needs --handlers FILE\n  what to do: write a handlers file; `drumline worker --help` shows one",
        ));
    };
    let builder = with(builder, handlers)?;
    let health = health::Listener::bind(settings.health_listen).await?;
    let connected = tokio::select! {
        connected = Connected::to_servers(&settings.connection, "worker") => connected?,
        signal = signals.next() => {
            tracing::info!(signal, "stopped before the servers were available");
            return Ok(Exit::Ok);
        }
    };
    let worker = builder
        .start(connected.backend().clone(), connected.lease_store())
        .await
        .map_err(cannot_start)?;
    let health = health.serve(worker.ready(), worker.metrics());
    tokio::select! {
        biased;
        failure = worker.failed() => return Err(failed(failure)),
        () = worker.until_ready() => output::line("ready")?,
        signal = signals.next() => return Ok(drain(&mut signals, signal, worker, &connected, &health).await),
    }

    let signal = until_signal(&mut signals, worker.failed()).await?;
    Ok(drain(&mut signals, signal, worker, &connected, &health).await)
}

/// Runs a worker of a measurement or a drill until a signal of the process that has started
/// it, which waits for the line `ready`.
pub(crate) async fn run_for_a_parent(
    builder: Builder,
    connection: &ServerConnection,
    purpose: &str,
) -> Result<Exit> {
    let mut signals = catch_signals()?;
    let connected = Connected::to_servers(connection, purpose).await?;
    let worker = builder
        .start(connected.backend().clone(), connected.lease_store())
        .await
        .map_err(|error| Failure::caused(Exit::Failed, error))?;
    worker.until_ready().await;
    output::line("ready")?;
    signals.next().await;
    worker.drain().await;
    connected.disconnect().await;
    Ok(Exit::Ok)
}

async fn drain(
    signals: &mut Signals,
    signal: &str,
    worker: RunningWorker,
    connected: &Connected,
    health: &health::Health,
) -> Exit {
    health.draining();
    let drained = async {
        let left = worker.drain().await.left_behind;
        if left > 0 {
            tracing::warn!(
                left,
                "handlers did not stop; other workers take their operations over"
            );
        }
        connected.disconnect().await;
    };
    super::drain(signals, signal, drained).await
}

/// The options of a worker.
pub(crate) fn options(execution: &Execution, host: String) -> Options {
    Options {
        queues: execution.queue.clone(),
        concurrency: usize::from(execution.concurrency.get()),
        lease: execution.lease,
        host,
        grace: execution.stop_grace,
        drain_timeout: execution.drain_timeout,
        max_output: usize::try_from(execution.max_output).unwrap_or(usize::MAX),
        max_output_succeeded: usize::try_from(execution.max_output_succeeded).unwrap_or(usize::MAX),
        ..Options::default()
    }
}

/// The handlers of the file that the flags name, if they name one.
///
/// # Errors
/// Every mistake in the file, with its line.
pub(crate) fn read_handlers(execution: &Execution) -> Result<Option<HandlersFile>> {
    let Some(path) = &execution.handlers else {
        return Ok(None);
    };
    match HandlersFile::read(path) {
        Ok(file) => Ok(Some(file)),
        Err(error @ handlers_file::Error::Read { .. }) => Err(Failure::caused(Exit::Data, error)),
        Err(error) => {
            let error = anyhow::Error::new(error);
            Err(Failure::caused(
                Exit::Data,
                error.context(format!("mistakes in {}", path.display())),
            ))
        }
    }
}

/// A worker with the handlers of a file.
pub(crate) fn with(builder: Builder, handlers: HandlersFile) -> Result<Builder> {
    let supervisor =
        Supervisor::this_program().map_err(|error| Failure::caused(Exit::Internal, error))?;
    handlers
        .register(builder, &supervisor)
        .map_err(|error| Failure::caused(Exit::Failed, error))
}

/// The failure of a worker to start.
pub(crate) fn cannot_start(error: Error) -> Failure {
    let exit = match &error {
        Error::TwoHandlers(_)
        | Error::NoHandler
        | Error::NoConcurrency
        | Error::ShortLease { .. } => Exit::Usage,
        Error::Thread(_) => Exit::Internal,
        Error::Store(_) => Exit::Unavailable,
    };
    Failure::caused(exit, error)
}

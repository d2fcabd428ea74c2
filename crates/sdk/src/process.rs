//! A worker's process, from its start to the signal that ends it.

use std::time::Duration;

use drumline_process::{Interrupted, Signals};
use drumline_worker::{Builder, RunningWorker};
use tokio::runtime::Handle;

use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::servers::Servers;
use crate::settings::Settings;

/// The time that blocking calls of handlers get at the very end. They were
/// given the drain timeout before.
const BLOCKING_GRACE: Duration = Duration::from_millis(100);

/// Runs a worker until SIGTERM or SIGINT: all that `main` has to do.
///
/// Reads the [`Settings`], sets up the log on standard error (and the export of
/// traces, where the `OTEL_*` variables ask for it), waits for the servers, and
/// starts the worker that `handlers` returns. `handlers` gets a [`Builder`]
/// with the settings applied and is called once, on the runtime. A value that
/// `handlers` sets wins over the settings.
///
/// On Linux, other processes of the same user cannot read the memory and the
/// environment of the process from then on, and it writes no core dump.
///
/// The worker logs `ready` when it takes work. The first signal drains the
/// worker: see [`Connection::run`]. A log subscriber that the program has set
/// up before is kept.
///
/// # Errors
/// [`Error::Settings`] with all mistakes, before anything is started;
/// [`Error::InsideRuntime`] on a tokio runtime; and all errors of
/// [`Connection::run`].
pub fn run(handlers: impl FnOnce(Builder) -> Builder) -> Result<()> {
    if Handle::try_current().is_ok() {
        return Err(Error::InsideRuntime);
    }
    let settings = Settings::load()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let result = runtime.block_on(async {
        let telemetry = settings.start_telemetry()?;
        settings.warn_of_unused();
        if let Err(error) = drumline_process::protect() {
            tracing::warn!(%error, "other processes of this user can read this one's environment");
        }
        let result = settings.connection.run(handlers(settings.builder())).await;
        if let Some(telemetry) = telemetry {
            telemetry.shutdown().await;
        }
        result
    });
    // A handler that blocks its thread must not keep the process alive.
    runtime.shutdown_timeout(BLOCKING_GRACE);
    result
}

/// Runs a worker until a signal; the body of [`Connection::run`].
pub(crate) async fn until_signal(connection: &Connection, builder: Builder) -> Result<()> {
    let mut signals = Signals::catch().map_err(Error::Signals)?;
    let servers = tokio::select! {
        servers = connection.connect() => servers?,
        signal = signals.next() => {
            tracing::info!(signal, "ended before the servers were available");
            return Ok(());
        }
    };
    let worker = match servers.start(builder).await {
        Ok(worker) => worker,
        Err(error) => {
            servers.close().await;
            return Err(error);
        }
    };
    let signal = tokio::select! {
        biased;
        failure = worker.failed() => {
            worker.stop_now().await;
            servers.close().await;
            return Err(Error::TaskFailed(failure));
        }
        signal = async {
            tokio::select! {
                () = worker.until_ready() => {
                    tracing::info!("ready");
                    signals.next().await
                }
                signal = signals.next() => signal,
            }
        } => signal,
    };
    let drained = signals.drain(signal, drain(worker, servers)).await;
    drained.map_err(|Interrupted { signal }| Error::Interrupted { signal })
}

/// Drains the worker, and then closes its connections.
async fn drain(worker: RunningWorker, servers: Servers) {
    let left = worker.drain().await.left_behind;
    if left > 0 {
        tracing::warn!(
            left,
            "handlers did not stop; other workers take their operations over"
        );
    }
    servers.close().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn run_refuses_to_block_a_runtime() {
        let error = run(|worker| worker).unwrap_err();
        assert!(matches!(error, Error::InsideRuntime), "{error:?}");
    }
}

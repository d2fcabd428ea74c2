//! The processes that stay: one file each, and their common parts.
//!
//! They start in the same order: settings are checked, servers are connected
//! ([`backend`]), the process serves, and prints `ready` on standard output.
//! Then it waits for a signal and drains.

pub(crate) mod backend;
pub(crate) mod builtin;
pub(crate) mod completion_options;
pub(crate) mod dev;
pub(crate) mod health;
pub(crate) mod listen;
pub(crate) mod one_process;
pub(crate) mod queue_manager;
pub(crate) mod standalone;
pub(crate) mod worker;

use std::time::Duration;

use drumline_backend::TaskFailure;
use drumline_process::{Interrupted, Signals};
use drumline_telemetry::Telemetry;

use crate::cli::{Global, LogFormat};
use crate::exit::{Exit, Failure, Result};
use crate::settings;

/// The time that requests in progress may take when the process is asked to
/// stop. Long polls end at once by themselves.
const REQUEST_GRACE: Duration = Duration::from_secs(10);

/// The time for handlers' blocking calls at the very end.
const LAST: Duration = Duration::from_millis(100);

/// Runs a process that stays, with its log and its traces.
pub(crate) fn process(
    global: &Global,
    service: &str,
    body: impl AsyncFnOnce() -> Result<Exit>,
) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::caused(Exit::Internal, error))?;
    let exit = runtime.block_on(async {
        let telemetry = telemetry(global, service)?;
        if let Err(error) = drumline_process::protect() {
            tracing::warn!(%error, "other processes of this user can read this one's environment");
        }
        let exit = body().await;
        telemetry.shutdown().await;
        exit
    });
    // Calls that have not ended by now were given the time to.
    runtime.shutdown_timeout(LAST);
    exit
}

fn telemetry(global: &Global, service: &str) -> Result<Telemetry> {
    let options = drumline_telemetry::Options {
        service_name: service.to_owned(),
        directives: global.log.clone(),
        format: match global.log_format {
            LogFormat::Text => drumline_telemetry::LogFormat::Text,
            LogFormat::Json => drumline_telemetry::LogFormat::Json,
        },
        export: drumline_telemetry::export::is_wanted(settings::variable),
    };
    drumline_telemetry::init(&options).map_err(|error| Failure::caused(Exit::Usage, error))
}

/// Catches SIGTERM and SIGINT from now on.
///
/// # Errors
/// When the system does not allow it.
pub(crate) fn catch_signals() -> Result<Signals> {
    Signals::catch().map_err(|error| Failure::caused(Exit::Internal, error))
}

/// Waits for the signal that asks the process to end.
///
/// # Errors
/// When a critical task has failed. The process then ends at once, as in a crash,
/// and other members take its work over.
pub(crate) async fn until_signal(
    signals: &mut Signals,
    failure: impl Future<Output = TaskFailure>,
) -> Result<&'static str> {
    tokio::select! {
        failure = failure => Err(failed(failure)),
        signal = signals.next() => Ok(signal),
    }
}

/// The failure of a process whose critical task has ended.
pub(crate) fn failed(failure: TaskFailure) -> Failure {
    Failure::caused(Exit::Internal, failure)
}

/// Drains, unless another signal cuts it short.
pub(crate) async fn drain(
    signals: &mut Signals,
    signal: &str,
    drained: impl Future<Output = ()>,
) -> Exit {
    match signals.drain(signal, drained).await {
        Ok(()) => Exit::Ok,
        Err(Interrupted { signal }) => {
            tracing::warn!(signal, "ended before the process was drained");
            Exit::Interrupted
        }
    }
}

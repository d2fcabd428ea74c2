//! The processes that stay: one file each, and their common parts.
//!
//! They start in the same order: settings are checked, servers are connected
//! ([`backend`]), the process serves, and prints `ready` on standard output.
//! Then it waits for a signal ([`signals`]) and drains.

pub(crate) mod backend;
pub(crate) mod builtin;
pub(crate) mod completion_options;
pub(crate) mod dev;
pub(crate) mod health;
pub(crate) mod listen;
pub(crate) mod queue_manager;
pub(crate) mod signals;
pub(crate) mod worker;

use std::time::Duration;

use crate::cli::{Global, LogFormat};
use crate::exit::{Exit, Failure, Result};
use crate::settings;
use drumline_telemetry::Telemetry;

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

/// A name for people: the machine and the process.
pub(crate) fn host_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_no_proc| std::fs::read_to_string("/etc/hostname"))
        .unwrap_or_else(|_unknown| "host".to_owned());
    format!("{}-{}", host.trim(), std::process::id())
}

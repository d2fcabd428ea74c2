//! `drumline standalone`: everything in one process, with the store in a folder.

use std::path::Path;
use std::sync::Arc;

use drumline_backend_embedded::{Durable, Error, SystemClock};
use drumline_protocol::PartitionCount;

use super::backend::Connected;
use super::catch_signals;
use super::one_process::{Handlers, OneProcess};
use super::worker;
use crate::cli::service::Standalone;
use crate::exit::{Exit, Failure, Result};
use crate::output;

/// Runs until a signal.
pub(crate) async fn run(standalone: &Standalone) -> Result<Exit> {
    let Some(data) = &standalone.data else {
        return Err(Failure::new(
            Exit::Usage,
            "the store needs a folder\n  what to do: name one with --data, DRUMLINE_DATA, or `data` in drumline.toml",
        ));
    };
    let signals = catch_signals()?;
    let own = worker::read_handlers(&standalone.process.execution)?;
    let handlers = Handlers {
        has_built_in: own.is_none(),
        own,
    };
    let durable = open(data).await?;
    let process = OneProcess {
        flags: &standalone.process,
        connected: Connected::Durable(durable.clone()),
    };
    let hint = || {
        output::hint(&format!(
            "drumline standalone: everything runs in this process; the operations are in {}",
            data.display()
        ));
    };
    let failed = async { failure(data, durable.failed().await) };
    process.run(signals, handlers, hint, failed).await
}

/// Opens the store, which may take seconds, on a thread that may wait.
async fn open(data: &Path) -> Result<Durable> {
    let folder = data.to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        Durable::open(&folder, PartitionCount::DEFAULT, Arc::new(SystemClock))
    });
    match opened.await {
        Ok(Ok(durable)) => Ok(durable),
        Ok(Err(error)) => Err(failure(data, Arc::new(error))),
        Err(panic) => Err(Failure::caused(Exit::Internal, panic)),
    }
}

/// The failure of a process that cannot use its folder, or not any more.
fn failure(data: &Path, error: Arc<Error>) -> Failure {
    let (exit, remedy) = match &*error {
        Error::InUse { .. } => (
            Exit::Unavailable,
            "stop the other process, or name another folder with --data",
        ),
        Error::Newer { .. } | Error::OtherVersion { .. } => (
            Exit::Data,
            "use the release that has written the folder, or the one after it: no operation was changed",
        ),
        Error::Foreign { .. } => (Exit::Data, "name another folder with --data"),
        damage if damage.is_damage() => (
            Exit::Data,
            "put the folder of the last backup in its place; docs/standalone.md says how. No operation was changed",
        ),
        Error::Folder { .. } | Error::Database { .. } => (
            Exit::Unavailable,
            "check that the disk is well and has room, and that this user may write to the folder; then start \
             again: what was answered is kept",
        ),
        _ => (Exit::Internal, "start again: what was answered is kept"),
    };
    Failure {
        exit,
        error: anyhow::Error::new(error).context(format!(
            "--data {} cannot be used\n  what to do: {remedy}",
            data.display()
        )),
    }
}

//! The folder of `drumline standalone`: how it is opened, and why it cannot be used.

use std::path::Path;
use std::sync::Arc;

use drumline_backend_embedded::{Durable, Error, SystemClock};
use drumline_protocol::PartitionCount;

use crate::exit::{Exit, Failure, Result};

/// Opens the store in a folder, which may take seconds, on a thread that may wait. A new
/// one gets `partitions`.
///
/// # Errors
/// When the folder cannot be used.
pub(crate) async fn open(data: &Path, partitions: PartitionCount) -> Result<Durable> {
    let folder = data.to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        Durable::open(&folder, partitions, Arc::new(SystemClock))
    });
    match opened.await {
        Ok(Ok(durable)) => Ok(durable),
        Ok(Err(error)) => Err(failure(data, Arc::new(error))),
        Err(panic) => Err(Failure::caused(Exit::Internal, panic)),
    }
}

/// Writes what is not written yet, and closes the folder, on a thread that may wait.
pub(crate) async fn close(durable: &Durable) {
    let durable = durable.clone();
    let closing = tokio::task::spawn_blocking(move || durable.close());
    // A panic of it was reported where it happened.
    drop(closing.await);
}

/// The failure of a process that cannot use its folder, or not any more.
pub(crate) fn failure(data: &Path, error: Arc<Error>) -> Failure {
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

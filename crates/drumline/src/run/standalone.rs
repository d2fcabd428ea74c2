//! `drumline standalone`: everything in one process, with the store in a folder.

use std::path::Path;

use drumline_backend_embedded::Durable;
use drumline_protocol::PartitionCount;

use super::backend::{Connected, folder};
use super::catch_signals;
use super::one_process::{Handlers, OneProcess};
use super::worker;
use crate::cli::service::Standalone;
use crate::exit::{Exit, Failure, Result};
use crate::output;
use crate::transfer::unfinished;

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
    let durable = folder::open(data, PartitionCount::DEFAULT).await?;
    refuse_unfinished(data, &durable).await?;
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
    let failed = async { folder::failure(data, durable.failed().await) };
    process.run(signals, handlers, hint, failed).await
}

/// Refuses to run what was imported in part: operations that were not suspended may be,
/// and what is missing would start after what is behind it.
async fn refuse_unfinished(data: &Path, durable: &Durable) -> Result<()> {
    let imports = durable.imports().imports().await;
    let imports = imports.map_err(|error| Failure::caused(Exit::Unavailable, error))?;
    let Some(open) = imports.iter().find(|import| !import.is_done) else {
        return Ok(());
    };
    let text = format!("--data {}: {}", data.display(), unfinished(open));
    folder::close(durable).await;
    Err(Failure::new(Exit::Data, text))
}

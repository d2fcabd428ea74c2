//! `drumline dev`: everything in one process, on the embedded backend. All operations
//! are gone when it ends.

use super::backend::Connected;
use super::catch_signals;
use super::one_process::{Handlers, OneProcess};
use super::worker;
use crate::cli::service::Dev;
use crate::exit::{Exit, Result};
use crate::output;

/// Runs until a signal.
pub(crate) async fn run(dev: &Dev) -> Result<Exit> {
    let signals = catch_signals()?;
    let handlers = Handlers {
        own: worker::read_handlers(&dev.execution)?,
        has_built_in: true,
    };
    let process = OneProcess {
        flags: dev,
        connected: Connected::embedded(),
    };
    let hint = || {
        output::hint(
            "drumline dev: everything runs in this process; all operations are gone when it ends",
        );
    };
    let never = std::future::pending();
    process.run(signals, handlers, hint, never).await
}

//! The servers of a drill. The caller provides them, because only the caller names products.

use std::fmt;
use std::path::Path;
use std::process::Command;

use async_trait::async_trait;

/// Servers, and a namespace of the drill's own on them.
#[async_trait(?Send)]
pub trait Target: fmt::Debug {
    /// The servers, for people.
    fn description(&self) -> &str;

    /// A command that runs a queue manager on a free port of this machine, with the API keys
    /// of a file. It prints `ready URL`, and runs until it is killed.
    ///
    /// # Errors
    /// When the program is not known.
    fn manager_process(&self, auth_file: &Path) -> anyhow::Result<Command>;

    /// A command that runs [`worker`](crate::worker()) with these settings. It prints `ready`, and
    /// runs until it is killed or terminated.
    ///
    /// # Errors
    /// When the program is not known.
    fn worker_process(&self, settings: &WorkerSettings) -> anyhow::Result<Command>;

    /// The way in which [`Self::lose_messages`] does it, for people.
    fn loss(&self) -> &str;

    /// Makes the broker lose every message of the namespace, and its queues. Returns when it
    /// has.
    ///
    /// # Errors
    /// When it has not.
    async fn lose_messages(&self) -> anyhow::Result<()>;

    /// Removes everything that the drill has made. No process of it runs any more.
    ///
    /// # Errors
    /// When a server is unavailable.
    async fn remove(&self) -> anyhow::Result<()>;
}

/// The settings of a worker process.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// The recorder of its handlers.
    pub recorder: crate::recorder::Options,
    /// Operations that it runs at once.
    pub concurrency: u16,
    /// The lease of its locks.
    pub lease: std::time::Duration,
}

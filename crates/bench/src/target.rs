//! The target of a run: servers and a namespace of its own on them, or a backend
//! without servers.
//!
//! Between rounds the records of the last one are removed, so that a long run
//! does not fill the servers; at the end everything is removed.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::process::Command;

use async_trait::async_trait;
use drumline_backend::Backend;
use drumline_worker::LeaseStore;

use crate::baseline::Baseline;

/// The backend that is measured. The caller provides it, because only the
/// caller names products.
#[async_trait(?Send)]
pub trait Target {
    /// The description of the target, for people.
    fn description(&self) -> &str;

    /// Connects one party (a manager, a worker). On servers each party has
    /// connections of its own, as processes would have.
    ///
    /// # Errors
    /// When a server is unavailable.
    async fn connect(&self, purpose: &str) -> anyhow::Result<BackendHandle>;

    /// Removes operations and messages; the store itself stays. No party is
    /// connected meanwhile.
    ///
    /// # Errors
    /// When a server is unavailable.
    async fn clean(&self) -> anyhow::Result<()>;

    /// Removes everything that the run has made.
    ///
    /// # Errors
    /// When a server is unavailable.
    async fn remove(&self) -> anyhow::Result<()>;

    /// The servers below, if there are any.
    fn servers(&self) -> Option<&dyn TargetServers>;
}

/// The servers below a target: they can be used without Drumline, and by other
/// processes.
#[async_trait(?Send)]
pub trait TargetServers {
    /// Connects the bare libraries.
    ///
    /// # Errors
    /// When a server is unavailable.
    async fn baseline(&self) -> anyhow::Result<Baseline>;

    /// Bytes of memory that the store uses now.
    ///
    /// # Errors
    /// When the server is unavailable.
    async fn store_bytes(&self) -> anyhow::Result<u64>;

    /// The part of it that the operations take, by kind of key.
    ///
    /// # Errors
    /// When the server is unavailable or does not measure keys.
    async fn store_bytes_by_kind(&self) -> anyhow::Result<BTreeMap<&'static str, u64>>;

    /// A command that runs [`worker`](crate::worker) on the target in a process
    /// of its own. It prints a line when the worker is ready, and runs until it
    /// is killed.
    ///
    /// # Errors
    /// When the program is not known.
    fn worker_process(&self, concurrency: NonZeroU32) -> anyhow::Result<Command>;
}

/// The backend of one party.
pub struct BackendHandle {
    /// The ports.
    pub backend: Backend,
    /// The store for a worker's leases.
    pub leases: LeaseStore,
    /// Closes the connections, when polled.
    pub disconnect: Disconnect,
}

/// The end of a party's connections.
pub type Disconnect = Pin<Box<dyn Future<Output = ()> + Send>>;

impl fmt::Debug for BackendHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendHandle").finish_non_exhaustive()
    }
}

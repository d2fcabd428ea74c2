//! The store that leases are renewed through, and the place of the renewals.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use drumline_backend::store::{self, Store};

type Connecting = Pin<Box<dyn Future<Output = store::Result<Arc<dyn Store>>> + Send>>;

/// The store that leases are renewed through.
///
/// The store should be a connection of its own, made on the thread that renews.
/// Most connections are driven by tasks of the runtime that they were made on, and
/// a connection that shares its runtime with handlers stops when a handler blocks
/// the runtime.
pub struct LeaseStore {
    pub(super) connect: Box<dyn FnOnce() -> Connecting + Send>,
    pub(super) runs_on: RunsOn,
}

/// The place of the renewals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunsOn {
    /// A thread with a runtime of its own.
    OwnThread,
    /// A task of the runtime that the worker is started on.
    CurrentRuntime,
}

impl LeaseStore {
    /// Connects on the thread that renews.
    pub fn connect<F, C>(connect: F) -> Self
    where
        F: FnOnce() -> C + Send + 'static,
        C: Future<Output = store::Result<Arc<dyn Store>>> + Send + 'static,
    {
        Self {
            connect: Box::new(move || Box::pin(connect())),
            runs_on: RunsOn::OwnThread,
        }
    }

    /// Renews on the runtime that the worker is started on, instead of a thread
    /// of its own. For simulations, which have one runtime and one clock. In any
    /// other program a handler that blocks a thread of the runtime would lose
    /// its lease.
    #[must_use]
    pub fn on_current_runtime(mut self) -> Self {
        self.runs_on = RunsOn::CurrentRuntime;
        self
    }
}

/// For a store that needs no runtime, such as the embedded store.
impl From<Arc<dyn Store>> for LeaseStore {
    fn from(store: Arc<dyn Store>) -> Self {
        Self::connect(move || std::future::ready(Ok(store)))
    }
}

impl std::fmt::Debug for LeaseStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseStore")
            .field("runs_on", &self.runs_on)
            .finish_non_exhaustive()
    }
}

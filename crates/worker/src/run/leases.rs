//! Leases: renewed by a thread that nothing else runs on.
//!
//! ```text
//! worker's runtime              thread "drumline-leases", own runtime, own store
//!   hold(execution) ──┐         ┌─ renew all in one call, every sixth of a lease
//!   release(id) ──────┴─ held ──┼─ look twice a second: asked to stop? read the
//!                               │  header, stop the handler
//!                               └─ renewed too long ago? stop the handler: lost
//! ```
//!
//! A handler that blocks its thread must not lose its lease. So the renewals have a
//! thread and a connection of their own. They share a single map with the worker,
//! behind a mutex that is held for moments. A simulation, whose handlers block
//! nothing, has the renewals on its one runtime instead: see
//! [`LeaseStore::on_current_runtime`].
//!
//! A lease that cannot be renewed is given up after three quarters of its length,
//! counted from the time at which the last successful renewal was *sent*. A worker
//! that takes over watches the lock stand still for the whole length, so the last
//! quarter is there to stop the handler.

mod held;
mod renew;
mod store;

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::store::Error;
use drumline_backend::{CriticalTasks, MemberId};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::store::RunsOn;

pub(crate) use self::held::Held;
pub use self::store::LeaseStore;

/// The renewals of a worker. They end when the handle is dropped, and leases that
/// are still held are not renewed any more.
#[derive(Debug)]
pub(crate) struct Renewals {
    end: CancellationToken,
    ended: oneshot::Receiver<()>,
}

/// The reason that renewals could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("no thread: {0}")]
    Thread(#[from] std::io::Error),
    #[error(transparent)]
    Store(#[from] Error),
}

impl Renewals {
    /// Starts the renewals, and waits until their store is connected. Dropping
    /// the future starts nothing. Renewals that end are reported to `critical`.
    pub(crate) async fn start(
        store: LeaseStore,
        held: Arc<Held>,
        holder: MemberId,
        lease: Duration,
        critical: &CriticalTasks,
    ) -> Result<Self, StartError> {
        let (ready, connected) = oneshot::channel();
        let (done, ended) = oneshot::channel();
        let renewals = Self {
            end: CancellationToken::new(),
            ended,
        };
        let end = renewals.end.clone();
        let critical = critical.clone();
        let LeaseStore { connect, runs_on } = store;
        let renewing = async move {
            // Boxed: the future of a connection is large.
            let renewals = Box::pin(async {
                match connect().await {
                    Ok(store) => {
                        drop(ready.send(Ok(())));
                        let renewing = renew::run(&*store, &held, holder, lease);
                        critical.guard("lease thread", &end, renewing).await;
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
            end.run_until_cancelled(renewals).await;
            // No task waits for the end of a worker that was dropped.
            let (Ok(()) | Err(())) = done.send(());
        };
        match runs_on {
            RunsOn::OwnThread => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                std::thread::Builder::new()
                    .name("drumline-leases".to_owned())
                    .spawn(move || runtime.block_on(renewing))?;
            }
            RunsOn::CurrentRuntime => drop(TaskTracker::new().spawn(renewing)),
        }
        match connected.await {
            Ok(result) => result?,
            Err(_gone) => return Err(std::io::Error::other("the lease thread has ended").into()),
        }
        Ok(renewals)
    }

    /// Ends the renewals when it is cancelled: leases that are still held are not
    /// renewed any more.
    pub(crate) fn ending(&self) -> CancellationToken {
        self.end.clone()
    }

    /// Ends the renewals, and waits until they have ended.
    pub(crate) async fn done(mut self) {
        self.end.cancel();
        // An error says that the renewals have ended with a panic.
        drop((&mut self.ended).await);
    }
}

impl Drop for Renewals {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

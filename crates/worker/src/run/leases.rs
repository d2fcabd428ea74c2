//! Leases: renewed by a thread that nothing else runs on.
//!
//! ```text
//! worker's runtime              thread "drumline-leases", own runtime, own store
//!   hold(execution) ──┐         ┌─ renew all, every third of a lease or oftener
//!   release(id) ──────┴─ map ───┼─ asked to stop? read the header, tell the handler
//!                               └─ renewed too long ago? tell the handler: lost
//! ```
//!
//! Handlers may block their threads; the lease must not end for that. So the
//! renewals have a thread and a connection of their own, and share nothing with
//! the rest but a map behind a mutex that is held for moments.
//!
//! A lease that could not be renewed is given up after three quarters of its
//! length, counted from when the last successful renewal was *sent*. A worker
//! that takes over watches the lock stand still for the whole length, so the
//! last quarter is there for the handler to be stopped in.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drumline_backend::store::{self, Renewal, Store};
use drumline_protocol::{OperationId, Status};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::context::execution::Execution;
use crate::context::stop::StopReason;

/// A request to pause or cancel reaches the handler within this time and two
/// round trips: it comes with the answer to a renewal.
const RENEWAL_MAX: Duration = Duration::from_millis(300);
/// Locks in one renewal: some milliseconds of the store's time.
const BATCH: usize = 512;

type Connecting = Pin<Box<dyn Future<Output = store::Result<Arc<dyn Store>>> + Send>>;

/// The store that leases are renewed through.
///
/// The store should be a connection of its own, made on the thread that uses
/// it. Most connections are driven by tasks of the runtime that they were made
/// on, and a connection that shares its runtime with handlers stops when they
/// block it.
pub struct LeaseStore(Box<dyn FnOnce() -> Connecting + Send>);

impl LeaseStore {
    /// Connects on the lease thread.
    pub fn connect<F, C>(connect: F) -> Self
    where
        F: FnOnce() -> C + Send + 'static,
        C: Future<Output = store::Result<Arc<dyn Store>>> + Send + 'static,
    {
        Self(Box::new(move || Box::pin(connect())))
    }
}

/// A store that needs no runtime: the embedded one.
impl From<Arc<dyn Store>> for LeaseStore {
    fn from(store: Arc<dyn Store>) -> Self {
        Self::connect(move || std::future::ready(Ok(store)))
    }
}

impl std::fmt::Debug for LeaseStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseStore").finish_non_exhaustive()
    }
}

/// The runs whose leases the worker renews now.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    executions: HashMap<OperationId, Arc<Execution>>,
    /// All handlers are asked to stop, also those that are still to come.
    stopping: Option<StopReason>,
}

impl Held {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is a single call that leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews the lease of a run from now on.
    pub(crate) fn hold(&self, execution: &Arc<Execution>) {
        let mut inner = self.inner();
        if let Some(reason) = inner.stopping {
            execution.stop.request(reason);
        }
        inner
            .executions
            .insert(execution.operation.id, Arc::clone(execution));
    }

    /// Renews the lease of a run no longer.
    pub(crate) fn release(&self, execution: &Execution) {
        let mut inner = self.inner();
        // The same operation may have come again, with another fence.
        if let std::collections::hash_map::Entry::Occupied(entry) =
            inner.executions.entry(execution.operation.id)
            && entry.get().fence == execution.fence
        {
            entry.remove();
        }
    }

    /// Asks every handler to stop.
    pub(crate) fn stop_all(&self, reason: StopReason) {
        let mut inner = self.inner();
        inner.stopping = Some(reason);
        for execution in inner.executions.values() {
            execution.stop.request(reason);
        }
    }

    fn all(&self) -> Vec<Arc<Execution>> {
        self.inner().executions.values().map(Arc::clone).collect()
    }
}

/// The thread.
#[derive(Debug)]
pub(crate) struct LeaseThread {
    end: CancellationToken,
    ended: oneshot::Receiver<()>,
}

/// The reason that the thread could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("no thread: {0}")]
    Thread(#[from] std::io::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl LeaseThread {
    /// Starts the thread, and waits until it is connected.
    pub(crate) async fn start(
        connect: LeaseStore,
        held: Arc<Held>,
        lease: Duration,
    ) -> Result<Self, StartError> {
        let end = CancellationToken::new();
        let (ready, connected) = oneshot::channel();
        let (done, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stop = end.clone();
        std::thread::Builder::new()
            .name("drumline-leases".to_owned())
            .spawn(move || {
                runtime.block_on(stop.run_until_cancelled(async {
                    match (connect.0)().await {
                        Ok(store) => {
                            drop(ready.send(Ok(())));
                            tokio::join!(renew(&*store, &held, lease), watch(&held, lease));
                        }
                        Err(error) => drop(ready.send(Err(error))),
                    }
                }));
                // No task waits for the end of a worker that was dropped.
                let (Ok(()) | Err(())) = done.send(());
            })?;
        match connected.await {
            Ok(result) => result?,
            Err(_gone) => return Err(std::io::Error::other("the lease thread has died").into()),
        }
        Ok(Self { end, ended })
    }

    /// Ends the thread: leases that are still held are not renewed any more.
    pub(crate) fn end(&self) {
        self.end.cancel();
    }

    /// Waits until the thread has ended.
    pub(crate) async fn done(mut self) {
        self.end.cancel();
        // An error says that it has ended with a panic: ended all the same.
        drop((&mut self.ended).await);
    }
}

impl Drop for LeaseThread {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// Ends handlers whose lease was not renewed for too long. Apart from
/// [`renew`], which may be waiting for a store that does not answer.
async fn watch(held: &Held, lease: Duration) {
    let mut ticks = tokio::time::interval(lease / 40);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        for execution in held.inner().executions.values() {
            if execution.lease.left(now).is_zero() {
                execution.stop.request(StopReason::LeaseLost);
            }
        }
    }
}

async fn renew(store: &dyn Store, held: &Held, lease: Duration) {
    let mut ticks = tokio::time::interval(RENEWAL_MAX.min(lease / 3));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut asked = Vec::new();
        for batch in held.all().chunks(BATCH) {
            // An answer that takes longer would come too late to be of use.
            match tokio::time::timeout(lease / 4, renew_batch(store, batch)).await {
                Ok(Ok(more)) => asked.extend(more),
                Ok(Err(error)) => tracing::warn!(%error, "leases could not be renewed"),
                Err(_elapsed) => tracing::warn!("leases were not renewed in time"),
            }
        }
        if !asked.is_empty() {
            match tokio::time::timeout(lease / 4, pass_on(store, &asked)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "requests to stop could not be read"),
                Err(_elapsed) => tracing::warn!("requests to stop were not read in time"),
            }
        }
    }
}

/// Renews locks; gives back those whose handlers are asked to stop.
async fn renew_batch(
    store: &dyn Store,
    batch: &[Arc<Execution>],
) -> store::Result<Vec<Arc<Execution>>> {
    let locks: Vec<_> = batch
        .iter()
        .map(|execution| (execution.operation.id, execution.fence))
        .collect();
    let sent = Instant::now();
    let answers = store.renew(&locks).await?;
    let mut asked = Vec::new();
    for (execution, answer) in batch.iter().zip(answers) {
        match answer {
            Renewal::Held { asked_to_stop } => {
                execution.lease.renewed(sent);
                let told = execution.stop.reason() >= Some(StopReason::Cancel);
                if asked_to_stop && !told {
                    asked.push(Arc::clone(execution));
                }
            }
            // Our own last commit has released it.
            Renewal::Lost if execution.settling.load(Ordering::Acquire) => {}
            Renewal::Lost => execution.stop.request(StopReason::LeaseLost),
        }
    }
    Ok(asked)
}

/// Reads what the handlers are asked for, and notifies them.
async fn pass_on(store: &dyn Store, asked: &[Arc<Execution>]) -> store::Result<()> {
    let ids: Vec<_> = asked
        .iter()
        .map(|execution| execution.operation.id)
        .collect();
    for (execution, operation) in asked.iter().zip(store.get(&ids).await?) {
        let status = operation.map(|operation| operation.header.status);
        match status {
            Some(Status::Pausing) => execution.stop.request(StopReason::Pause),
            Some(Status::Canceling) => execution.stop.request(StopReason::Cancel),
            // The operation has moved on since; the next renewal will show it.
            Some(
                Status::WaitingForResources
                | Status::Waiting
                | Status::InProgress
                | Status::Succeeded
                | Status::Failed
                | Status::Canceled,
            )
            | None => {}
        }
    }
    Ok(())
}

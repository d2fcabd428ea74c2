//! Renews all leases of a worker, and passes on requests to stop.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use drumline_backend::store::{self, Renewal, Store};
use drumline_protocol::Status;
use tokio::time::{Instant, MissedTickBehavior};

use super::held::Held;
use crate::context::execution::Execution;
use crate::context::stop::StopReason;

/// The longest time between two renewals. A request to pause or cancel comes with
/// the answer to a renewal, so it reaches the handler within this time and two
/// round trips.
const RENEWAL_MAX: Duration = Duration::from_millis(300);
/// The number of locks in one renewal, which takes the store some milliseconds.
const BATCH: usize = 512;

/// Renews the leases that are held, for ever.
pub(super) async fn run(store: &dyn Store, held: &Held, lease: Duration) {
    tokio::join!(renew(store, held, lease), watch(held, lease));
}

/// Stops handlers whose lease was not renewed for too long. This does not wait for
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

/// Renews locks. Returns the runs that a client wants to stop.
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
            // The last commit of the run has released the lock.
            Renewal::Lost if execution.finishing.load(Ordering::Acquire) => {}
            Renewal::Lost => execution.stop.request(StopReason::LeaseLost),
        }
    }
    Ok(asked)
}

/// Reads the requests of clients, and notifies the handlers.
async fn pass_on(store: &dyn Store, asked: &[Arc<Execution>]) -> store::Result<()> {
    let ids: Vec<_> = asked
        .iter()
        .map(|execution| execution.operation.id)
        .collect();
    for (execution, operation) in asked.iter().zip(store.summaries(&ids).await?) {
        let status = operation.map(|operation| operation.header.status);
        match status {
            Some(Status::Pausing) => execution.stop.request(StopReason::Pause),
            Some(Status::Canceling) => execution.stop.request(StopReason::Cancel),
            // The operation has moved on since. The next renewal will show its lock.
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

//! Renews all leases of a worker, and passes on requests to stop.
//!
//! Both are calls that cost the store the same or little more for many runs as for
//! one. A call that is not answered in time is repeated at once: a lease survives
//! many lost renewals, and a request to stop arrives within a second although a
//! look is lost.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use drumline_backend::MemberId;
use drumline_backend::store::{self, Renewal, Store};
use drumline_protocol::{Backoff, Status};
use tokio::time::{Instant, MissedTickBehavior, sleep};

use super::held::Held;
use crate::context::execution::Execution;
use crate::context::stop::StopReason;

/// The renewals in the time of a lease. A lease is given up after three quarters,
/// so four renewals in a row must fail, with all their repetitions.
const RENEWALS: u32 = 6;
/// The time between two looks for requests to stop. With a look that is lost, and
/// [`LOOK_TIMEOUT`], a request arrives within a second.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The time for the answer to a look, before the first repetition.
const LOOK_TIMEOUT: Duration = Duration::from_millis(250);
/// The pause before the first repetition of a call that has failed.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Renews the leases that are held by this worker, for ever.
pub(super) async fn run(store: &dyn Store, held: &Held, holder: MemberId, lease: Duration) {
    tokio::join!(
        renew(store, held, lease),
        look(store, held, holder, lease),
        watch(held, lease)
    );
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
    let interval = lease / RENEWALS;
    let mut repeated = Repeated::new(interval / 2, lease / 4);
    loop {
        let begun = Instant::now();
        let all = held.all();
        if all.is_empty() {
            sleep(interval).await;
            continue;
        }
        match repeated
            .attempt("renew leases", renew_all(store, held, &all))
            .await
        {
            Ok(asked) => {
                pass_on(store, &asked, lease).await;
                tokio::time::sleep_until(begun + interval).await;
            }
            Err(pause) => sleep(pause).await,
        }
    }
}

/// Looks for requests to stop. The answers to renewals show them, too, but later.
async fn look(store: &dyn Store, held: &Held, holder: MemberId, lease: Duration) {
    let mut repeated = Repeated::new(LOOK_TIMEOUT, lease / 4);
    loop {
        let begun = Instant::now();
        if held.all().is_empty() {
            sleep(LOOK_INTERVAL).await;
            continue;
        }
        let requests = store.stop_requests(holder);
        match repeated
            .attempt("look for requests to stop", requests)
            .await
        {
            Ok(requests) => {
                let asked = held.of(&requests).filter(|execution| !is_told(execution));
                pass_on(store, &asked.collect::<Vec<_>>(), lease).await;
                tokio::time::sleep_until(begun + LOOK_INTERVAL).await;
            }
            Err(pause) => sleep(pause).await,
        }
    }
}

/// A call that is repeated until it is answered.
struct Repeated {
    pauses: Backoff,
    timeouts: Backoff,
}

impl Repeated {
    /// `timeout` is the time for the first attempt. It doubles up to `longest`,
    /// because a store that is slow must be given the time that it needs.
    fn new(timeout: Duration, longest: Duration) -> Self {
        Self {
            pauses: Backoff::new(FIRST_PAUSE, longest / 4),
            timeouts: Backoff::new(timeout.min(longest), longest),
        }
    }

    /// Makes one attempt. On failure, returns the pause before the next one.
    async fn attempt<T>(
        &mut self,
        what: &'static str,
        call: impl Future<Output = store::Result<T>>,
    ) -> Result<T, Duration> {
        match tokio::time::timeout(self.timeouts.full(), call).await {
            Ok(Ok(answer)) => {
                self.pauses.reset();
                self.timeouts.reset();
                return Ok(answer);
            }
            Ok(Err(error)) => tracing::warn!(what, %error, "a call failed and is repeated"),
            Err(_elapsed) => tracing::debug!(what, "a call was not answered and is repeated"),
        }
        Err(self.pauses.full())
    }
}

/// Returns true if the handler needs no further request to stop.
fn is_told(execution: &Execution) -> bool {
    execution.stop.reason() >= Some(StopReason::Cancel)
}

/// Renews locks. Returns the runs that a client wants to stop.
async fn renew_all(
    store: &dyn Store,
    held: &Held,
    all: &[Arc<Execution>],
) -> store::Result<Vec<Arc<Execution>>> {
    let locks: Vec<_> = all
        .iter()
        .map(|execution| (execution.operation.id, execution.holding()))
        .collect();
    let sent = Instant::now();
    let answers = store.renew(&locks).await?;
    let mut asked = Vec::new();
    for (execution, answer) in all.iter().zip(answers) {
        match answer {
            Renewal::Held { asked_to_stop } => {
                execution.lease.renewed(sent);
                if asked_to_stop && !is_told(execution) {
                    asked.push(Arc::clone(execution));
                }
            }
            // The last commit of the run has released the lock.
            Renewal::Lost if execution.finishing.load(Ordering::Acquire) => {}
            Renewal::Lost => held.refuse(execution),
            // The next renewal comes before the lease ends.
            Renewal::Unanswered => {}
        }
    }
    Ok(asked)
}

/// Reads the requests of clients, and notifies the handlers. The next look finds
/// those that could not be read.
async fn pass_on(store: &dyn Store, asked: &[Arc<Execution>], lease: Duration) {
    if asked.is_empty() {
        return;
    }
    match tokio::time::timeout(lease / 4, read_requests(store, asked)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "requests to stop could not be read"),
        Err(_elapsed) => tracing::warn!("requests to stop were not read in time"),
    }
}

async fn read_requests(store: &dyn Store, asked: &[Arc<Execution>]) -> store::Result<()> {
    let ids: Vec<_> = asked
        .iter()
        .map(|execution| execution.operation.id)
        .collect();
    for (execution, operation) in asked.iter().zip(store.summaries(&ids).await?) {
        let status = operation.map(|operation| operation.header.status);
        match status {
            Some(Status::Pausing) => execution.stop.request(StopReason::Pause),
            Some(Status::Canceling) => execution.stop.request(StopReason::Cancel),
            // The operation has moved on since. The next renewal shows its lock.
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

//! One run of one operation: the handler, its stop signals, and its reports.
//!
//! ```text
//!             ┌─ the handler ends ────────────────────→ returned
//! execution ──┼─ asked to stop, and the grace is over ─→ dropped, or lost
//!             └─ the store refuses a report ──────────→ lost
//! ```
//!
//! The three run in one task, and the first to end decides.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use drumline_auth::Run;
use drumline_backend::store::Promoted;
use futures_util::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use super::claim::Claimed;
use super::end::{Ending, conclude};
use super::finish::finish;
use super::shared::Shared;
use super::trace;
use crate::backoff;
use crate::context::Context;
use crate::context::children::Children;
use crate::context::execution::{Execution, RunToken};
use crate::context::lease::HeldLease;
use crate::context::output::Printed;
use crate::context::report::Reporter;
use crate::context::stop::{Stop, StopReason};
use crate::handlers::registry::Registered;
use crate::later::later;
use crate::throttle::Ticket;

/// The least time between two writes of a handler's report: four a second are
/// as many as people can follow.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// Runs a claimed operation to its end. Returns the next operation of its chain
/// if the end has made that operation runnable.
///
/// Gives the slot up once the handler has ended, if nothing of a chain is behind it and the
/// store shares writes: the end and the next claim then wait for the disk together.
pub(crate) async fn execute(
    shared: &Arc<Shared>,
    registered: &Registered,
    claimed: Claimed,
    ticket: Ticket,
    slot: &mut Option<OwnedSemaphorePermit>,
) -> Option<Promoted> {
    let Claimed {
        operation,
        fence,
        sent,
        waited,
    } = claimed;
    let runs = shared.run_metrics(&operation.body);
    let secrets = shared.options.run_secrets.as_ref();
    let token = secrets.map(|secrets| {
        secrets.token(&Run {
            organization: operation.body.organization.clone(),
            caller: operation.body.owner.clone(),
            id: operation.id,
            fence,
        })
    });
    trace::record_wait(&operation, waited);
    let execution = Arc::new(Execution {
        span: trace::process_span(&operation, fence),
        reporter: Reporter::new(operation.report.clone()),
        printed: Printed::new(shared.options.kept_output()),
        operation,
        fence,
        owner: shared.member,
        token: token.map(RunToken),
        stop: Stop::default(),
        stop_by: OnceLock::new(),
        deadline: registered
            .limits
            .timeout
            .map(|timeout| later(Instant::now(), timeout)),
        lease: HeldLease::new(shared.options.lease, sent),
        finishing: AtomicBool::new(false),
    });
    // The lease must not be renewed without its run, so the guard is dropped with
    // this future.
    let _held = Holding::new(shared, &execution);
    let body = &execution.operation.body;
    runs.started(waited, &body.trace);
    shared.tally.started(body, waited);
    let started = Instant::now();
    let ending = run(shared, registered, &execution).await;
    let took = started.elapsed();
    runs.ran(took, &body.trace);
    shared.tally.ran(body, took);
    let concluded = conclude(&shared.ids, &execution, registered.limits, ending);
    let Some((end, report)) = concluded else {
        shared.metrics.ended(runs.labels(), "lost");
        return None;
    };
    ticket.ended(end.handler_succeeded());
    let is_alone = execution.operation.header.rules.chain.is_none();
    if is_alone && shared.backend.store.shares_writes() {
        drop(slot.take());
    }
    finish(shared, &execution, end, &report).await
}

/// A guard: the lease of the execution is renewed until the guard is dropped.
struct Holding<'a> {
    shared: &'a Shared,
    execution: &'a Execution,
}

impl<'a> Holding<'a> {
    fn new(shared: &'a Shared, execution: &'a Arc<Execution>) -> Self {
        shared.held.hold(execution);
        Self { shared, execution }
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.shared.held.release(self.execution);
    }
}

async fn run(shared: &Arc<Shared>, registered: &Registered, execution: &Arc<Execution>) -> Ending {
    let handler = Arc::clone(&registered.handler);
    let children = Arc::new(Children::new(
        Arc::clone(&shared.backend.store),
        Arc::clone(&shared.publisher),
        Arc::clone(&shared.tally),
        shared.random.clone(),
        shared.options.depth,
    ));
    let context = Context::new(Arc::clone(execution), children);
    let handler = AssertUnwindSafe(async move { handler.run(context).await })
        .catch_unwind()
        .instrument(execution.span.clone());
    let grace = registered.limits.grace.unwrap_or(shared.options.grace);
    tokio::select! {
        // The handler comes first, because most handlers end before anything else
        // happens.
        biased;
        outcome = handler => Ending::Returned(outcome),
        ending = end_by_request(shared, execution, grace) => ending,
        () = write_reports(shared, execution) => Ending::Lost,
    }
}

/// Waits until the handler must be dropped.
async fn end_by_request(shared: &Shared, execution: &Execution, grace: Duration) -> Ending {
    let stop = &execution.stop;
    match execution.deadline {
        None => drop(stop.requested().await),
        Some(deadline) => tokio::select! {
            _reason = stop.requested() => {}
            () = sleep_until(deadline) => stop.request(StopReason::Timeout),
        },
    }
    let mut stop_by = later(Instant::now(), grace);
    if let Some(drained_by) = shared.drained_by.get() {
        stop_by = stop_by.min(*drained_by);
    }
    let stop_by = *execution.stop_by.get_or_init(|| stop_by);
    tokio::select! {
        () = stop.lost() => Ending::Lost,
        () = sleep_until(stop_by) => Ending::Dropped,
        () = end_of_drain(shared) => Ending::Dropped,
    }
}

/// Waits until a drain, which may begin later than a stop, leaves no more time.
async fn end_of_drain(shared: &Shared) {
    shared.stopping.cancelled().await;
    match shared.drained_by.get() {
        Some(drained_by) => sleep_until(*drained_by).await,
        None => std::future::pending().await,
    }
}

/// Writes the handler's reports, now and then. Ends when the store answers that
/// this worker has lost the operation.
async fn write_reports(shared: &Shared, execution: &Execution) {
    let id = execution.operation.id;
    let mut backoff = backoff::for_report(REPORT_EVERY, &shared.random);
    loop {
        execution.reporter.unwritten().await;
        let (report, parts, edition) = execution.reporter.edition();
        match shared
            .backend
            .store
            .report(id, execution.holding(), &report, parts)
            .await
        {
            Ok(true) => {
                execution.reporter.wrote(edition);
                backoff.reset();
                tokio::time::sleep(REPORT_EVERY).await;
            }
            Ok(false) => {
                execution.stop.request(StopReason::LeaseLost);
                return;
            }
            Err(error) => {
                tracing::debug!(%id, %error, "a report is written later");
                backoff.sleep().await;
            }
        }
    }
}

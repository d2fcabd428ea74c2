//! Writes the end of a run to the store.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use drumline_backend::apply_event::{Applied, OutputOf, apply_end_through};
use drumline_backend::store::{self, Holding, Promoted, Summary};
use drumline_protocol::transition::Event;
use drumline_protocol::{Fence, Header, Operation, Report, Status};

use super::claim::Claimed;
use super::end::RunEnd;
use super::shared::Shared;
use super::trace;
use crate::context::execution::Execution;

/// Commits the end of a run, and returns the chain's next operation if the
/// commit has made it runnable. Tries until the lease is over.
pub(crate) async fn finish(
    shared: &Arc<Shared>,
    execution: &Execution,
    end: RunEnd,
    report: &Report,
) -> Option<Promoted> {
    execution.finishing.store(true, Ordering::Release);
    let fault = end.fault().cloned();
    let code = fault.as_ref().map(|fault| fault.code);
    let attempt = execution.operation.header.attempt();
    let has_fault = fault.is_some();
    // A run that is given back fails, too, if its operation may start only once.
    let output = |after: &Header| {
        let has_failed = has_fault || after.status == Status::Failed;
        let has_succeeded = after.status == Status::Succeeded;
        execution.printed.parts(attempt, has_failed, has_succeeded)
    };
    let event = end.into_event();
    let name = event.name();
    let id = execution.operation.id;
    // Pinned here: a future that is passed on is copied, and this one is large.
    let deciding = pin!(commit(shared, execution, event, report, &output));
    let decided = tokio::select! {
        biased;
        decided = shared.metrics.of_store("end", deciding) => decided,
        () = execution.stop.lost() => {
            tracing::warn!(%id, outcome = name, "the lease ended before the outcome was written");
            shared.lost(execution, "the lease was lost");
            return None;
        }
    };
    match decided {
        Ok(Applied::Done(header, done)) => {
            tracing::debug!(
                %id, outcome = name, status = header.status.name(),
                attempt = header.attempt(), "run ended"
            );
            let outcome = outcome_name(header.status);
            trace::record_outcome(&execution.span, outcome, fault.as_ref());
            let Operation {
                body,
                header: before,
                ..
            } = &execution.operation;
            shared
                .tally
                .changed(id, body, before, &header, fault.as_ref());
            let runs = shared.run_metrics(&execution.operation.body);
            shared.metrics.ended(runs.labels(), outcome);
            if header.status == Status::Failed {
                tracing::info!(
                    %id,
                    message_name = body.message_name,
                    code = code.map(tracing::field::display),
                    attempt = header.attempt(),
                    trace = body.trace.traceparent,
                    "an operation has failed"
                );
            }
            if let Some(stamp) = done.offer {
                // The operation is given back. Other workers need not wait for the
                // relay.
                let operation = Summary {
                    header,
                    ..Summary::of(&execution.operation)
                };
                shared.publisher.hand_on(&Promoted::new(operation, stamp));
            }
            done.promoted
        }
        Ok(Applied::Fenced | Applied::Missing | Applied::NotHead | Applied::Held) => {
            tracing::warn!(%id, outcome = name, "the operation was taken over meanwhile");
            shared.metrics.end_refused();
            shared.lost(execution, "the operation was taken over");
            None
        }
        Ok(Applied::Refused(refused)) => {
            tracing::error!(%id, outcome = name, %refused, "the outcome of a run is not possible in the operation's state");
            None
        }
        Err(error) => {
            tracing::error!(%id, outcome = name, %error, "the outcome could not be written");
            None
        }
    }
}

impl Shared {
    /// A holding of this worker.
    pub(super) const fn holding(&self, fence: Fence) -> Holding {
        Holding {
            owner: self.member,
            fence,
        }
    }

    /// Notes a run whose outcome is not written, because another worker may have the
    /// operation.
    pub(super) fn lost(&self, execution: &Execution, why: &str) {
        trace::record_loss(&execution.span, why);
        let runs = self.run_metrics(&execution.operation.body);
        self.metrics.ended(runs.labels(), "lost");
    }
}

/// Commits the event. An event (a retry, say) may be refused because a client has
/// asked for a pause or a cancel meanwhile: the handler has simply stopped then.
/// If this event is refused too, the operation is given back.
async fn commit(
    shared: &Shared,
    execution: &Execution,
    event: Event,
    report: &Report,
    output: OutputOf<'_>,
) -> store::Result<Applied> {
    let (operation, holding) = (&execution.operation, execution.holding());
    let end = |event| apply_event(shared, operation, holding, event, report, output);
    let mut decided = end(event).await?;
    for instead in [Event::Stopped, Event::Release] {
        if !matches!(decided, Applied::Refused(_)) {
            break;
        }
        decided = end(instead).await?;
    }
    Ok(decided)
}

/// Gives back an operation that was claimed and not started: the start is not
/// counted. Offers the operation by the message name of its record.
pub(crate) async fn release_unstarted(shared: &Shared, claimed: Claimed) {
    let Claimed {
        operation, fence, ..
    } = claimed;
    let holding = shared.holding(fence);
    let event = Event::ReleaseUnstarted;
    let none = |_: &Header| None;
    match apply_event(shared, &operation, holding, event, &operation.report, &none).await {
        Ok(Applied::Done(header, done)) => {
            if let Some(stamp) = done.offer {
                let operation = Summary {
                    header,
                    ..Summary::of(&operation)
                };
                shared.publisher.hand_on(&Promoted::new(operation, stamp));
            }
        }
        // A client or another worker has it now.
        Ok(
            Applied::Refused(_)
            | Applied::NotHead
            | Applied::Held
            | Applied::Fenced
            | Applied::Missing,
        ) => {}
        Err(error) => {
            tracing::warn!(id = %operation.id, %error, "an operation is left to the next holder");
        }
    }
}

/// Makes an event happen to an operation that this worker holds.
async fn apply_event(
    shared: &Shared,
    operation: &Operation,
    holding: Holding,
    event: Event,
    report: &Report,
    output: OutputOf<'_>,
) -> store::Result<Applied> {
    apply_end_through(
        &shared.committer,
        shared.signature(),
        operation.id,
        operation.header.clone(),
        event,
        holding,
        report,
        output,
    )
    .await
}

const fn outcome_name(status: Status) -> &'static str {
    match status {
        Status::Succeeded => "succeeded",
        Status::Failed => "failed",
        Status::Canceled => "canceled",
        Status::Waiting => "suspended",
        Status::WaitingForResources => "released",
        // No event ends a run and leaves its operation locked.
        Status::InProgress | Status::Pausing | Status::Canceling => "locked",
    }
}

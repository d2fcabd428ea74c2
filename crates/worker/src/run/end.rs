//! The end of a run: from the handler's last word to the event of the operation.
//!
//! ```text
//! handler returned, was dropped, lost its lease ─→ conclude ─→ RunEnd ─→ finish
//!                                                                └─→ throttle
//! ```
//!
//! A run can end in six ways, far fewer than there are events. The two questions
//! that the worker has about an end (is there a fault, is the handler to blame)
//! are answered here, so a new event of the state machine changes nothing in the
//! worker.

use std::any::Any;
use std::time::Duration;

use drumline_api::payload;
use drumline_backend::Ids;
use drumline_protocol::transition::Event;
use drumline_protocol::{ErrorCode, Fault, Jitter, Report};
use tokio::time::Instant;

use super::trace;
use crate::context::execution::Execution;
use crate::context::report::REPORT_BYTES;
use crate::context::stop::StopReason;
use crate::handlers::Limits;
use crate::handlers::outcome::{Outcome, too_large};

/// The way in which the handler has come to its end.
pub(super) enum Ending {
    /// The handler has come to its end, or panicked.
    Returned(Result<Outcome, Box<dyn Any + Send>>),
    /// The handler has not stopped in time and was dropped.
    Dropped,
    /// This worker has lost the operation. The handler was dropped.
    Lost,
}

/// The end of a run.
#[derive(Debug)]
pub(crate) enum RunEnd {
    Succeeded,
    /// Failed for good.
    Failed(Fault),
    /// To be tried again: after `after`, or by the retry policy.
    Retried {
        fault: Fault,
        after: Option<Duration>,
        jitter: Jitter,
    },
    /// Waits for a person.
    Suspended(Fault),
    /// Stopped, as a client has asked.
    Stopped,
    /// Given back to other workers.
    Released,
}

impl RunEnd {
    /// The fault, if the run has one.
    pub(crate) const fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Failed(fault) | Self::Suspended(fault) | Self::Retried { fault, .. } => {
                Some(fault)
            }
            Self::Succeeded | Self::Stopped | Self::Released => None,
        }
    }

    /// Returns true if the handler has succeeded, and `None` if the end says
    /// nothing about the handler.
    pub(crate) const fn handler_succeeded(&self) -> Option<bool> {
        match self {
            Self::Succeeded => Some(true),
            Self::Failed(_) | Self::Retried { .. } => Some(false),
            Self::Suspended(_) | Self::Stopped | Self::Released => None,
        }
    }

    /// The event that the operation goes through.
    pub(crate) fn into_event(self) -> Event {
        match self {
            Self::Succeeded => Event::Succeed,
            Self::Failed(fault) => Event::Fail(fault),
            Self::Retried {
                fault,
                after,
                jitter,
            } => Event::Retry {
                fault,
                after,
                jitter,
            },
            Self::Suspended(fault) => Event::Suspend(fault),
            Self::Stopped => Event::Stopped,
            Self::Released => Event::Release,
        }
    }
}

/// The end of the run. `None` if this worker has lost the operation.
pub(super) fn conclude(
    ids: &Ids,
    execution: &Execution,
    limits: Limits,
    ending: Ending,
) -> Option<(RunEnd, Report)> {
    let mut report = execution.reporter.latest();
    let retry = |fault, after| RunEnd::Retried {
        fault,
        after,
        jitter: ids.jitter(),
    };
    // A run that ends too late has not succeeded, whatever it says and whatever else
    // it was asked since: the caller that set the time may have acted on it.
    let is_too_late = execution
        .deadline
        .is_some_and(|deadline| Instant::now() >= deadline);
    let end = match ending {
        Ending::Returned(Ok(Outcome::Done(result))) if !is_too_late => {
            match result.map(checked).transpose() {
                Ok(result) => {
                    report.result = result;
                    // The fault and the checkpoint of earlier runs are obsolete.
                    report.fault = None;
                    report.checkpoint = None;
                    RunEnd::Succeeded
                }
                Err(fault) => RunEnd::Failed(fault),
            }
        }
        Ending::Returned(Ok(Outcome::Retry { fault, after })) => retry(fault, after),
        Ending::Returned(Ok(Outcome::Fail(fault))) => RunEnd::Failed(fault),
        Ending::Returned(Ok(Outcome::Suspend(fault))) => RunEnd::Suspended(fault),
        Ending::Returned(Err(panic)) => RunEnd::Failed(panicked(&*panic)),
        Ending::Returned(Ok(Outcome::Stopped | Outcome::Done(_))) | Ending::Dropped => {
            match execution.stop.reason() {
                Some(StopReason::Pause | StopReason::Cancel) => RunEnd::Stopped,
                Some(StopReason::Drain) => RunEnd::Released,
                Some(StopReason::LeaseLost) => return lost(execution),
                Some(StopReason::Timeout) | None if is_too_late && limits.retry_on_timeout => {
                    retry(timed_out(limits), None)
                }
                Some(StopReason::Timeout) | None if is_too_late => {
                    RunEnd::Failed(timed_out(limits))
                }
                Some(StopReason::Timeout) | None => RunEnd::Failed(Fault::new(
                    ErrorCode::HANDLER_FAILED,
                    "The operation has failed.",
                    "the handler has stopped without being asked to",
                )),
            }
        }
        Ending::Lost => return lost(execution),
    };
    if execution.stop.is_lost() {
        return lost(execution);
    }
    Some((end, report))
}

/// The result as it is stored: JSON that every reader of the operation can parse,
/// and of a size that every reader can take.
fn checked(result: String) -> Result<String, Fault> {
    if result.len() > REPORT_BYTES {
        return Err(too_large(result.len()));
    }
    let result = payload::mended(result);
    payload::check_text(&result).map_err(|error| {
        Fault::new(
            ErrorCode::BAD_JSON,
            "The result cannot be stored.",
            &format!("the result {error}"),
        )
    })?;
    Ok(result)
}

fn lost<T>(execution: &Execution) -> Option<T> {
    tracing::warn!(
        id = %execution.operation.id, fence = %execution.fence,
        "the lease was lost; the handler was stopped and nothing is written"
    );
    trace::record_loss(&execution.span, "the lease was lost");
    None
}

fn timed_out(limits: Limits) -> Fault {
    let timeout = humantime::format_duration(limits.timeout.unwrap_or_default());
    Fault::new(
        ErrorCode::HANDLER_TIMEOUT,
        "The operation took too long and was stopped.",
        &format!("the handler has not ended within {timeout}"),
    )
}

fn panicked(panic: &(dyn Any + Send)) -> Fault {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Fault::new(
        ErrorCode::HANDLER_FAILED,
        "The operation has failed because of a defect in its handler.",
        &format!("the handler panicked: {text}"),
    )
}

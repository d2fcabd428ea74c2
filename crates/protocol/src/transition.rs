//! Every transition of an operation, as one function.
//!
//! [`apply`] takes a header and an event and gives the next header together
//! with the [`Effects`] that a store must perform in the same commit, or a
//! [`Refused`] that says why not and what would be legal. It does nothing
//! itself. The table that it implements is drawn in docs/states.md.
//!
//! ```text
//! event ── what can happen      ┐
//! action ─ what clients can ask ├─ apply: which arrow ─ arrow: where it leads ─ effects
//! header ─ where it stands      ┘
//! ```

mod action;
mod arrow;
mod effects;
mod event;

use crate::error_code::ErrorCode;
use crate::id::CommitId;
use crate::operation::{Fault, Header, StopRequest};
use crate::status::Status;
use crate::time::Timestamp;

use self::arrow::Arrow;

pub use self::action::{Action, Refused, is_already, legal_actions, refuse_run_again};
pub use self::arrow::service_fault;
pub use self::effects::{ChainEffect, DueEffect, Effects, EndClass, LockEffect, OfferEffect};
pub use self::event::{Event, EventKind};

/// When a transition is made, and under which name it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The store's time.
    pub now: Timestamp,
    /// The commit's name.
    pub commit: CommitId,
}

/// The next header, and what has to happen with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The kind of the event that makes it.
    pub event: EventKind,
    /// The next header, its version one higher.
    pub header: Header,
    /// The effects that the store performs in the same commit.
    pub effects: Effects,
    /// The fault for the report, if the event brings one.
    pub fault: Option<Fault>,
}

/// The transition that `event` makes from `header`.
///
/// # Errors
/// [`Refused`] where the table has no such arrow. The header is unchanged.
pub fn apply(header: &Header, event: Event, at: At) -> Result<Transition, Refused> {
    let mut transition = decide(header, event, at)?;
    transition.header.note_fault(transition.fault.as_ref());
    Ok(transition)
}

/// The arrow of the table that the event takes.
fn decide(header: &Header, event: Event, at: At) -> Result<Transition, Refused> {
    let from = Arrow {
        header,
        event: event.kind(),
        at,
    };
    // Some operation types are closed to clients.
    let open = header.rules.operation_type.can_be_controlled();
    match (header.status, event) {
        // Nothing starts late, even if the scheduler is late.
        (Status::WaitingForResources, Event::Claim { host }) if !header.is_expired(at.now) => {
            Ok(from.claim(host))
        }

        (Status::InProgress | Status::Pausing | Status::Canceling, Event::Succeed) => {
            Ok(from.complete(Status::Succeeded, None))
        }
        (Status::InProgress | Status::Pausing | Status::Canceling, Event::Fail(fault)) => {
            Ok(from.complete(Status::Failed, Some(fault)))
        }
        (
            Status::InProgress,
            Event::Retry {
                fault,
                after,
                jitter,
            },
        ) => Ok(from.retry(fault, after, jitter)),
        // A handler that wants a person while it is being cancelled is simply
        // stopped: the cancel must not get lost.
        (Status::InProgress | Status::Pausing, Event::Suspend(fault)) => {
            Ok(from.suspend_run(fault))
        }
        (Status::Pausing, Event::Stopped | Event::LeaseExpired | Event::Release) => {
            Ok(from.pausing_ended())
        }
        (Status::Canceling, Event::Stopped | Event::LeaseExpired | Event::Release) => {
            Ok(from.complete(Status::Canceled, None))
        }
        (Status::InProgress, Event::Release) => Ok(from.release()),
        (Status::InProgress | Status::Pausing | Status::Canceling, Event::ReleaseUnstarted) => {
            let unstarted = unstarted(header);
            let from = Arrow {
                header: &unstarted,
                ..from
            };
            Ok(match header.status {
                Status::Pausing => from.pausing_ended_unstarted(),
                Status::Canceling => from.complete(Status::Canceled, None),
                Status::InProgress
                | Status::WaitingForResources
                | Status::Waiting
                | Status::Succeeded
                | Status::Failed
                | Status::Canceled => from.ready(),
            })
        }
        (Status::InProgress, Event::LeaseExpired) => Ok(from.lose_worker()),

        (Status::WaitingForResources, Event::Pause) if open => Ok(from.suspend(None, None)),
        // From a time, or from a retry, to a person. A paused series waits for a
        // person, no longer for its time.
        (Status::Waiting, Event::Pause) if open && header.postpone_until.is_some() => {
            Ok(from.suspend(None, None))
        }
        // It is about to be postponed, and is to wait for a person instead.
        (Status::Pausing, Event::Pause)
            if open && matches!(header.stop, Some(StopRequest::Postpone(_))) =>
        {
            Ok(from.ask_to_pause(StopRequest::Pause))
        }
        (Status::InProgress, Event::Pause) if open && can_start_again(header) => {
            Ok(from.ask_to_pause(StopRequest::Pause))
        }
        // Of any type: what the service or a handler has suspended without a time
        // must not wait for ever. No client can have paused a closed one.
        (Status::Waiting, Event::Resume)
            if (open || header.waits_without_time()) && !header.is_series() =>
        {
            Ok(from.ready())
        }
        // Of any type: no caller is helped by a chain that stands still for ever.
        (Status::Failed | Status::Canceled, Event::Resume) if header.holding => {
            Ok(from.stop_holding())
        }
        // Postponed to its `notAfter` or beyond, the operation could only expire.
        (Status::WaitingForResources | Status::Waiting, Event::Postpone(until))
            if header.expires_on().is_none_or(|on| until < on) =>
        {
            Ok(from.suspend(Some(until), None))
        }
        (Status::InProgress, Event::Postpone(until)) if can_start_again(header) => {
            Ok(from.ask_to_pause(StopRequest::Postpone(until)))
        }
        (Status::WaitingForResources | Status::Waiting, Event::Cancel)
            if open || header.waits_without_time() =>
        {
            Ok(from.complete(Status::Canceled, None))
        }
        (Status::WaitingForResources | Status::Waiting, Event::Discard)
            if open || header.waits_without_time() =>
        {
            Ok(from.discard())
        }
        (Status::InProgress | Status::Pausing, Event::Cancel | Event::Discard) if open => {
            Ok(from.ask_to_cancel())
        }

        // A client may have cleared or moved the time since the due set was
        // read. A time still to come, judged by the store's clock, stands.
        (Status::Waiting, Event::Due) if !header.is_series() && is_due(header, at) => {
            Ok(from.ready())
        }
        // `notAfter` never changes, but the operation may have started since the
        // due set was read.
        (Status::WaitingForResources | Status::Waiting, Event::Expire)
            if header.is_expired(at.now) =>
        {
            Ok(from.expire())
        }
        (Status::Waiting, Event::Occur { last, next })
            if header.is_series() && is_due(header, at) =>
        {
            Ok(from.occur(last, next))
        }
        // Of one that is paused it may well be meant as a resume.
        (Status::Waiting, Event::Reschedule { recurrence, next })
            if header.is_series() && (open || header.postpone_until.is_some()) =>
        {
            Ok(from.reschedule(recurrence, next))
        }
        (Status::WaitingForResources, Event::Unhandled) => {
            Ok(from.suspend(None, Some(no_handler())))
        }
        (Status::WaitingForResources, Event::Throttle) => Ok(from.suspend(None, Some(throttled()))),
        (Status::Succeeded | Status::Failed | Status::Canceled, Event::Delete)
            if !header.holding =>
        {
            Ok(from.remove())
        }

        (
            Status::WaitingForResources
            | Status::Waiting
            | Status::InProgress
            | Status::Pausing
            | Status::Canceling
            | Status::Succeeded
            | Status::Failed
            | Status::Canceled,
            event @ (Event::Claim { .. }
            | Event::Succeed
            | Event::Fail(_)
            | Event::Retry { .. }
            | Event::Suspend(_)
            | Event::Stopped
            | Event::Release
            | Event::ReleaseUnstarted
            | Event::LeaseExpired
            | Event::Pause
            | Event::Resume
            | Event::Postpone(_)
            | Event::Cancel
            | Event::Discard
            | Event::Due
            | Event::Expire
            | Event::Occur { .. }
            | Event::Reschedule { .. }
            | Event::Unhandled
            | Event::Throttle
            | Event::Delete),
        ) => Err(Refused::new(header, &event)),
    }
}

/// Returns true if the operation may be started once more after it was stopped.
const fn can_start_again(header: &Header) -> bool {
    !header.rules.at_most_once
}

/// Returns true if its time has come.
fn is_due(header: &Header, at: At) -> bool {
    header.postpone_until.is_some_and(|until| until <= at.now)
}

/// The header of a claim whose handler was not started: without the start.
fn unstarted(header: &Header) -> Header {
    Header {
        starts: header.starts.saturating_sub(1),
        // No time was spent in a handler.
        started_on: None,
        ..header.clone()
    }
}

fn no_handler() -> Fault {
    Fault::new(
        ErrorCode::NO_HANDLER,
        "No worker has a handler for this. It goes on when one has.",
        "no live worker of the queue has a handler for the message name",
    )
}

fn throttled() -> Fault {
    Fault::new(
        ErrorCode::THROTTLED,
        "Other operations of its kind keep failing. It goes on when these succeed again.",
        "the handler of the message name fails too often and is throttled",
    )
}

#[cfg(test)]
mod tests;

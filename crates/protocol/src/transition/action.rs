//! The actions that clients can ask for, and the refusals.

use crate::error_code::ErrorCode;
use crate::operation::{Header, StopRequest};
use crate::status::{State, Status};

use super::{Event, can_start_again};

/// An action that a client can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Completed/Canceled.
    Cancel,
    /// Suspended until a person resumes it.
    Pause,
    /// Ready again; for a series: due again at its next time; for one that
    /// holds its chain: the chain goes on.
    Resume,
    /// Suspended until a time.
    Postpone,
    /// Gone.
    Delete,
}

impl Action {
    /// All five.
    pub const ALL: [Self; 5] = [
        Self::Cancel,
        Self::Pause,
        Self::Resume,
        Self::Postpone,
        Self::Delete,
    ];

    /// The word in addresses and commands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Postpone => "postpone",
            Self::Delete => "delete",
        }
    }
}

/// A transition that the table does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event} is not possible: the operation is {} ({}){}", status.state().name(), status.name(), why.map(|why| format!(", and {why}")).unwrap_or_default())]
pub struct Refused {
    /// The words for the event that was asked for.
    pub event: &'static str,
    /// The status of the operation.
    pub status: Status,
    /// The code that users know.
    pub code: ErrorCode,
    /// The rule, where it is not the status alone.
    pub why: Option<&'static str>,
    /// The actions that a client could ask for instead.
    pub legal: Vec<Action>,
}

impl Refused {
    pub(super) fn new(header: &Header, event: &Event) -> Self {
        let legal = if is_a_clients(event) {
            legal_actions(header)
        } else {
            Vec::new()
        };
        Self {
            event: in_words(event),
            status: header.status,
            code: refusal_code(header, event),
            why: why_not(header, event),
            legal,
        }
    }
}

/// The actions that a client could ask for now. The same facts as in
/// [`apply`](super::apply), read from the status; a test holds the two together.
#[must_use]
pub fn legal_actions(header: &Header) -> Vec<Action> {
    let series = header.recurrence.is_some();
    let by_status: &[Action] = match header.status {
        Status::WaitingForResources => &[Action::Cancel, Action::Pause, Action::Postpone],
        // A series that is not paused waits for its time.
        Status::Waiting if series && header.postpone_until.is_some() => {
            &[Action::Cancel, Action::Pause, Action::Postpone]
        }
        Status::Waiting if header.postpone_until.is_some() => &[
            Action::Cancel,
            Action::Pause,
            Action::Resume,
            Action::Postpone,
        ],
        Status::Waiting => &[Action::Cancel, Action::Resume, Action::Postpone],
        Status::InProgress if !can_start_again(header) => &[Action::Cancel],
        Status::InProgress => &[Action::Cancel, Action::Pause, Action::Postpone],
        Status::Pausing if matches!(header.stop, Some(StopRequest::Postpone(_))) => {
            &[Action::Cancel, Action::Pause]
        }
        Status::Pausing => &[Action::Cancel],
        Status::Canceling => &[],
        // It would be gone, and its successors would wait behind nothing.
        Status::Failed | Status::Canceled if header.holding => return vec![Action::Resume],
        Status::Succeeded | Status::Failed | Status::Canceled => &[Action::Delete],
    };
    let open = header.rules.operation_type.can_be_controlled() || header.waits_without_time();
    by_status
        .iter()
        .copied()
        .filter(|action| open || matches!(action, Action::Postpone | Action::Delete))
        .collect()
}

/// Returns the refusal of running an operation again; `None` if it can. Its work is
/// done by a new operation, so this is no transition.
#[must_use]
pub fn refuse_run_again(header: &Header) -> Option<Refused> {
    let why = if header.is_series() {
        "a series runs by its occurrences"
    } else if header.status.state() != State::Completed {
        "only a Completed operation runs again"
    } else {
        return None;
    };
    Some(Refused {
        event: "running again",
        status: header.status,
        code: ErrorCode::INVALID_READY,
        why: Some(why),
        legal: legal_actions(header),
    })
}

/// Returns true if an operation is already what a client asks for. Such a request has
/// nothing to do, and is no mistake: the client may have repeated it.
#[must_use]
pub fn is_already(header: &Header, event: &Event) -> bool {
    let asked = match header.status {
        Status::Canceling => matches!(event, Event::Cancel | Event::Discard),
        Status::Pausing => matches!(event, Event::Pause) && header.stop == Some(StopRequest::Pause),
        Status::Waiting => matches!(event, Event::Pause) && header.postpone_until.is_none(),
        Status::WaitingForResources
        | Status::InProgress
        | Status::Succeeded
        | Status::Failed
        | Status::Canceled => false,
    };
    asked && header.rules.operation_type.can_be_controlled()
}

/// The event in the words of the caller who asked for it.
const fn in_words(event: &Event) -> &'static str {
    if matches!(event, Event::Reschedule { .. }) {
        "a change of the recurrence rule"
    } else {
        event.name()
    }
}

const fn is_a_clients(event: &Event) -> bool {
    match event {
        Event::Cancel
        | Event::Discard
        | Event::Pause
        | Event::Resume
        | Event::Postpone(_)
        | Event::Reschedule { .. }
        | Event::Delete => true,
        Event::Claim { .. }
        | Event::Succeed
        | Event::Fail(_)
        | Event::Retry { .. }
        | Event::Suspend(_)
        | Event::Stopped
        | Event::Release
        | Event::ReleaseUnstarted
        | Event::LeaseExpired
        | Event::Due
        | Event::Expire
        | Event::Occur { .. }
        | Event::Unhandled
        | Event::Throttle => false,
    }
}

/// The rule that stands against it, where it is not the status alone.
const fn why_not(header: &Header, event: &Event) -> Option<&'static str> {
    let closed = !header.rules.operation_type.can_be_controlled();
    let can_expire = header.expires_on().is_some();
    let is_ready = matches!(header.status, Status::WaitingForResources);
    let is_running = matches!(header.status, Status::InProgress);
    match event {
        Event::Delete if header.holding => Some("it holds its chain: resume it first"),
        Event::Cancel | Event::Discard | Event::Pause | Event::Resume if closed => {
            Some("operations of its type cannot be cancelled, paused or resumed")
        }
        Event::Pause | Event::Postpone(_) if is_running && !can_start_again(header) => {
            Some("it may start only once: let it end, or cancel it")
        }
        Event::Resume | Event::Due if header.is_series() => {
            Some("it recurs: its occurrences run, it does not")
        }
        Event::Claim { .. } if can_expire && is_ready => Some("its notAfter has come"),
        Event::Postpone(_) if can_expire => {
            Some("it would expire first: its notAfter is not later")
        }
        Event::Occur { .. } | Event::Reschedule { .. } if !header.is_series() => {
            Some("it does not recur")
        }
        Event::Reschedule { .. } if matches!(header.status.state(), State::Completed) => {
            Some("the series has ended")
        }
        Event::Reschedule { .. } if closed => {
            Some("operations of its type cannot be cancelled, paused or resumed")
        }
        Event::Claim { .. }
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
        | Event::Delete => None,
    }
}

const fn refusal_code(header: &Header, event: &Event) -> ErrorCode {
    match event {
        Event::Cancel | Event::Discard => ErrorCode::CANNOT_CANCEL,
        Event::Pause => ErrorCode::CANNOT_PAUSE,
        Event::Delete => ErrorCode::CANNOT_DELETE,
        Event::Resume | Event::Due => ErrorCode::INVALID_READY,
        Event::Reschedule { .. } if !header.is_series() => ErrorCode::CANNOT_UPDATE_NONRECURRING,
        Event::Reschedule { .. } => ErrorCode::CANNOT_UPDATE_RECURRING,
        Event::Postpone(_) | Event::Unhandled | Event::Throttle => ErrorCode::INVALID_SUSPENDED,
        Event::Succeed | Event::Fail(_) | Event::Expire => ErrorCode::INVALID_COMPLETED,
        Event::Claim { .. }
        | Event::Retry { .. }
        | Event::Suspend(_)
        | Event::Stopped
        | Event::Release
        | Event::ReleaseUnstarted
        | Event::LeaseExpired
        | Event::Occur { .. } => ErrorCode::INVALID_STATE_CHANGE,
    }
}

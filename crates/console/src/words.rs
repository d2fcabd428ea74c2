//! Statuses and reasons in a few words: what a row says about an operation.

use std::fmt;
use std::time::Duration;

use askama::filters::HtmlSafe;
use drumline_protocol::transition::EventKind;
use drumline_protocol::{Action, BulkKind, Header, State, Status, StopRequest, Timestamp};

use crate::text::Text;
use crate::time::span;

/// A status by word, sign and colour. Written as an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Badge(pub Status);

impl Badge {
    /// The word.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self.0 {
            Status::WaitingForResources => "Ready",
            Status::Waiting => "Suspended",
            Status::InProgress => "In progress",
            Status::Pausing => "Pausing",
            Status::Canceling => "Canceling",
            Status::Succeeded => "Succeeded",
            Status::Failed => "Failed",
            Status::Canceled => "Canceled",
        }
    }

    /// The sign, for those who do not see the colour.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self.0 {
            Status::WaitingForResources => "○",
            Status::Waiting => "❙❙",
            Status::InProgress => "▶",
            Status::Pausing | Status::Canceling => "▷",
            Status::Succeeded => "✓",
            Status::Failed => "✕",
            Status::Canceled => "⊘",
        }
    }

    /// The class in the style sheet.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self.0 {
            Status::WaitingForResources => "ready",
            Status::Waiting => "suspended",
            Status::InProgress | Status::Pausing | Status::Canceling => "running",
            Status::Succeeded => "succeeded",
            Status::Failed => "failed",
            Status::Canceled => "canceled",
        }
    }
}

// All texts are ours.
impl HtmlSafe for Badge {}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, sign, label) = (self.class(), self.sign(), self.label());
        write!(
            f,
            "<span class=\"badge {class}\"><span aria-hidden=\"true\">{sign}</span> {label}</span>"
        )
    }
}

/// The reason why an operation stands where it stands, as far as its header tells.
#[must_use]
pub fn reason(header: &Header, now: Timestamp) -> Text {
    let words = match header.status {
        Status::WaitingForResources if header.starts > 0 => "waits to start again".to_owned(),
        Status::WaitingForResources if header.rules.chain.is_some() => {
            "waits for its turn".to_owned()
        }
        Status::WaitingForResources => "waits for a worker".to_owned(),
        Status::Waiting => suspended(header, now),
        Status::InProgress => match header.started_on {
            Some(since) => format!("runs for {}", span(now.since(since))),
            None => "runs".to_owned(),
        },
        Status::Pausing => match header.stop {
            Some(StopRequest::Postpone(_)) => "is asked to wait".to_owned(),
            Some(StopRequest::Pause) | None => "is asked to pause".to_owned(),
        },
        Status::Canceling => "is asked to stop".to_owned(),
        Status::Failed | Status::Canceled if header.holding => "holds its token".to_owned(),
        Status::Succeeded | Status::Failed | Status::Canceled if header.starts > 0 => {
            format!("after {}", span(Duration::from_millis(header.execution_ms)))
        }
        Status::Succeeded | Status::Failed | Status::Canceled => "was never started".to_owned(),
    };
    Text::line(&words)
}

fn suspended(header: &Header, now: Timestamp) -> String {
    let what = if header.is_series() {
        "next time"
    } else if header.retry_count > 0 {
        "tries again"
    } else {
        "goes on"
    };
    match header.postpone_until {
        Some(until) if until > now => format!("{what} in {}", span(until.since(now))),
        Some(_) => format!("{what} now"),
        None if header.is_series() => "the series is paused".to_owned(),
        None => "waits to be resumed".to_owned(),
    }
}

/// The state of an operation between two changes, for a bar.
pub(crate) const fn lane(status: Status) -> &'static str {
    match status.state() {
        State::Ready => "wait",
        State::Suspended => "pause",
        State::Locked => "run",
        State::Completed => "end",
    }
}

/// An event of the history, in words.
pub(crate) const fn event(event: EventKind) -> &'static str {
    match event {
        EventKind::Create => "Created",
        EventKind::Claim => "Started",
        EventKind::Succeed => "Succeeded",
        EventKind::Fail => "Failed",
        EventKind::Retry => "Failed, to be tried again",
        EventKind::Suspend => "Suspended by its handler",
        EventKind::Stopped => "Stopped",
        EventKind::Release => "Given back by its worker",
        EventKind::LeaseExpired => "Taken from a lost worker",
        EventKind::Pause => "Paused",
        EventKind::Resume => "Resumed",
        EventKind::Postpone => "Postponed",
        EventKind::Cancel => "Cancelled",
        EventKind::Discard => "Cancelled behind another",
        EventKind::Due => "Came due",
        EventKind::Expire => "Expired",
        EventKind::Occur => "Created an occurrence",
        EventKind::Reschedule => "Rule changed",
        EventKind::Unhandled => "No worker had a handler",
        EventKind::Throttle => "Held back after failures",
        EventKind::Delete => "Deleted",
    }
}

/// An action as the label of a button.
#[must_use]
pub const fn action(action: Action) -> &'static str {
    match action {
        Action::Cancel => "Cancel",
        Action::Pause => "Pause",
        Action::Resume => "Resume",
        Action::Postpone => "Postpone",
        Action::Delete => "Delete",
    }
}

/// An action on many operations as the label of a button.
#[must_use]
pub const fn bulk(kind: BulkKind) -> &'static str {
    match kind {
        BulkKind::Act(of_one) => action(of_one),
        BulkKind::RunAgain => "Run again",
    }
}

/// An action on many operations as the title of its page.
#[must_use]
pub const fn bulk_title(kind: BulkKind) -> &'static str {
    match kind {
        BulkKind::Act(Action::Cancel) => "Cancel many operations",
        BulkKind::Act(Action::Pause) => "Pause many operations",
        BulkKind::Act(Action::Resume) => "Resume many operations",
        BulkKind::Act(Action::Postpone) => "Postpone many operations",
        BulkKind::Act(Action::Delete) => "Delete many operations",
        BulkKind::RunAgain => "Run many operations again",
    }
}

/// An action on many operations as the heading of its page.
pub(crate) const fn bulk_heading(kind: BulkKind) -> &'static str {
    match kind {
        BulkKind::Act(Action::Cancel) => "Cancel all that match",
        BulkKind::Act(Action::Pause) => "Pause all that match",
        BulkKind::Act(Action::Resume) => "Resume all that match",
        BulkKind::Act(Action::Postpone) => "Postpone all that match",
        BulkKind::Act(Action::Delete) => "Delete all that match",
        BulkKind::RunAgain => "Run all that match again",
    }
}

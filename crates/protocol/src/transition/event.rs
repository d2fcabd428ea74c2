//! The events of an operation: the rows of the table in docs/states.md.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::OperationId;
use crate::operation::{Fault, Recurrence};
use crate::retry::Jitter;
use crate::time::Timestamp;

/// An event of an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A worker takes it.
    Claim {
        /// `hostId`: the worker, for people.
        host: String,
    },
    /// Its handler is done.
    Succeed,
    /// Its handler has failed for good.
    Fail(Fault),
    /// Its handler has failed in a way that may pass.
    Retry {
        /// The fault that the handler reports.
        fault: Fault,
        /// The delay that the handler asks for, instead of the policy's.
        after: Option<Duration>,
        /// For the policy's delay.
        jitter: Jitter,
    },
    /// Its handler asks for a person.
    Suspend(Fault),
    /// Its handler has stopped, as it was asked to.
    Stopped,
    /// Its worker is drained and gives it back; no retry is used up.
    Release,
    /// Its worker gives it back without having started its handler: the start is
    /// taken back. In histories this is a release like any other.
    ReleaseUnstarted,
    /// Its lock has stood still for a whole lease: the worker is lost.
    LeaseExpired,
    /// A client lets it wait.
    Pause,
    /// A client lets it go on; one that holds its chain lets the chain go on.
    Resume,
    /// A client lets it wait until a time.
    Postpone(Timestamp),
    /// A client ends it. With the token policy `hold` its chain stops there,
    /// so it must be the head. Where the store finds that it is not, the
    /// queue manager asks for a [`Self::Discard`] instead.
    Cancel,
    /// A client ends it while it waits behind others of its chain. That never
    /// stops the chain: what the token stands for has not been touched. One
    /// that runs by now is cancelled as by [`Self::Cancel`].
    Discard,
    /// Its time has come. Not for a series: that has [`Self::Occur`].
    Due,
    /// It has not started by its `notAfter`: it ends as Failed. That never stops
    /// its chain, whatever the token policy: what the token stands for has not
    /// been touched.
    Expire,
    /// A series is due: its time has passed into the next one.
    Occur {
        /// The occurrence that is created in the same transaction; `None`
        /// where this time is skipped.
        last: Option<OperationId>,
        /// When it is due next; `None` ends the series.
        next: Option<Timestamp>,
    },
    /// A client changes a series, or lets one that was paused go on.
    Reschedule {
        /// The rule from now on.
        recurrence: Recurrence,
        /// When it is due next; `None` waits for a person.
        next: Option<Timestamp>,
    },
    /// No live worker has a handler for it. It waits until one has.
    Unhandled,
    /// Its handler fails too often, so that it waits until a worker takes its
    /// message name again. No start is counted, and no retry.
    Throttle,
    /// A client, or retention, removes it.
    Delete,
}

impl Event {
    /// The word for error messages, logs and spans.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// The kind of event, without the values that it brings.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Claim { .. } => EventKind::Claim,
            Self::Succeed => EventKind::Succeed,
            Self::Fail(_) => EventKind::Fail,
            Self::Retry { .. } => EventKind::Retry,
            Self::Suspend(_) => EventKind::Suspend,
            Self::Stopped => EventKind::Stopped,
            Self::Release | Self::ReleaseUnstarted => EventKind::Release,
            Self::LeaseExpired => EventKind::LeaseExpired,
            Self::Pause => EventKind::Pause,
            Self::Resume => EventKind::Resume,
            Self::Postpone(_) => EventKind::Postpone,
            Self::Cancel => EventKind::Cancel,
            Self::Discard => EventKind::Discard,
            Self::Due => EventKind::Due,
            Self::Expire => EventKind::Expire,
            Self::Occur { .. } => EventKind::Occur,
            Self::Reschedule { .. } => EventKind::Reschedule,
            Self::Unhandled => EventKind::Unhandled,
            Self::Throttle => EventKind::Throttle,
            Self::Delete => EventKind::Delete,
        }
    }
}

/// The kind of an event, as histories keep it. New kinds come last: the place
/// of a kind is its number in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// It was created.
    Create,
    /// A worker took it.
    Claim,
    /// Its handler was done.
    Succeed,
    /// Its handler failed for good.
    Fail,
    /// Its handler failed in a way that may pass.
    Retry,
    /// Its handler asked for a person.
    Suspend,
    /// Its handler stopped, as it was asked to.
    Stopped,
    /// Its worker was drained and gave it back.
    Release,
    /// Its worker was lost.
    LeaseExpired,
    /// A client let it wait.
    Pause,
    /// A client let it, or its chain, go on.
    Resume,
    /// A client let it wait until a time.
    Postpone,
    /// A client ended it.
    Cancel,
    /// A client ended it while it waited behind others of its chain.
    Discard,
    /// Its time had come.
    Due,
    /// A series was due.
    Occur,
    /// A client changed a series, or let one go on.
    Reschedule,
    /// No live worker had a handler for it.
    Unhandled,
    /// Its handler failed too often, so that it was delayed.
    Throttle,
    /// It was removed.
    Delete,
    /// Its time to start was over.
    Expire,
}

impl EventKind {
    /// Returns true for the events that suspend an operation until a worker takes its
    /// message name. The service undoes them itself, and undoes no other suspension.
    #[must_use]
    pub const fn waits_for_worker(self) -> bool {
        matches!(self, Self::Unhandled | Self::Throttle)
    }

    /// The word for error messages, logs, spans and histories.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Claim => "claim",
            Self::Succeed => "succeed",
            Self::Fail => "fail",
            Self::Retry => "retry",
            Self::Suspend => "suspend",
            Self::Stopped => "stopped",
            Self::Release => "release",
            Self::LeaseExpired => "lease expired",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Postpone => "postpone",
            Self::Cancel => "cancel",
            Self::Discard => "discard",
            Self::Due => "due",
            Self::Expire => "expire",
            Self::Occur => "occur",
            Self::Reschedule => "reschedule",
            Self::Unhandled => "unhandled",
            Self::Throttle => "throttle",
            Self::Delete => "delete",
        }
    }
}

//! The end of a run: the event that it becomes, and what it says about the
//! handler.
//!
//! A run can end in six ways, far fewer than there are events. The two questions
//! that the worker has about an end (was there a fault, is the handler to blame)
//! are answered here, so that a new event of the state machine changes nothing in
//! the worker.

use std::time::Duration;

use drumline_protocol::transition::Event;
use drumline_protocol::{Fault, Jitter};

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

    /// Returns true if the handler has succeeded; `None` if the end says nothing
    /// about the handler.
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

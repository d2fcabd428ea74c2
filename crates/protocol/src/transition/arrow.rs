//! The target of a transition: the next header, and what a store does with it.
//!
//! One function for each kind of arrow in the table; which of them is taken
//! from where is decided in [`apply`](super::apply).

use std::time::Duration;

use crate::error_code::ErrorCode;
use crate::id::OperationId;
use crate::operation::{Fault, Header, Recurrence, StopRequest, TokenPolicy};
use crate::retry::{Exhausted, Jitter};
use crate::status::Status;
use crate::time::Timestamp;

use super::effects::{ChainEffect, DueEffect, Effects, EndClass, LockEffect, OfferEffect};
use super::event::EventKind;
use super::{At, Transition, can_start_again};

/// The start of a transition: builds the header that it leads to.
pub(super) struct Arrow<'a> {
    pub(super) header: &'a Header,
    pub(super) event: EventKind,
    pub(super) at: At,
}

impl Arrow<'_> {
    /// The next header, before anything in it has changed.
    fn next(&self, status: Status) -> Header {
        Header {
            version: self.header.version.saturating_add(1),
            commit: self.at.commit,
            status,
            modified_on: self.at.now,
            ..self.header.clone()
        }
    }

    /// The next header of an operation that no handler runs any more.
    fn unlocked(&self, status: Status) -> Header {
        let mut next = self.next(status);
        next.stop = None;
        next.postpone_until = None;
        if let (true, Some(started)) = (self.is_locked(), self.header.started_on) {
            let ran = self.at.now.since(started).as_millis();
            next.execution_ms = next
                .execution_ms
                .saturating_add(u64::try_from(ran).unwrap_or(u64::MAX));
        }
        next
    }

    const fn is_locked(&self) -> bool {
        matches!(
            self.header.status,
            Status::InProgress | Status::Pausing | Status::Canceling
        )
    }

    /// Undoes what goes with the present status.
    fn leaving(&self) -> Effects {
        Effects {
            lock: if self.is_locked() {
                LockEffect::Release
            } else {
                LockEffect::Keep
            },
            due: if matches!(self.header.status, Status::Waiting) || self.header.due_on().is_some()
            {
                DueEffect::Clear
            } else {
                DueEffect::Keep
            },
            offer: if matches!(self.header.status, Status::WaitingForResources) {
                OfferEffect::Withdraw
            } else {
                OfferEffect::Keep
            },
            ..Effects::NONE
        }
    }

    pub(super) fn claim(&self, host: String) -> Transition {
        let mut next = self.next(Status::InProgress);
        // Counted before the handler starts: an operation that takes its
        // worker down is counted all the same.
        next.starts = next.starts.saturating_add(1);
        next.host_id = Some(host);
        next.started_on = Some(self.at.now);
        next.postpone_until = None;
        Transition {
            event: self.event,
            header: next,
            effects: Effects {
                lock: LockEffect::Take,
                chain: if self.header.rules.chain.is_some() {
                    ChainEffect::RequireHead
                } else {
                    ChainEffect::Keep
                },
                ..self.leaving()
            },
            fault: None,
        }
    }

    /// The end; of an operation that failed or was cancelled its policy says
    /// whether the chain goes on.
    pub(super) fn complete(&self, status: Status, fault: Option<Fault>) -> Transition {
        let mut transition = self.end(status, fault);
        let unsuccessful = match status {
            Status::Failed | Status::Canceled => true,
            Status::Succeeded
            | Status::WaitingForResources
            | Status::Waiting
            | Status::InProgress
            | Status::Pausing
            | Status::Canceling => false,
        };
        let rules = &self.header.rules;
        if unsuccessful && rules.chain.is_some() && rules.token_policy == TokenPolicy::Hold {
            transition.header.holding = true;
            transition.effects.chain = ChainEffect::Hold;
        }
        transition
    }

    /// The end of an operation that waited behind others of its chain.
    pub(super) fn discard(&self) -> Transition {
        self.end(Status::Canceled, None)
    }

    /// The end of an operation that has not started in time.
    pub(super) fn expire(&self) -> Transition {
        self.end(Status::Failed, Some(expired(self.header.rules.not_after)))
    }

    /// The end; the chain goes on.
    fn end(&self, status: Status, fault: Option<Fault>) -> Transition {
        let mut next = self.unlocked(status);
        next.completed_on = Some(self.at.now);
        let rules = &self.header.rules;
        Transition {
            event: self.event,
            effects: Effects {
                chain: if rules.chain.is_some() {
                    ChainEffect::Leave
                } else {
                    ChainEffect::Keep
                },
                end: EndClass::of(&next),
                tell: rules.webhook,
                ..self.leaving()
            },
            header: next,
            fault,
        }
    }

    /// A person has looked at it: its chain goes on.
    pub(super) fn stop_holding(&self) -> Transition {
        let mut next = self.next(self.header.status);
        next.holding = false;
        Transition {
            event: self.event,
            header: next,
            effects: Effects {
                chain: ChainEffect::Leave,
                ..Effects::NONE
            },
            fault: None,
        }
    }

    /// A time of a series has passed, into the next or into none.
    pub(super) fn occur(&self, last: Option<OperationId>, next: Option<Timestamp>) -> Transition {
        let mut transition = match next {
            Some(next) => self.suspend(Some(next), None),
            None => self.complete(Status::Succeeded, None),
        };
        if let (Some(recurrence), Some(last)) = (&mut transition.header.recurrence, last) {
            recurrence.last = Some(last);
        }
        transition
    }

    /// A series goes on by another rule, or after a pause.
    pub(super) fn reschedule(&self, recurrence: Recurrence, next: Option<Timestamp>) -> Transition {
        let mut transition = self.suspend(next, None);
        transition.header.recurrence = Some(recurrence);
        transition
    }

    pub(super) fn suspend(&self, until: Option<Timestamp>, fault: Option<Fault>) -> Transition {
        let mut next = self.unlocked(Status::Waiting);
        next.postpone_until = until;
        let leaving = self.leaving();
        Transition {
            event: self.event,
            effects: Effects {
                due: next.due_on().map_or(leaving.due, DueEffect::Set),
                ..leaving
            },
            header: next,
            fault,
        }
    }

    pub(super) fn ready(&self) -> Transition {
        let next = self.unlocked(Status::WaitingForResources);
        let leaving = self.leaving();
        Transition {
            event: self.event,
            effects: Effects {
                due: next.due_on().map_or(leaving.due, DueEffect::Set),
                offer: OfferEffect::Add,
                ..leaving
            },
            header: next,
            fault: None,
        }
    }

    pub(super) fn retry(
        &self,
        fault: Fault,
        after: Option<Duration>,
        jitter: Jitter,
    ) -> Transition {
        let policy = &self.header.rules.retry;
        let failures = self.header.retry_count.saturating_add(1);
        if !can_start_again(self.header) {
            return self.complete(Status::Failed, Some(fault));
        }
        if fault.code.is_throttling() {
            // A system that wants the operation later has not tried it.
            let initial = Duration::from_millis(policy.initial_ms);
            let delay = policy.delay(1, jitter).unwrap_or(initial);
            let until = self.at.now.saturating_add(after.unwrap_or(delay));
            return self.suspend(Some(until), Some(fault));
        }
        let Some(delay) = policy.delay(failures, jitter) else {
            return match policy.exhausted {
                Exhausted::Fail => self.complete(Status::Failed, Some(fault)),
                Exhausted::Suspend => self.suspend(None, Some(fault)),
            };
        };
        let until = self.at.now.saturating_add(after.unwrap_or(delay));
        let mut transition = self.suspend(Some(until), Some(fault));
        transition.header.retry_count = failures;
        transition
    }

    pub(super) fn release(&self) -> Transition {
        if !can_start_again(self.header) {
            return self.complete(Status::Failed, Some(worker_lost()));
        }
        let mut transition = self.ready();
        transition.header.released = transition.header.released.saturating_add(1);
        transition
    }

    pub(super) fn lose_worker(&self) -> Transition {
        let lost = self.header.lost.saturating_add(1);
        let poisonous = lost > self.header.rules.retry.max_lost;
        let mut transition = if !can_start_again(self.header) || poisonous {
            self.complete(Status::Failed, Some(worker_lost()))
        } else {
            self.ready()
        };
        transition.header.lost = lost;
        transition
    }

    /// The handler wants a person, who could only start it once more.
    pub(super) fn suspend_run(&self, fault: Fault) -> Transition {
        if can_start_again(self.header) {
            self.suspend(None, Some(fault))
        } else {
            self.complete(Status::Failed, Some(fault))
        }
    }

    /// The handler has stopped, or is lost. An operation that must not start again
    /// is not asked to pause; a store of an earlier release may have one that was.
    pub(super) fn pausing_ended(&self) -> Transition {
        if can_start_again(self.header) {
            self.pausing_ended_unstarted()
        } else {
            self.complete(Status::Failed, Some(worker_lost()))
        }
    }

    /// The same for an operation whose handler was not started.
    pub(super) fn pausing_ended_unstarted(&self) -> Transition {
        let until = self.header.stop.and_then(|stop| match stop {
            StopRequest::Pause => None,
            StopRequest::Postpone(until) => Some(until),
        });
        self.suspend(until, None)
    }

    pub(super) fn ask_to_pause(&self, stop: StopRequest) -> Transition {
        let mut next = self.next(Status::Pausing);
        next.stop = Some(stop);
        self.asked_to_stop(next)
    }

    pub(super) fn ask_to_cancel(&self) -> Transition {
        let mut next = self.next(Status::Canceling);
        next.stop = None;
        self.asked_to_stop(next)
    }

    const fn asked_to_stop(&self, header: Header) -> Transition {
        Transition {
            event: self.event,
            header,
            effects: Effects {
                lock: LockEffect::AskToStop,
                ..Effects::NONE
            },
            fault: None,
        }
    }

    pub(super) fn remove(&self) -> Transition {
        Transition {
            event: self.event,
            header: self.next(self.header.status),
            effects: Effects {
                remove: true,
                ..Effects::NONE
            },
            fault: None,
        }
    }
}

/// The fault that the service gives an operation that it ends by itself; `None` if the
/// event ends none.
#[must_use]
pub fn service_fault(event: EventKind, header: &Header) -> Option<Fault> {
    match event {
        EventKind::Expire => Some(expired(header.rules.not_after)),
        EventKind::LeaseExpired => Some(worker_lost()),
        EventKind::Create
        | EventKind::Claim
        | EventKind::Succeed
        | EventKind::Fail
        | EventKind::Retry
        | EventKind::Suspend
        | EventKind::Stopped
        | EventKind::Release
        | EventKind::Pause
        | EventKind::Resume
        | EventKind::Postpone
        | EventKind::Cancel
        | EventKind::Discard
        | EventKind::Due
        | EventKind::Occur
        | EventKind::Reschedule
        | EventKind::Unhandled
        | EventKind::Throttle
        | EventKind::Delete => None,
    }
}

fn expired(not_after: Option<Timestamp>) -> Fault {
    let time = not_after.map(|time| time.to_string()).unwrap_or_default();
    Fault::new(
        ErrorCode::EXPIRED,
        "It was not started in time, and has expired.",
        &format!("no worker had started the operation by its notAfter, {time}"),
    )
}

fn worker_lost() -> Fault {
    Fault::new(
        ErrorCode::WORKER_LOST,
        "The worker was lost while it ran this, and the operation may not start again.",
        "the lease of the worker ended; the operation is at-most-once, or was lost too often",
    )
}

//! Every transition of an operation, as one function.
//!
//! [`apply`] takes a header and an event and gives the next header together
//! with the [`Effects`] that a store must perform in the same commit, or a
//! [`Refused`] that says why not and what would be legal. It does nothing
//! itself. The table that it implements is drawn in docs/states.md.

use std::time::Duration;

use crate::error_code::ErrorCode;
use crate::id::CommitId;
use crate::operation::{Fault, Header, StopRequest};
use crate::retry::{Exhausted, Jitter};
use crate::status::Status;
use crate::time::Timestamp;

/// What happens to an operation.
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
        /// What went wrong.
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
    /// Its worker is drained and gives it back; the attempt does not count.
    Release,
    /// Its lock has stood still for a whole lease: the worker is lost.
    LeaseExpired,
    /// A client lets it wait.
    Pause,
    /// A client lets it go on.
    Resume,
    /// A client lets it wait until a time.
    Postpone(Timestamp),
    /// A client ends it.
    Cancel,
    /// Its time has come.
    Due,
    /// No live worker has a handler for it.
    Unhandled,
    /// A client removes it.
    Delete,
}

impl Event {
    /// The word for error messages, logs and spans.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "claim",
            Self::Succeed => "succeed",
            Self::Fail(_) => "fail",
            Self::Retry { .. } => "retry",
            Self::Suspend(_) => "suspend",
            Self::Stopped => "stopped",
            Self::Release => "release",
            Self::LeaseExpired => "lease expired",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Postpone(_) => "postpone",
            Self::Cancel => "cancel",
            Self::Due => "due",
            Self::Unhandled => "unhandled",
            Self::Delete => "delete",
        }
    }
}

/// When a transition is made, and under which name it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The store's time.
    pub now: Timestamp,
    /// The commit's name.
    pub commit: CommitId,
}

/// What a client can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Completed/Canceled.
    Cancel,
    /// Suspended until a person resumes it.
    Pause,
    /// Ready again.
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
    /// What was asked.
    pub event: &'static str,
    /// Where the operation stands.
    pub status: Status,
    /// The code that users know.
    pub code: ErrorCode,
    /// The rule, where it is not the status alone.
    pub why: Option<&'static str>,
    /// What a client could ask for instead.
    pub legal: Vec<Action>,
}

/// The next header, and what has to happen with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The next header, its version one higher.
    pub header: Header,
    /// What the store performs in the same commit.
    pub effects: Effects,
    /// What went wrong, for the report, if anything did.
    pub fault: Option<Fault>,
}

/// What a store performs together with the write of a header. Stores know
/// these, and no states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effects {
    /// The lock.
    pub lock: LockEffect,
    /// The place in the chain, for an operation with a token.
    pub chain: ChainEffect,
    /// The due set.
    pub due: DueEffect,
    /// The dispatch set.
    pub offer: OfferEffect,
    /// Tell those who wait for the operation's end.
    pub notify: bool,
    /// Remove the operation and every trace of it from the indexes.
    pub remove: bool,
}

impl Effects {
    /// Nothing but the header.
    pub const NONE: Self = Self {
        lock: LockEffect::Keep,
        chain: ChainEffect::Keep,
        due: DueEffect::Keep,
        offer: OfferEffect::Keep,
        notify: false,
        remove: false,
    };
}

/// What becomes of the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockEffect {
    /// Nothing.
    Keep,
    /// It is taken, with a fresh fence; the commit names the owner.
    Take,
    /// It is given up.
    Release,
    /// It stays, and its holder is asked to stop; the next renewal tells it.
    AskToStop,
}

/// What becomes of the place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainEffect {
    /// Nothing.
    Keep,
    /// The commit is refused unless the operation is the head.
    RequireHead,
    /// It leaves; if the next head is Ready, it is put into the dispatch set.
    Leave,
}

/// What becomes of the due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DueEffect {
    /// Nothing.
    Keep,
    /// It wakes at this time.
    Set(Timestamp),
    /// It does not wake by itself.
    Clear,
}

/// What becomes of the entry in the dispatch set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OfferEffect {
    /// Nothing.
    Keep,
    /// It is to be published, if it is a head or has no token; otherwise it is
    /// parked, and published when it becomes the head.
    Add,
    /// It is not to be published.
    Withdraw,
}

/// The transition that `event` makes from `header`.
///
/// # Errors
/// [`Refused`] where the table has no such arrow. The header is unchanged.
pub fn apply(header: &Header, event: Event, at: At) -> Result<Transition, Refused> {
    let from = Arrow { header, at };
    match (header.status, event) {
        (Status::WaitingForResources, Event::Claim { host }) => Ok(from.claim(host)),

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
            Ok(from.suspend(None, Some(fault)))
        }
        (Status::Pausing, Event::Stopped | Event::LeaseExpired | Event::Release) => {
            Ok(from.pausing_ended())
        }
        (Status::Canceling, Event::Stopped | Event::LeaseExpired | Event::Release) => {
            Ok(from.complete(Status::Canceled, None))
        }
        (Status::InProgress, Event::Release) => Ok(from.release()),
        (Status::InProgress, Event::LeaseExpired) => Ok(from.lose_worker()),

        (Status::WaitingForResources, Event::Pause) => {
            from.controllable(&Event::Pause)?;
            Ok(from.suspend(None, None))
        }
        (Status::InProgress, Event::Pause) => {
            from.controllable(&Event::Pause)?;
            Ok(from.ask_to_pause(StopRequest::Pause))
        }
        (Status::Waiting, Event::Resume) => {
            from.controllable(&Event::Resume)?;
            Ok(from.ready())
        }
        (Status::WaitingForResources | Status::Waiting, Event::Postpone(until)) => {
            Ok(from.suspend(Some(until), None))
        }
        (Status::InProgress, Event::Postpone(until)) => {
            Ok(from.ask_to_pause(StopRequest::Postpone(until)))
        }
        (Status::WaitingForResources | Status::Waiting, Event::Cancel) => {
            from.controllable(&Event::Cancel)?;
            Ok(from.complete(Status::Canceled, None))
        }
        (Status::InProgress | Status::Pausing, Event::Cancel) => {
            from.controllable(&Event::Cancel)?;
            Ok(from.ask_to_cancel())
        }

        // Somebody may have cleared or moved the time since the due set was
        // read; a time still to come, judged by the store's clock, stands.
        (Status::Waiting, Event::Due)
            if header.postpone_until.is_some_and(|until| until <= at.now) =>
        {
            Ok(from.ready())
        }
        (Status::WaitingForResources, Event::Unhandled) => Ok(from.suspend(
            None,
            Some(Fault::new(
                ErrorCode::NO_HANDLER,
                "No worker knows how to do this. It waits until somebody resumes it.",
                "no live worker of the queue has a handler for the message name",
            )),
        )),
        (Status::Succeeded | Status::Failed | Status::Canceled, Event::Delete) => Ok(from.remove()),

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
            | Event::LeaseExpired
            | Event::Pause
            | Event::Resume
            | Event::Postpone(_)
            | Event::Cancel
            | Event::Due
            | Event::Unhandled
            | Event::Delete),
        ) => Err(from.refused(&event, None)),
    }
}

/// Where a transition starts: builds the header that it leads to.
struct Arrow<'a> {
    header: &'a Header,
    at: At,
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

    /// What leaving the present status undoes.
    const fn leaving(&self) -> Effects {
        Effects {
            lock: if self.is_locked() {
                LockEffect::Release
            } else {
                LockEffect::Keep
            },
            due: if matches!(self.header.status, Status::Waiting) {
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

    fn claim(&self, host: String) -> Transition {
        let mut next = self.next(Status::InProgress);
        // Counted before the handler starts: an operation that takes its
        // worker down is counted all the same.
        next.starts = next.starts.saturating_add(1);
        next.host_id = Some(host);
        next.started_on = Some(self.at.now);
        next.postpone_until = None;
        Transition {
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

    fn complete(&self, status: Status, fault: Option<Fault>) -> Transition {
        let mut next = self.unlocked(status);
        next.completed_on = Some(self.at.now);
        Transition {
            header: next,
            effects: Effects {
                chain: if self.header.rules.chain.is_some() {
                    ChainEffect::Leave
                } else {
                    ChainEffect::Keep
                },
                notify: true,
                ..self.leaving()
            },
            fault,
        }
    }

    fn suspend(&self, until: Option<Timestamp>, fault: Option<Fault>) -> Transition {
        let mut next = self.unlocked(Status::Waiting);
        next.postpone_until = until;
        Transition {
            header: next,
            effects: Effects {
                due: until.map_or(self.leaving().due, DueEffect::Set),
                ..self.leaving()
            },
            fault,
        }
    }

    fn ready(&self) -> Transition {
        Transition {
            header: self.unlocked(Status::WaitingForResources),
            effects: Effects {
                offer: OfferEffect::Add,
                ..self.leaving()
            },
            fault: None,
        }
    }

    fn retry(&self, fault: Fault, after: Option<Duration>, jitter: Jitter) -> Transition {
        let policy = &self.header.rules.retry;
        let failures = self.header.retry_count.saturating_add(1);
        if self.header.rules.at_most_once {
            return self.complete(Status::Failed, Some(fault));
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

    fn release(&self) -> Transition {
        if self.header.rules.at_most_once {
            return self.complete(Status::Failed, Some(worker_lost()));
        }
        let mut transition = self.ready();
        transition.header.released = transition.header.released.saturating_add(1);
        transition
    }

    fn lose_worker(&self) -> Transition {
        let lost = self.header.lost.saturating_add(1);
        let poisonous = lost > self.header.rules.retry.max_lost;
        let mut transition = if self.header.rules.at_most_once || poisonous {
            self.complete(Status::Failed, Some(worker_lost()))
        } else {
            self.ready()
        };
        transition.header.lost = lost;
        transition
    }

    fn pausing_ended(&self) -> Transition {
        let until = self.header.stop.and_then(|stop| match stop {
            StopRequest::Pause => None,
            StopRequest::Postpone(until) => Some(until),
        });
        self.suspend(until, None)
    }

    fn ask_to_pause(&self, stop: StopRequest) -> Transition {
        let mut next = self.next(Status::Pausing);
        next.stop = Some(stop);
        self.asked_to_stop(next)
    }

    fn ask_to_cancel(&self) -> Transition {
        let mut next = self.next(Status::Canceling);
        next.stop = None;
        self.asked_to_stop(next)
    }

    const fn asked_to_stop(&self, header: Header) -> Transition {
        Transition {
            header,
            effects: Effects {
                lock: LockEffect::AskToStop,
                ..Effects::NONE
            },
            fault: None,
        }
    }

    fn remove(&self) -> Transition {
        Transition {
            header: self.next(self.header.status),
            effects: Effects {
                remove: true,
                ..Effects::NONE
            },
            fault: None,
        }
    }

    /// Some operation types are closed to clients.
    fn controllable(&self, event: &Event) -> Result<(), Refused> {
        if self.header.rules.operation_type.can_be_controlled() {
            Ok(())
        } else {
            let why = "operations of its type cannot be cancelled, paused or resumed";
            Err(self.refused(event, Some(why)))
        }
    }

    fn refused(&self, event: &Event, why: Option<&'static str>) -> Refused {
        let legal = match event {
            Event::Cancel | Event::Pause | Event::Resume | Event::Postpone(_) | Event::Delete => {
                legal_actions(self.header)
            }
            Event::Claim { .. }
            | Event::Succeed
            | Event::Fail(_)
            | Event::Retry { .. }
            | Event::Suspend(_)
            | Event::Stopped
            | Event::Release
            | Event::LeaseExpired
            | Event::Due
            | Event::Unhandled => Vec::new(),
        };
        Refused {
            event: event.name(),
            status: self.header.status,
            code: refusal_code(event),
            why,
            legal,
        }
    }
}

/// What a client could ask for now. The same facts as in [`apply`], read from
/// the status; a test holds the two together.
#[must_use]
pub fn legal_actions(header: &Header) -> Vec<Action> {
    let by_status: &[Action] = match header.status {
        Status::WaitingForResources => &[Action::Cancel, Action::Pause, Action::Postpone],
        Status::Waiting => &[Action::Cancel, Action::Resume, Action::Postpone],
        Status::InProgress => &[Action::Cancel, Action::Pause, Action::Postpone],
        Status::Pausing => &[Action::Cancel],
        Status::Canceling => &[],
        Status::Succeeded | Status::Failed | Status::Canceled => &[Action::Delete],
    };
    let open = header.rules.operation_type.can_be_controlled();
    by_status
        .iter()
        .copied()
        .filter(|action| open || matches!(action, Action::Postpone | Action::Delete))
        .collect()
}

const fn refusal_code(event: &Event) -> ErrorCode {
    match event {
        Event::Cancel => ErrorCode::CANNOT_CANCEL,
        Event::Pause => ErrorCode::CANNOT_PAUSE,
        Event::Delete => ErrorCode::CANNOT_DELETE,
        Event::Resume | Event::Due => ErrorCode::INVALID_READY,
        Event::Postpone(_) | Event::Unhandled => ErrorCode::INVALID_SUSPENDED,
        Event::Succeed | Event::Fail(_) => ErrorCode::INVALID_COMPLETED,
        Event::Claim { .. }
        | Event::Retry { .. }
        | Event::Suspend(_)
        | Event::Stopped
        | Event::Release
        | Event::LeaseExpired => ErrorCode::INVALID_STATE_CHANGE,
    }
}

fn worker_lost() -> Fault {
    Fault::new(
        ErrorCode::WORKER_LOST,
        "The worker was lost while it was doing this, and it may not start again.",
        "the lease of the worker ended; the operation is at-most-once, or was lost too often",
    )
}

#[cfg(test)]
mod tests;

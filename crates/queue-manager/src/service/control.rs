//! Changing operations: cancel, pause, resume, postpone, delete.
//!
//! Each is one event of the state machine, decided on the newest header. An
//! event that the machine refuses is refused here with the same words.

use drumline_api::{Control, UpdateOperation};
use drumline_backend::apply_event::{
    Applied, Signature, apply_event_through, apply_event_to_summary, apply_event_unlocked,
};
use drumline_backend::store::{Done, Guard, Summary};
use drumline_protocol::transition::{EventKind, is_already, legal_actions};
use drumline_protocol::{
    Author, ErrorCode, Event, Header, Operation, OperationId, Refused, State, Status,
};

use super::history::last_event;
use super::idempotency::Removal;
use super::read::not_found;
use super::{Actor, QueueManager};
use crate::error::{Error, Result};

impl QueueManager {
    /// Applies an action to an operation and returns the operation as it is
    /// afterwards. A running operation is *asked* to stop: it is Pausing or
    /// Canceling until its worker has stopped it. An operation that is already what
    /// the action asks for is returned as it is.
    ///
    /// If the future is dropped, the action may or may not have been applied.
    ///
    /// # Errors
    /// - [`Error::Refused`] with the legal actions, when the operation's status
    ///   does not allow this one.
    /// - When there is no operation with this id.
    /// - When the store is unavailable.
    pub async fn act(&self, actor: &Actor, id: OperationId, act: Control) -> Result<Operation> {
        let operation = self.get(actor, id).await?;
        self.act_on(operation, act, &actor.author()).await
    }

    /// [`Self::act`] on an operation that was just read.
    pub(super) async fn act_on(
        &self,
        operation: Operation,
        act: Control,
        author: &Author,
    ) -> Result<Operation> {
        match act {
            Control::Resume => self.resume(operation, author).await,
            Control::Cancel | Control::Pause | Control::Postpone(_) => {
                self.apply(operation, event_of(act), author).await
            }
        }
    }

    /// Changes an operation's attributes, which is an action in other words.
    ///
    /// # Errors
    /// As [`Self::act`].
    pub async fn update(
        &self,
        actor: &Actor,
        id: OperationId,
        changes: UpdateOperation,
    ) -> Result<Operation> {
        match changes {
            UpdateOperation::Control(act) => self.act(actor, id, act).await,
            UpdateOperation::Rule(rule) => {
                let operation = self.get(actor, id).await?;
                self.change_rule(operation, &rule, &actor.author()).await
            }
            UpdateOperation::Unreachable(wanted) => {
                let operation = self.get(actor, id).await?;
                Err(unreachable_by_clients(&operation.header, wanted).into())
            }
        }
    }

    /// Removes a Completed operation for good.
    ///
    /// # Errors
    /// As [`Self::act`].
    pub async fn delete(&self, actor: &Actor, id: OperationId) -> Result<()> {
        let operation = self.get(actor, id).await?;
        self.delete_this(operation, &actor.author()).await
    }

    /// [`Self::delete`] of an operation that was just read.
    pub(super) async fn delete_this(&self, operation: Operation, author: &Author) -> Result<()> {
        let removal = Removal {
            store: self.store(),
            remember: self.remembered(&operation.body),
        };
        let Operation {
            id, header, report, ..
        } = &operation;
        let applied = apply_event_through(
            &removal,
            self.signature(author),
            *id,
            header.clone(),
            Event::Delete,
            Guard::None,
            report,
        );
        let applied = applied.await?;
        self.applied(operation, Event::Delete.name(), applied)?;
        Ok(())
    }

    async fn apply(
        &self,
        operation: Operation,
        event: Event,
        author: &Author,
    ) -> Result<Operation> {
        let by = self.signature(author);
        let name = event.name();
        let is_cancel = event == Event::Cancel;
        let asked = event.clone();
        let mut applied = apply_event_unlocked(self.store(), by, &operation, event).await?;
        if is_cancel && matches!(applied, Applied::NotHead) {
            // The operation is not the head, so its end does not hold the
            // token.
            applied = apply_event_unlocked(self.store(), by, &operation, Event::Discard).await?;
        }
        if matches!(applied, Applied::Refused(_)) {
            let now = self.find(operation.id).await?;
            if let Some(now) = now.filter(|now| is_already(&now.header, &asked)) {
                if !self.waits_for_worker(&now.header, now.id).await? {
                    self.metrics().acted(name, true);
                    return Ok(now);
                }
                let applied = self.pause_in_earnest(by, &Summary::of(&now)).await?;
                return self.applied(now, name, applied);
            }
        }
        self.applied(operation, name, applied)
    }

    /// Returns true if an operation waits without a time, and no person has paused
    /// it: the service resumes it when a worker takes it.
    pub(super) async fn waits_for_worker(&self, header: &Header, id: OperationId) -> Result<bool> {
        if header.status != Status::Waiting || header.postpone_until.is_some() {
            return Ok(false);
        }
        let last = last_event(self.store(), id).await?;
        Ok(last.is_some_and(EventKind::waits_for_worker))
    }

    /// Pauses an operation that waits for a worker, so that the service does not
    /// resume it: the last event of its history decides, so it is resumed first.
    pub(super) async fn pause_in_earnest(
        &self,
        by: Signature<'_>,
        operation: &Summary,
    ) -> Result<Applied> {
        let none = Guard::None;
        let store = self.store();
        let resumed = apply_event_to_summary(store, by, operation, Event::Resume, none).await?;
        let Applied::Done(header, _) = resumed else {
            return Ok(resumed);
        };
        // The offer of the resume is not published: a pause takes it back.
        let ready = Summary {
            header,
            ..operation.clone()
        };
        Ok(apply_event_to_summary(store, by, &ready, Event::Pause, none).await?)
    }

    /// The operation after an action, whose outcome is noted and whose offers
    /// are published.
    pub(super) fn applied(
        &self,
        operation: Operation,
        action: &'static str,
        applied: Applied,
    ) -> Result<Operation> {
        let (header, done) = self.outcome(operation.id, action, applied)?;
        let Operation { id, body, .. } = &operation;
        self.tally()
            .changed(*id, body, &operation.header, &header, None);
        let operation = Operation {
            header,
            ..operation
        };
        self.dispatcher().enqueue_all(&operation, &done);
        Ok(operation)
    }

    /// The header after an action, and the answer of the store. Notes the outcome.
    pub(super) fn outcome(
        &self,
        id: OperationId,
        action: &'static str,
        applied: Applied,
    ) -> Result<(Header, Box<Done>)> {
        self.metrics()
            .acted(action, matches!(applied, Applied::Done(..)));
        match applied {
            Applied::Done(header, done) => {
                tracing::debug!(%id, action, status = header.status.name(), "done");
                Ok((header, done))
            }
            Applied::Refused(refused) => Err(refused.into()),
            Applied::Missing => Err(not_found(id)),
            // Only a cancel asks for the head, and no action names or takes a lock.
            Applied::NotHead | Applied::Held | Applied::Fenced => {
                Err(Error::Internal(format!("{action} of {id} met a guard")))
            }
        }
    }
}

/// The event that applies an action to an operation.
pub(super) const fn event_of(act: Control) -> Event {
    match act {
        Control::Cancel => Event::Cancel,
        Control::Pause => Event::Pause,
        Control::Resume => Event::Resume,
        Control::Postpone(until) => Event::Postpone(until),
    }
}

/// The refusal of a state that only workers bring about.
pub(super) fn unreachable_by_clients(header: &Header, wanted: Status) -> Refused {
    let (event, code) = match wanted.state() {
        State::Completed => ("a change to this status", ErrorCode::INVALID_COMPLETED),
        State::Ready | State::Suspended | State::Locked => {
            ("a change to this state", ErrorCode::INVALID_STATE_CHANGE)
        }
    };
    Refused {
        event,
        status: header.status,
        code,
        why: Some("only a worker can set Locked, Succeeded and Failed"),
        legal: legal_actions(header),
    }
}

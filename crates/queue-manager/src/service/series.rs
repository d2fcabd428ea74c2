//! Series: operations that recur.
//!
//! A series never runs. It is Suspended until its next time. When it is due,
//! maintenance creates the occurrence, which does run, and moves the series on
//! to its next time, in one transaction. The transaction succeeds once, so there
//! is one occurrence for each time, whichever manager looks and whichever dies.
//!
//! Requests of clients that need the rule are decided here as well: a series
//! that is resumed or changed gets a next time.

use drumline_api::view::OperationView;
use drumline_api::{FieldError, Invalid, RuleChange};
use drumline_backend::apply_event::{Applied, apply_chosen_event, apply_event_unlocked};
use drumline_backend::store::{self, Guard, NewOperation};
use drumline_protocol::operation::{TraceContext, first_header};
use drumline_protocol::transition::legal_actions;
use drumline_protocol::{
    Author, Body, ChainKey, Creator, ErrorCode, Event, Header, Operation, OperationId, Recurrence,
    Refused, Rules, Status, Timestamp,
};
use drumline_telemetry::{add_link, current_context};
use tracing::info_span;
use uuid::Uuid;

use super::QueueManager;
use crate::error::{Error, Result};
use crate::recurrence::{self, Rule, next_time};

/// The number of occurrences that are shown.
const SHOWN: usize = 5;

impl QueueManager {
    /// Returns the next five times of a series that waits for them; `None` for an
    /// operation that does not recur, or not any more.
    #[must_use]
    pub fn next_occurrences(&self, header: &Header) -> Option<Vec<Timestamp>> {
        let recurrence = header.recurrence.as_ref()?;
        match header.status {
            Status::Waiting => {}
            Status::WaitingForResources
            | Status::InProgress
            | Status::Pausing
            | Status::Canceling
            | Status::Succeeded
            | Status::Failed
            | Status::Canceled => return None,
        }
        let Some(next) = header.postpone_until else {
            return Some(Vec::new());
        };
        let mut times = vec![next];
        if let Ok(rule) = Rule::of(recurrence) {
            // A late series passes over the times that it has missed.
            let after = next.max(self.store().now());
            times.extend(rule.following(recurrence.start, after, SHOWN - 1));
        }
        Some(times)
    }

    /// An operation as it is shown if it was requested alone: a series with its
    /// next times.
    pub(crate) fn view(&self, operation: &Operation) -> OperationView {
        let times = self.next_occurrences(&operation.header);
        OperationView {
            next_occurrences: times.map(|times| times.iter().map(ToString::to_string).collect()),
            ..OperationView::from(operation)
        }
    }

    /// The occurrence of a series that is due.
    pub(crate) fn occurrence(&self, series: &Operation, now: Timestamp) -> NewOperation {
        let body = &series.body;
        let chain = body
            .dependency_token
            .as_ref()
            .map(|token| ChainKey::new(&body.organization, token));
        let rules = Rules {
            chain,
            ..series.header.rules.clone()
        };
        // In the partition of the chain, if there is one; the transaction then
        // stays in one partition.
        let id = self.ids().operation(now, series.id.partition());
        let mut body = Body {
            parent_id: Some(Uuid::from_bytes(*series.id.as_bytes())),
            creator: Creator::Series,
            created_on: now,
            trace: trace_of_occurrence(body, id),
            ..body.clone()
        };
        // A key of the series does not stand for its occurrences.
        body.mark_keyed(false);
        NewOperation {
            id,
            header: first_header(rules, None, self.ids().commit(), now),
            body,
            key: None,
        }
    }

    /// Lets an operation go on that was paused: a series with its next time.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is not paused, or its rule has no time left.
    pub(super) async fn resume(&self, operation: Operation, author: &Author) -> Result<Operation> {
        let event = |header: &Header| self.resumption(header);
        self.reschedule(operation, "resume", author, event).await
    }

    /// The event that resumes an operation as it stands.
    ///
    /// # Errors
    /// [`Error::Refused`] if the rule of a series has no time left.
    pub(super) fn resumption(&self, header: &Header) -> Result<Event> {
        let Some(recurrence) = header.recurrence.clone() else {
            return Ok(Event::Resume);
        };
        if header.status != Status::Waiting || header.postpone_until.is_some() {
            // The state machine refuses it, in its own words.
            return Ok(Event::Resume);
        }
        let Some(next) = next_time(&recurrence, self.store().now()) else {
            return Err(Error::Refused(Refused {
                event: "resume",
                status: header.status,
                code: ErrorCode::INVALID_READY,
                why: Some("its rule has no time to come: cancel it"),
                legal: legal_actions(header),
            }));
        };
        let next = Some(next);
        Ok(Event::Reschedule { recurrence, next })
    }

    /// Changes the rule of a series.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it does not recur, or the new rule has no time to
    /// come; [`Error::Refused`] if it is over.
    pub(super) async fn change_rule(
        &self,
        series: Operation,
        rule: &RuleChange,
        author: &Author,
    ) -> Result<Operation> {
        let event = |header: &Header| self.rescheduling(header, rule);
        self.reschedule(series, "reschedule", author, event).await
    }

    /// The event that gives a series as it stands a new rule. A paused series
    /// stays paused.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it does not recur, or the new rule has no time to
    /// come.
    pub(super) fn rescheduling(&self, header: &Header, rule: &RuleChange) -> Result<Event> {
        let Some(recurrence) = &header.recurrence else {
            let why = "can be changed on recurring operations only";
            let wrong = rule.names().map(|name| FieldError::new(name, why));
            return Err(Error::Invalid(Invalid {
                code: ErrorCode::CANNOT_UPDATE_NONRECURRING,
                attributes: wrong.collect(),
            }));
        };
        let recurrence = recurrence::changed(recurrence, rule);
        let next = next_time(&recurrence, self.store().now());
        if next.is_none() {
            return Err(no_time(rule.names().next().unwrap_or("recurrencePattern")).into());
        }
        let is_paused = header.postpone_until.is_none();
        Ok(Event::Reschedule {
            recurrence,
            next: next.filter(|_| !is_paused),
        })
    }

    /// Applies an event that depends on the header. The event is chosen again
    /// after each conflict: the next time of a moment ago may have passed since.
    async fn reschedule(
        &self,
        operation: Operation,
        name: &'static str,
        author: &Author,
        choose: impl Fn(&Header) -> Result<Event> + Sync,
    ) -> Result<Operation> {
        let (store, by) = (self.store(), self.signature(author));
        let Operation {
            id, header, report, ..
        } = &operation;
        let header = header.clone();
        let applied = apply_chosen_event(store, by, *id, header, choose, Guard::None, report);
        let applied = applied.await?;
        self.applied(operation, name, applied)
    }

    /// Lets a series whose rule cannot be followed wait for a person.
    pub(crate) async fn set_aside(&self, series: &Operation) -> store::Result<()> {
        tracing::warn!(id = %series.id, "a series has a rule that this release cannot read; it is paused");
        let author = Author::manager("scheduler");
        let by = self.signature(&author);
        match apply_event_unlocked(self.store(), by, series, Event::Pause).await? {
            Applied::Done(..)
            | Applied::Refused(_)
            | Applied::NotHead
            | Applied::Held
            | Applied::Fenced
            | Applied::Missing => Ok(()),
        }
    }
}

/// The trace of an occurrence: a new one, linked to the trace of the series. One
/// trace for all occurrences would grow for years.
fn trace_of_occurrence(series: &Body, id: OperationId) -> TraceContext {
    let queue = &series.queue;
    let span = info_span!(
        parent: None,
        "create",
        otel.name = %format_args!("create {queue}"),
        otel.kind = "producer",
        messaging.system = "drumline",
        messaging.operation.type = "create",
        messaging.operation.name = "create",
        messaging.destination.name = %queue,
        messaging.message.id = %id,
    );
    add_link(&span, &series.trace);
    span.in_scope(current_context)
}

/// The refusal of a rule that never comes due again.
pub(super) fn no_time(name: &str) -> Invalid {
    let why = "has no time to come";
    Invalid::arguments(vec![FieldError::new(name, why)])
}

/// Returns true if the rule of a series can be followed.
pub(crate) fn is_readable(recurrence: &Recurrence) -> bool {
    Rule::of(recurrence).is_ok()
}

//! Series: operations that recur.
//!
//! A series never runs. It is Suspended until its next time; maintenance finds
//! it due and, in one transaction, creates the occurrence, which does run, and
//! moves the series on to its next time. So there is one occurrence for each
//! time, whoever else looks and whoever dies: the transaction succeeds once.
//!
//! What clients ask of a series is decided here as well where it takes the
//! rule to do so: to resume it or to change it is to find its next time anew.

use drumline_backend::decide::{Commits, Decided, decide_open};
use drumline_backend::store::{Commit, Committed, Guard, NewOperation};
use drumline_protocol::operation::first_header;
use drumline_protocol::transition::{At, legal_actions};
use drumline_protocol::view::OperationView;
use drumline_protocol::{
    Body, ChainKey, ErrorCode, Event, Operation, Recurrence, Refused, Rules, Status, Timestamp,
    apply,
};
use uuid::Uuid;

use super::QueueManager;
use super::read::not_found;
use crate::error::{Error, Invalid, Result, Wrong};
use crate::recurrence::Rule;
use crate::request::{NewRule, next_time};

/// Occurrences that are shown.
const SHOWN: usize = 5;
/// How often somebody may be faster.
const ROUNDS: usize = 32;

impl QueueManager {
    /// The next five times of a series that is waiting for them; `None` for
    /// what does not recur, or not any more.
    #[must_use]
    pub fn next_occurrences(&self, operation: &Operation) -> Option<Vec<Timestamp>> {
        let recurrence = operation.header.recurrence.as_ref()?;
        match operation.header.status {
            Status::Waiting => {}
            Status::WaitingForResources
            | Status::InProgress
            | Status::Pausing
            | Status::Canceling
            | Status::Succeeded
            | Status::Failed
            | Status::Canceled => return None,
        }
        let Some(next) = operation.header.postpone_until else {
            return Some(Vec::new());
        };
        let mut times = vec![next];
        if let Ok(rule) = Rule::parse(&recurrence.pattern) {
            // One that is late passes over what it has missed.
            let after = next.max(self.store().now());
            times.extend(rule.following(recurrence.start, after, SHOWN - 1));
        }
        Some(times)
    }

    /// An operation as it is shown where it was asked for alone: a series with
    /// its next times.
    pub(crate) fn view(&self, operation: &Operation) -> OperationView {
        let times = self.next_occurrences(operation);
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
        NewOperation {
            // Where the chain is, if there is one; the transaction then stays in
            // one partition.
            id: self.ids().operation(now, series.id.partition()),
            header: first_header(rules, None, self.ids().commit(), now),
            body: Body {
                parent_id: Some(Uuid::from_bytes(*series.id.as_bytes())),
                created_on: now,
                ..body.clone()
            },
        }
    }

    /// Lets a series that was paused go on with its next time.
    ///
    /// # Errors
    /// [`Error::Refused`] where it is not paused, or its rule has no time left.
    pub(super) async fn resume_series(&self, series: Operation) -> Result<Operation> {
        let (series, done) = self
            .reschedule(series, "resume", |manager, series| {
                manager.resumption(series)
            })
            .await?;
        self.outlet().enqueue_all(&series, &done);
        Ok(series)
    }

    /// What resuming a series does to it as it stands.
    ///
    /// # Errors
    /// [`Error::Refused`] where its rule has no time left.
    pub(super) fn resumption(&self, series: &Operation) -> Result<Event> {
        let header = &series.header;
        let Some(recurrence) = header.recurrence.clone() else {
            return Ok(Event::Resume);
        };
        if header.status != Status::Waiting || header.postpone_until.is_some() {
            // Refused, in the words of the state machine.
            return Ok(Event::Resume);
        }
        let Some(next) = next_time(&recurrence, self.store().now()) else {
            return Err(Error::Refused(Refused {
                event: "resume",
                status: header.status,
                code: ErrorCode::INVALID_READY,
                why: Some("its rule has no time left: cancel it"),
                legal: legal_actions(header),
            }));
        };
        let next = Some(next);
        Ok(Event::Reschedule { recurrence, next })
    }

    /// Changes the rule of a series.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it does not recur, or the new rule has no time
    /// to come; [`Error::Refused`] where it is over.
    pub(super) async fn change_rule(&self, series: Operation, rule: &NewRule) -> Result<Operation> {
        let (series, done) = self
            .reschedule(series, "reschedule", |manager, series| {
                manager.rescheduling(series, rule)
            })
            .await?;
        self.outlet().enqueue_all(&series, &done);
        Ok(series)
    }

    /// What a new rule does to a series as it stands. One that is paused stays
    /// so.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it does not recur, or the new rule has no time
    /// to come.
    pub(super) fn rescheduling(&self, series: &Operation, rule: &NewRule) -> Result<Event> {
        let Some(recurrence) = &series.header.recurrence else {
            let why = "can be changed on recurring operations only";
            let wrong = rule.names().map(|name| Wrong::new(name, why));
            return Err(Error::Invalid(Invalid {
                code: ErrorCode::CANNOT_UPDATE_NONRECURRING,
                attributes: wrong.collect(),
            }));
        };
        let recurrence = rule.applied_to(recurrence);
        let next = next_time(&recurrence, self.store().now());
        if next.is_none() {
            return Err(no_time(rule.names().next().unwrap_or("recurrencePattern")).into());
        }
        let is_paused = series.header.postpone_until.is_none();
        Ok(Event::Reschedule {
            recurrence,
            next: next.filter(|_| !is_paused),
        })
    }

    /// Makes an event happen to a series that is found anew for each try: what
    /// was the next time a moment ago may have passed since.
    async fn reschedule(
        &self,
        mut series: Operation,
        name: &'static str,
        event: impl Fn(&Self, &Operation) -> Result<Event>,
    ) -> Result<(Operation, Box<drumline_backend::store::Done>)> {
        for _ in 0..ROUNDS {
            let decided = event(self, &series)?;
            let at = At {
                now: self.store().now(),
                commit: self.ids().commit(),
            };
            let transition = match apply(&series.header, decided, at) {
                Ok(transition) => transition,
                Err(refused) => {
                    self.metrics().acted(name, false);
                    return Err(refused.into());
                }
            };
            let commit = Commit::new(series.id, &series.header, &transition, Guard::Open);
            match self.store().commit_one(commit).await? {
                Committed::Done(done) => {
                    self.metrics().acted(name, true);
                    series.header = transition.header;
                    return Ok((series, done));
                }
                Committed::Conflict(header) => series.header = *header,
                Committed::Missing => return Err(not_found(series.id)),
                Committed::NotHead | Committed::Fenced => {
                    return Err(Error::Internal(format!(
                        "{name} of {} met a guard",
                        series.id
                    )));
                }
            }
        }
        Err(Error::Store(drumline_backend::store::Error::Unavailable {
            message: format!(
                "{} changed {ROUNDS} times while a change was tried",
                series.id
            ),
            source: None,
        }))
    }

    /// A series whose rule cannot be followed waits for a person.
    pub(crate) async fn set_aside(
        &self,
        series: &Operation,
    ) -> drumline_backend::store::Result<()> {
        tracing::warn!(id = %series.id, "a series has a rule that this release cannot read; it is paused");
        match decide_open(self.store(), self.ids(), series, Event::Pause).await? {
            Decided::Done(..)
            | Decided::Refused(_)
            | Decided::NotHead
            | Decided::Fenced
            | Decided::Missing => Ok(()),
        }
    }
}

/// The refusal of a rule that never comes due again.
pub(super) fn no_time(name: &str) -> Invalid {
    let why = "has no time that is still to come";
    Invalid::arguments(vec![Wrong::new(name, why)])
}

/// Whether the rule of a series can be followed.
pub(crate) fn is_readable(recurrence: &Recurrence) -> bool {
    Rule::parse(&recurrence.pattern).is_ok()
}

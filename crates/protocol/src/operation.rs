//! The operation: a small [`Header`] that every transition rewrites, an
//! immutable [`Body`], and a [`Report`] that its handler fills in.
//!
//! The parts are separate because they are written at different times and
//! sizes: a claim moves some hundred bytes however large the payload is, and
//! messages carry the header so that a claim needs a single round trip.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error_code::ErrorCode;
use crate::extensions::Extensions;
use crate::id::{CommitId, OperationId};
use crate::kind::OperationType;
use crate::limits;
use crate::retry::RetryPolicy;
use crate::status::{State, Status};
use crate::time::Timestamp;
use crate::token::{ChainKey, DependencyToken, Organization, QueueName};

/// One operation as the store holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its id, for ever.
    pub id: OperationId,
    /// The part that transitions change.
    pub header: Header,
    /// The part that never changes.
    pub body: Body,
    /// The handler's report.
    pub report: Report,
    /// The order of submission, given by the store; within a chain, also the
    /// order of execution.
    pub sequence: u64,
}

/// The state that decides about the next transition. Rewritten at each commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Header {
    /// Grows by one with each commit; commits name the version they expect.
    pub version: u64,
    /// The commit that wrote this version.
    pub commit: CommitId,
    /// The operation's status.
    pub status: Status,
    /// The parts of the body that transitions depend on.
    pub rules: Rules,
    /// The recurrence of a series.
    pub recurrence: Option<Recurrence>,
    /// True if it has Failed or was Canceled, and its chain stands still behind
    /// it until a person resumes it: see [`TokenPolicy::Hold`].
    pub holding: bool,
    /// The time when a Suspended operation wakes, and a series has its next
    /// occurrence; `None` waits for a person.
    pub postpone_until: Option<Timestamp>,
    /// The step after the handler of a Pausing operation has stopped.
    pub stop: Option<StopRequest>,
    /// The number of handler starts, with any outcome.
    pub starts: u32,
    /// The number of starts that ended in a drained worker that gave the
    /// operation back. They are attempts that use up no retry.
    pub released: u32,
    /// The number of starts that ended with the loss of the worker.
    pub lost: u32,
    /// The number of times that the retry policy put it off.
    pub retry_count: u32,
    /// The worker that holds it, or held it last.
    pub host_id: Option<String>,
    /// The time when the last handler was started.
    pub started_on: Option<Timestamp>,
    /// The time when it was Completed.
    pub completed_on: Option<Timestamp>,
    /// Time spent in handlers, all starts together, in milliseconds.
    pub execution_ms: u64,
    /// The time when this version was written.
    pub modified_on: Timestamp,
    /// The fields that a later minor version has added.
    #[serde(default)]
    pub extensions: Extensions,
}

impl Header {
    /// The attempt that is running, or that ran last: 1 for the first. Every start
    /// is an attempt, because what it has begun may still be under way elsewhere.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.starts
    }

    /// Returns true if it is Suspended and no time wakes it. A series that is paused
    /// is not meant: it goes on by another event.
    #[must_use]
    pub const fn waits_without_time(&self) -> bool {
        matches!(self.status, Status::Waiting) && self.postpone_until.is_none() && !self.is_series()
    }

    /// Returns true if it is Completed and does not hold its chain. No event changes it any
    /// more, but for its removal.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        matches!(self.status.state(), State::Completed) && !self.holding
    }

    /// Returns true if it is a series, which never runs itself; its occurrences
    /// do.
    #[must_use]
    pub const fn is_series(&self) -> bool {
        self.recurrence.is_some()
    }

    /// The time at which it expires; `None` if it never does, or not any more.
    ///
    /// Only an operation that waits for its first start expires. A start that
    /// was lost, given back or is to be retried was a start too.
    #[must_use]
    pub const fn expires_on(&self) -> Option<Timestamp> {
        let waits = matches!(self.status, Status::WaitingForResources | Status::Waiting);
        if waits && self.starts == 0 && !self.is_series() {
            self.rules.not_after
        } else {
            None
        }
    }

    /// Returns true if it must not start any more, because its time to start is
    /// over.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_on().is_some_and(|on| on <= now)
    }

    /// The time at which the scheduler has to look at it: when it wakes, or when
    /// it expires, whichever is earlier. The due set holds this time.
    #[must_use]
    pub fn due_on(&self) -> Option<Timestamp> {
        let times = [self.postpone_until, self.expires_on()];
        times.into_iter().flatten().min()
    }
}

/// The rule by which a series recurs, and its last occurrence.
///
/// A series stays Suspended until its next time. Each time creates an
/// occurrence: an operation of its own. A series with a dependency token is
/// not in that token's chain, but lives in the chain's partition; its
/// occurrences are in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recurrence {
    /// `recurrencePattern`: an RFC 5545 rule, as it was given; behind `TZID=`, the
    /// `recurrenceTimeZone` and a colon, if it has one. See [`Recurrence::written`].
    pub pattern: String,
    /// `recurrenceStartTime`: the time from which the rule counts.
    pub start: Timestamp,
    /// The occurrence that was created last.
    pub last: Option<OperationId>,
}

/// The word before the time zone of a rule.
const ZONE: &str = "TZID=";

impl Recurrence {
    /// A rule and its time zone as [`Self::pattern`] has them.
    #[must_use]
    pub fn written(rule: &str, time_zone: Option<&str>) -> String {
        time_zone.map_or_else(|| rule.to_owned(), |zone| format!("{ZONE}{zone}:{rule}"))
    }

    /// The rule, without its time zone.
    #[must_use]
    pub fn rule(&self) -> &str {
        self.parts().1
    }

    /// The name of the time zone whose clocks the rule goes by; `None` is UTC.
    #[must_use]
    pub fn time_zone(&self) -> Option<&str> {
        self.parts().0
    }

    fn parts(&self) -> (Option<&str>, &str) {
        let behind = self.pattern.strip_prefix(ZONE);
        match behind.and_then(|behind| behind.split_once(':')) {
            Some((zone, rule)) => (Some(zone), rule),
            None => (None, &self.pattern),
        }
    }
}

/// The rules of one operation, fixed at its creation. The default is that of a
/// create that names no rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rules {
    /// Its type, which may forbid control.
    pub operation_type: OperationType,
    /// Its chain, if it has a dependency token.
    pub chain: Option<ChainKey>,
    /// The fate of its chain when it fails or is cancelled.
    pub token_policy: TokenPolicy,
    /// True if its history is not kept once it has Succeeded:
    /// `retainJobHistory` is false.
    pub transient: bool,
    /// True if a receiver outside is notified of its end:
    /// [`Body::webhook_url`].
    pub webhook: bool,
    /// Fails instead of starting a second time.
    pub at_most_once: bool,
    /// The policy for trying it again.
    pub retry: RetryPolicy,
    /// The time at which it expires if it has never started by then: `notAfter`.
    pub not_after: Option<Timestamp>,
}

/// The fate of a chain whose head fails or is cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TokenPolicy {
    /// The next operation goes on, as in the Dynamics service.
    #[default]
    Continue,
    /// The chain stands still until a person resumes that head.
    Hold,
}

impl TokenPolicy {
    /// Both policies.
    pub const ALL: [Self; 2] = [Self::Continue, Self::Hold];

    /// The word in requests and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Hold => "hold",
        }
    }

    /// The policy with this word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

/// The reason why a running operation was asked to stop, short of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StopRequest {
    /// Then wait for a person.
    Pause,
    /// Then wait for this time.
    Postpone(Timestamp),
}

/// The part of an operation that never changes after creation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// A name for people; may be empty.
    pub name: String,
    /// The message name, which picks the handler.
    pub message_name: String,
    /// The pool of workers.
    pub queue: QueueName,
    /// The token behind [`Rules::chain`]; of a series, the token behind the
    /// chain of its occurrences.
    pub dependency_token: Option<DependencyToken>,
    /// The payload: JSON text, handed to the handler as it came.
    pub data: Option<String>,
    /// Equal for operations that belong together.
    pub correlation_id: Uuid,
    /// The request that created it.
    pub request_id: Option<Uuid>,
    /// The operation whose handler created it.
    pub parent_id: Option<Uuid>,
    /// Its parent's depth + 1; 0 without a parent.
    pub depth: u32,
    /// The type of the record that it is about.
    pub primary_entity_type: Option<String>,
    /// The record it is about.
    pub regarding_object_id: Option<Uuid>,
    /// The tenant.
    pub organization: Organization,
    /// The caller's identity.
    pub owner: String,
    /// The kind of process that created it.
    pub creator: Creator,
    /// The time when it was created.
    pub created_on: Timestamp,
    /// True: a Succeeded operation is kept for the whole retention time.
    pub retain_job_history: bool,
    /// The address that a notice of its end is posted to.
    pub webhook_url: Option<String>,
    /// The W3C trace context of the creating span.
    pub trace: TraceContext,
    /// The fields that a later minor version has added.
    #[serde(default)]
    pub extensions: Extensions,
}

impl Body {
    /// The body of an operation that has a message name and a time of creation,
    /// and nothing else.
    #[must_use]
    pub fn new(message_name: impl Into<String>, created_on: Timestamp) -> Self {
        Self {
            name: String::new(),
            message_name: message_name.into(),
            queue: QueueName::default(),
            dependency_token: None,
            data: None,
            correlation_id: Uuid::nil(),
            request_id: None,
            parent_id: None,
            depth: 0,
            primary_entity_type: None,
            regarding_object_id: None,
            organization: Organization::default(),
            owner: String::new(),
            creator: Creator::Caller,
            created_on,
            retain_job_history: true,
            webhook_url: None,
            trace: TraceContext::default(),
            extensions: Extensions::default(),
        }
    }

    /// A copy without the data, which is the one part that may be large.
    #[must_use]
    pub fn without_data(&self) -> Self {
        // No `..`: it would copy the data, too.
        Self {
            data: None,
            name: self.name.clone(),
            message_name: self.message_name.clone(),
            queue: self.queue.clone(),
            dependency_token: self.dependency_token.clone(),
            correlation_id: self.correlation_id,
            request_id: self.request_id,
            parent_id: self.parent_id,
            depth: self.depth,
            primary_entity_type: self.primary_entity_type.clone(),
            regarding_object_id: self.regarding_object_id,
            organization: self.organization.clone(),
            owner: self.owner.clone(),
            creator: self.creator,
            created_on: self.created_on,
            retain_job_history: self.retain_job_history,
            webhook_url: self.webhook_url.clone(),
            trace: self.trace.clone(),
            extensions: self.extensions.clone(),
        }
    }

    /// The bytes of the data.
    #[must_use]
    pub fn data_bytes(&self) -> usize {
        self.data.as_ref().map_or(0, String::len)
    }
}

/// The kind of process that created an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Creator {
    /// A client: [`Body::owner`].
    #[default]
    Caller,
    /// The handler of [`Body::parent_id`].
    Handler,
    /// The series [`Body::parent_id`], when its time had come.
    Series,
}

/// A W3C trace context, as the two headers carry it. Empty = no trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// The `traceparent` header.
    pub traceparent: String,
    /// The `tracestate` header.
    pub tracestate: String,
}

/// The handler's report; written by the holder only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The progress of the handler.
    pub progress: Option<Progress>,
    /// The point to go on from after a pause or a crash: JSON text of the
    /// handler's own.
    pub checkpoint: Option<String>,
    /// The handler's result: JSON text.
    pub result: Option<String>,
    /// The last fault, if any.
    pub fault: Option<Fault>,
    /// The fields that a later minor version has added.
    #[serde(default)]
    pub extensions: Extensions,
}

impl Report {
    /// The bytes of the parts that may be large.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let fault = self.fault.as_ref();
        length(&self.checkpoint)
            + length(&self.result)
            + fault.map_or(0, |fault| {
                fault.message.len() + fault.friendly_message.len()
            })
    }
}

/// The progress of a handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// For people.
    pub text: String,
}

/// A fault: for people, for experts, and for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// `errorCode`.
    pub code: ErrorCode,
    /// `friendlyMessage`.
    pub friendly_message: String,
    /// `message`: the technical one.
    pub message: String,
}

impl Fault {
    /// Makes a fault, with texts cut to the limits of the attributes.
    #[must_use]
    pub fn new(code: ErrorCode, friendly_message: &str, message: &str) -> Self {
        Self {
            code,
            friendly_message: limits::cut(friendly_message, limits::MESSAGE_CHARS).to_owned(),
            message: limits::cut(message, limits::MESSAGE_CHARS).to_owned(),
        }
    }
}

/// Makes the header of a new operation.
///
/// The operation is Ready, or Suspended if it is postponed into the future.
#[must_use]
pub fn first_header(
    rules: Rules,
    postpone_until: Option<Timestamp>,
    commit: CommitId,
    now: Timestamp,
) -> Header {
    let postpone_until = postpone_until.filter(|&until| until > now);
    Header {
        version: 1,
        commit,
        status: if postpone_until.is_some() {
            Status::Waiting
        } else {
            Status::WaitingForResources
        },
        rules,
        recurrence: None,
        holding: false,
        postpone_until,
        stop: None,
        starts: 0,
        released: 0,
        lost: 0,
        retry_count: 0,
        host_id: None,
        started_on: None,
        completed_on: None,
        execution_ms: 0,
        modified_on: now,
        extensions: Extensions::default(),
    }
}

/// Makes the header of a new series: Suspended until its first time, which may
/// have come already; `None` waits for a person.
#[must_use]
pub fn series_header(
    rules: Rules,
    recurrence: Recurrence,
    first: Option<Timestamp>,
    commit: CommitId,
    now: Timestamp,
) -> Header {
    Header {
        status: Status::Waiting,
        recurrence: Some(recurrence),
        postpone_until: first,
        ..first_header(rules, None, commit, now)
    }
}

/// The time spent in handlers, as the attribute gives it: seconds, two decimals.
#[must_use]
pub fn execution_time_span(header: &Header) -> f64 {
    (Duration::from_millis(header.execution_ms).as_secs_f64() * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests;

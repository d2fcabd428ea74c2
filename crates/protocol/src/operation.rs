//! The operation: a small [`Header`] that every transition rewrites, an
//! immutable [`Body`], and a [`Report`] that its handler fills in.
//!
//! They are apart because they are written at different times and sizes: a
//! claim moves some hundred bytes however large the payload is, and messages
//! carry the header so that a claim needs a single round trip.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error_code::ErrorCode;
use crate::id::{CommitId, OperationId};
use crate::kind::OperationType;
use crate::limits;
use crate::retry::RetryPolicy;
use crate::status::Status;
use crate::time::Timestamp;
use crate::token::{ChainKey, DependencyToken, Organization, QueueName};

/// One operation as the store holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its id, for ever.
    pub id: OperationId,
    /// What transitions change.
    pub header: Header,
    /// What never changes.
    pub body: Body,
    /// What the handler has to say.
    pub report: Report,
    /// Order of submission, given by the store; within a chain it is the order
    /// of execution.
    pub sequence: u64,
}

/// What decides about the next transition. Rewritten at each commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Header {
    /// Grows by one with each commit; commits name the version they expect.
    pub version: u64,
    /// The commit that wrote this version.
    pub commit: CommitId,
    /// Where the operation stands.
    pub status: Status,
    /// The parts of the body that transitions depend on.
    pub rules: Rules,
    /// Of a series: by which rule it recurs.
    pub recurrence: Option<Recurrence>,
    /// It has Failed or was Canceled, and its chain stands still behind it
    /// until a person resumes it: see [`TokenPolicy::Hold`].
    pub holding: bool,
    /// When a Suspended operation wakes, and a series has its next occurrence;
    /// `None` waits for a person.
    pub postpone_until: Option<Timestamp>,
    /// What follows when the handler of a Pausing operation has stopped.
    pub stop: Option<StopRequest>,
    /// How often a handler was started, whatever became of it.
    pub starts: u32,
    /// How many of the starts ended in a drained worker that gave the
    /// operation back; the attempt number is `starts - released`.
    pub released: u32,
    /// How many of the starts ended with the loss of the worker.
    pub lost: u32,
    /// How often it was put off by the retry policy.
    pub retry_count: u32,
    /// The worker that holds it, or held it last.
    pub host_id: Option<String>,
    /// When the last handler was started.
    pub started_on: Option<Timestamp>,
    /// When it was Completed.
    pub completed_on: Option<Timestamp>,
    /// Time spent in handlers, all starts together, in milliseconds.
    pub execution_ms: u64,
    /// When this version was written.
    pub modified_on: Timestamp,
}

impl Header {
    /// The attempt that is running, or that ran last: 1 for the first.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.starts.saturating_sub(self.released)
    }

    /// Whether it is a series: it never runs itself, its occurrences do.
    #[must_use]
    pub const fn is_series(&self) -> bool {
        self.recurrence.is_some()
    }
}

/// By which rule a series recurs, and how far it is.
///
/// A series stays Suspended until its next time. Each time creates an
/// occurrence: an operation of its own. A series with a dependency token is
/// not in that token's chain, but lives in the chain's partition; its
/// occurrences are in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recurrence {
    /// `recurrencePattern`: an RFC 5545 rule, as it was given.
    pub pattern: String,
    /// `recurrenceStartTime`: where the rule starts to count.
    pub start: Timestamp,
    /// The occurrence that was created last.
    pub last: Option<OperationId>,
}

/// The rules of one operation, fixed at its creation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rules {
    /// Its type, which may forbid control.
    pub operation_type: OperationType,
    /// Its chain, where it has a dependency token.
    pub chain: Option<ChainKey>,
    /// What becomes of its chain when it fails or is cancelled.
    pub token_policy: TokenPolicy,
    /// Once it has Succeeded nobody wants its history: `retainJobHistory` is false.
    pub transient: bool,
    /// Somebody outside is to be told of its end: [`Body::webhook_url`].
    pub webhook: bool,
    /// Fails instead of starting a second time.
    pub at_most_once: bool,
    /// When it is tried again.
    pub retry: RetryPolicy,
}

/// What becomes of a chain whose head fails or is cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TokenPolicy {
    /// The next one goes on, as the Dynamics service does it.
    #[default]
    Continue,
    /// It stands still until a person resumes the one that ended so.
    Hold,
}

impl TokenPolicy {
    /// Both.
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

/// Why a running operation was asked to stop, short of cancelling it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StopRequest {
    /// Then wait for a person.
    Pause,
    /// Then wait for this time.
    Postpone(Timestamp),
}

/// What never changes after creation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// A name for people; may be empty.
    pub name: String,
    /// What is asked for: picks the handler.
    pub message_name: String,
    /// The pool of workers.
    pub queue: QueueName,
    /// The token behind [`Rules::chain`]; of a series, the one behind the
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
    /// What kind of record it is about.
    pub primary_entity_type: Option<String>,
    /// The record it is about.
    pub regarding_object_id: Option<Uuid>,
    /// The tenant.
    pub organization: Organization,
    /// The caller's identity.
    pub owner: String,
    /// When it was created.
    pub created_on: Timestamp,
    /// Whether a Succeeded one is kept for the whole retention time.
    pub retain_job_history: bool,
    /// Who is to be told of its end: an address that a notice is posted to.
    pub webhook_url: Option<String>,
    /// The W3C trace context of the creating span.
    pub trace: TraceContext,
}

/// A W3C trace context, as the two headers carry it. Empty = no trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// The `traceparent` header.
    pub traceparent: String,
    /// The `tracestate` header.
    pub tracestate: String,
}

/// What the handler has to say; written by the holder only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How far it is.
    pub progress: Option<Progress>,
    /// Where to go on after a pause or a crash: JSON text of the handler's own.
    pub checkpoint: Option<String>,
    /// What it achieved: JSON text.
    pub result: Option<String>,
    /// The last thing that went wrong, if anything.
    pub fault: Option<Fault>,
}

/// How far a handler is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// For people.
    pub text: String,
}

/// Something that went wrong: for people, for experts, and for programs.
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
    /// A fault whose texts are cut to what the attributes may hold.
    #[must_use]
    pub fn new(code: ErrorCode, friendly_message: &str, message: &str) -> Self {
        Self {
            code,
            friendly_message: limits::cut(friendly_message, limits::MESSAGE_CHARS).to_owned(),
            message: limits::cut(message, limits::MESSAGE_CHARS).to_owned(),
        }
    }
}

/// The header of a new operation.
///
/// It is Ready, or Suspended where it is postponed into the future.
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
    }
}

/// The header of a new series: Suspended until its first time, which may have
/// come already; `None` waits for a person.
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

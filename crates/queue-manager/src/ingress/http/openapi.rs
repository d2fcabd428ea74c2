//! `/openapi.json`: the API as a document, made from the handlers.
//!
//! The types here only describe. Answers are written by the view in `api`,
//! and requests are read there. Tests hold the two together,
//! and the document against its committed copy, docs/openapi.json.
#![expect(dead_code, reason = "the types here are read by the derive alone")]

mod callers;
pub(crate) mod execute;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, OpenApi, ToSchema};

use self::callers::Callers;
use super::problem::Problem;
use super::waiting::WaitingView;
use super::{bulk, events, execute as requests, fleet, health, operations};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Drumline",
        description = "An asynchronous operation service: creates operations, shows them, and controls them.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "The queue manager that this document comes from")),
    paths(
        operations::create,
        operations::get,
        operations::list,
        operations::update,
        operations::delete,
        operations::cancel,
        operations::pause,
        operations::resume,
        operations::postpone,
        bulk::cancel,
        bulk::pause,
        bulk::resume,
        bulk::postpone,
        bulk::delete,
        requests::execute,
        events::events,
        fleet::workers,
        fleet::queues,
        health::alive,
        health::ready,
        health::metrics,
    ),
    components(schemas(Problem)),
    modifiers(&Callers),
    tags(
        (name = "operations", description = "Create and read operations"),
        (name = "actions", description = "Control operations"),
        (name = "requests", description = "Organization requests, one or many in one"),
        (name = "bulk", description = "Control many operations at once"),
        (name = "fleet", description = "Who works, and on what"),
        (name = "health", description = "For machines that watch machines"),
    ),
)]
struct Document;

/// The document as text, with a line break at its end.
#[must_use]
pub fn openapi_json() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// The address of the document.
pub(crate) async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], openapi_json()).into_response()
}

macro_rules! errors {
    ($($(#[doc = $doc:literal])* $name:ident = $status:literal, $description:literal;)*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Debug, IntoResponses)]
            #[response(
                status = $status,
                description = $description,
                content_type = "application/problem+json"
            )]
            pub(crate) struct $name(Problem);
        )*
    };
}

errors! {
    /// Not JSON.
    NotJson = 400, "The body is not JSON";
    /// No operation.
    NotFound = 404, "There is no such operation";
    /// A refused action.
    Illegal = 409, "It cannot be done from where the operation stands; `legalActions` says what can";
    /// A large body.
    TooLarge = 413, "The body is larger than the deployment allows";
    /// Another media type.
    UnsupportedMediaType = 415, "The content type does not say JSON";
    /// Broken rules.
    Invalid = 422, "Attributes are unknown or break a rule; `attributes` names them all";
    /// A caller that has used up what it may use.
    TooMany = 429, "The caller asks for too much; `Retry-After` says when to try again";
    /// Something is away.
    Busy = 503, "The store or the broker is away; `Retry-After` says when to try again";
}

/// What an operation is created from. Unknown attributes are refused.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"messageName": "ImportSolution", "dependencyToken": "contoso", "data": {"file": "contoso_1_2.zip"}}))]
pub(crate) struct NewOperation {
    /// What is asked for: picks the handler.
    #[schema(min_length = 1, max_length = 160)]
    message_name: String,
    /// A name for people.
    #[schema(max_length = 256)]
    name: Option<String>,
    /// The number of the type; 54, Execute Async Request, when missing.
    operation_type: Option<u32>,
    /// Operations with the same token run strictly in order of creation. Not
    /// allowed for bulk operations (types 2, 3, 4, 5, 13, 17, 23).
    #[schema(max_length = 256)]
    dependency_token: Option<String>,
    /// The pool of workers; `default` when missing.
    #[schema(pattern = "^[a-z0-9-]{1,64}$")]
    queue: Option<String>,
    /// Not before this time.
    #[schema(format = DateTime)]
    postpone_until: Option<String>,
    /// The payload: any JSON, up to 100 levels deep.
    data: Option<serde_json::Value>,
    /// Equal for operations that belong together; made up when missing.
    #[schema(format = "uuid")]
    correlation_id: Option<String>,
    /// The request that it comes from.
    #[schema(format = "uuid")]
    request_id: Option<String>,
    /// The operation whose handler creates it.
    #[schema(format = "uuid")]
    parent_id: Option<String>,
    /// What kind of record it is about.
    #[schema(max_length = 256)]
    primary_entity_type: Option<String>,
    /// The record it is about.
    #[schema(format = "uuid")]
    regarding_object_id: Option<String>,
    /// Whether a Succeeded one is kept for the whole retention time; true when
    /// missing.
    retain_job_history: Option<bool>,
    /// When it is tried again; what is missing in it is taken from the default.
    retry_policy: Option<RetryPolicy>,
    /// Fails instead of starting a second time.
    at_most_once: Option<bool>,
    /// Who is told when it has ended: a signed POST of the operation goes
    /// there, again until it is answered with a 2xx.
    #[schema(max_length = 2048, format = "uri")]
    webhook_url: Option<String>,
    /// What becomes of the chain when it fails or is cancelled; what the
    /// deployment says when missing.
    token_policy: Option<TokenPolicy>,
    /// An RFC 5545 rule, in UTC: each time it comes due, an operation is
    /// created from this one. Empty: it does not recur.
    #[schema(max_length = 256, example = "FREQ=DAILY;INTERVAL=3;")]
    recurrence_pattern: Option<String>,
    /// Where the rule starts to count; now when missing.
    #[schema(format = DateTime)]
    recurrence_start_time: Option<String>,
}

/// What becomes of a chain whose head fails or is cancelled.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenPolicy {
    /// The next one goes on.
    Continue,
    /// It stands still until somebody resumes the one that ended so.
    Hold,
}

/// A retry policy. Every member may be missing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RetryPolicy {
    /// How often it is put off before it fails. 0: the first failure is final.
    max_retries: Option<u32>,
    /// The first delay, in milliseconds.
    initial_ms: Option<u64>,
    /// Each further delay is this many times the one before.
    factor: Option<u32>,
    /// No delay is longer, in milliseconds.
    max_ms: Option<u64>,
    /// The share of each delay that chance may take off, in percent.
    #[schema(maximum = 100)]
    jitter_percent: Option<u8>,
    /// What follows the last retry.
    exhausted: Option<Exhausted>,
    /// How many lost workers it takes to fail.
    max_lost: Option<u32>,
}

/// What follows the last retry.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Exhausted {
    /// Completed, Failed.
    Fail,
    /// Suspended until a person looks at it.
    Suspend,
}

/// What can be changed of an operation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"stateCode": 1, "postponeUntil": "2027-01-01T06:00:00Z"}))]
pub(crate) struct OperationChanges {
    /// 0 resumes, 1 pauses (or postpones, with `postponeUntil`), 3 cancels.
    state_code: Option<u8>,
    /// 0, 10 or 32, meaning the same as their states.
    status_code: Option<u8>,
    /// Postpones to this time.
    #[schema(format = DateTime)]
    postpone_until: Option<String>,
    /// Of a series, and not together with the above: its rule from now on.
    #[schema(max_length = 256)]
    recurrence_pattern: Option<String>,
    /// As `recurrencePattern`: where its rule starts to count.
    #[schema(format = DateTime)]
    recurrence_start_time: Option<String>,
}

/// Until when to postpone.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Postponement {
    /// The time.
    #[schema(format = DateTime)]
    postpone_until: String,
}

/// One page of operations.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OperationList {
    /// Newest first.
    operations: Vec<Operation>,
    /// Where the next page starts; `null`: that was all.
    next_cursor: Option<String>,
}

/// How far a handler is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Progress {
    /// 0 to 100.
    #[schema(maximum = 100)]
    percent: u8,
    /// For people.
    text: String,
}

/// An operation, and why it does not run or does not end.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExplainedOperation {
    #[serde(flatten)]
    operation: Operation,
    /// With `explain` only: what it waits for; `null` where it runs or is
    /// Completed.
    waiting_for: Option<WaitingView>,
}

/// An operation. Times are RFC 3339 in UTC.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Operation {
    /// Its id, for ever.
    #[schema(format = "uuid")]
    id: String,
    /// A name for people; may be empty.
    name: String,
    /// The number of the type.
    operation_type: u32,
    /// The name of the type; `null` for a number outside the list.
    operation_type_name: Option<String>,
    /// What is asked for: picks the handler.
    message_name: String,
    /// The number of `state`: 0, 1, 2, 3.
    state_code: u8,
    /// The number of `status`: 0, 10, 20, 21, 22, 30, 31, 32.
    status_code: u8,
    /// `Ready`, `Suspended`, `Locked` or `Completed`.
    state: String,
    /// `WaitingForResources`, `Waiting`, `InProgress`, `Pausing`, `Canceling`,
    /// `Succeeded`, `Failed` or `Canceled`.
    status: String,
    /// Equal token, strict order.
    dependency_token: Option<String>,
    /// What becomes of the chain when it fails or is cancelled: `continue` or
    /// `hold`.
    #[schema(example = "continue")]
    token_policy: String,
    /// It has Failed or was Canceled, and its chain stands still until somebody
    /// resumes it.
    holds_token: bool,
    /// When a Suspended operation wakes, and a series has its next occurrence;
    /// `null`: when somebody resumes it.
    #[schema(format = DateTime)]
    postpone_until: Option<String>,
    /// The recurrence rule (RFC 5545); `null` for operations that do not recur.
    recurrence_pattern: Option<String>,
    /// When the recurrence starts.
    #[schema(format = DateTime)]
    recurrence_start_time: Option<String>,
    /// The times of the next five occurrences; only in answers about one
    /// series, not in lists.
    next_occurrences: Option<Vec<String>>,
    /// The payload, exactly as it was given.
    data: Option<serde_json::Value>,
    /// Equal for operations that belong together.
    #[schema(format = "uuid")]
    correlation_id: String,
    /// The request that created it.
    #[schema(format = "uuid")]
    request_id: Option<String>,
    /// The operation whose handler created it.
    #[schema(format = "uuid")]
    parent_id: Option<String>,
    /// Its parent's depth + 1; 0 without a parent.
    depth: u32,
    /// What kind of record it is about.
    primary_entity_type: Option<String>,
    /// The record it is about.
    #[schema(format = "uuid")]
    regarding_object_id: Option<String>,
    /// Whom it belongs to.
    owner_id: String,
    /// Who created it.
    created_by: String,
    /// Who changed it last.
    modified_by: String,
    /// The tenant.
    organization: String,
    /// The pool of workers.
    queue: String,
    /// The worker that holds it, or held it last.
    host_id: Option<String>,
    /// The last thing that went wrong, for people.
    friendly_message: Option<String>,
    /// The last thing that went wrong, for experts.
    message: Option<String>,
    /// The last thing that went wrong, for programs.
    #[schema(example = "0x8004A001")]
    error_code: Option<String>,
    /// How often it was put off by the retry policy.
    retry_count: u32,
    /// Order of submission.
    sequence: u64,
    /// When it was created.
    #[schema(format = DateTime)]
    created_on: String,
    /// When it was changed last.
    #[schema(format = DateTime)]
    modified_on: String,
    /// When the last handler was started.
    #[schema(format = DateTime)]
    started_on: Option<String>,
    /// When it was Completed.
    #[schema(format = DateTime)]
    completed_on: Option<String>,
    /// Seconds spent in handlers, two decimals.
    execution_time_span: f64,
    /// How far its handler is.
    progress: Option<Progress>,
    /// What it achieved: any JSON.
    result: Option<serde_json::Value>,
    /// Whether a Succeeded one is kept for the whole retention time.
    retain_job_history: bool,
    /// Who is told of its end.
    webhook_url: Option<String>,
    /// How often a handler was started, whatever became of it.
    start_count: u32,
    /// How many of the starts ended with the loss of the worker.
    lost_count: u32,
    /// Which attempt runs, or ran last: 1 for the first, 0 before it.
    attempt: u32,
    /// Fails instead of starting a second time.
    at_most_once: bool,
    /// When it is tried again.
    retry_policy: RetryPolicy,
    /// Grows by one with each change.
    version: u64,
    /// What a client could ask for now.
    legal_actions: Vec<String>,
}

#[cfg(test)]
mod tests;

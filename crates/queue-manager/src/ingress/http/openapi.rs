//! What handlers describe themselves with, for `/openapi.json`, and the frame of
//! that document.
//!
//! The types here only describe. Answers are written by the view in `api`,
//! and requests are read there. Tests hold the two together,
//! and the document against its committed copy, docs/openapi.json.
#![expect(dead_code, reason = "the types here are read by the derive alone")]

mod callers;
pub(crate) mod execute;
pub(crate) mod refusals;

use serde::Serialize;
use utoipa::openapi::OpenApi;
use utoipa::{IntoResponses, Modify as _, OpenApi as _, ToSchema};

use self::callers::Callers;
use super::waiting::WaitingView;
use crate::ingress::problem::Problem;

/// The document.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Drumline",
        description = "An asynchronous operation service: it creates, shows and controls operations.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "The queue manager that this document comes from")),
    components(schemas(Problem)),
    tags(
        (name = "operations", description = "Create and read operations"),
        (name = "actions", description = "Control operations"),
        (name = "requests", description = "Organization requests, alone or in batches and transactions"),
        (name = "bulk", description = "Control all operations that match a filter"),
        (name = "fleet", description = "Live processes, and queues"),
        (name = "health", description = "Probes and metrics, for orchestrators and monitoring"),
    ),
)]
struct Document;

/// The document about some routes, as text with a line break at its end.
pub(super) fn text(routes: OpenApi) -> String {
    let mut document = Document::openapi();
    document.merge(routes);
    Callers.modify(&mut document);
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
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
    Illegal = 409, "The state of the operation does not allow the action; `legalActions` lists the actions that it allows";
    /// A large body.
    TooLarge = 413, "The body is larger than the deployment allows";
    /// Another media type.
    UnsupportedMediaType = 415, "The content type is not JSON";
    /// Broken rules.
    Invalid = 422, "Attributes are unknown or break a rule; `attributes` lists all of them";
    /// A caller that has used up what it may use.
    TooMany = 429, "The caller is over a limit; `Retry-After` says when to repeat the request";
    /// Something is unavailable.
    Busy = 503, "The store or the broker is unavailable; `Retry-After` says when to repeat the request";
}

/// The attributes of a new operation. Unknown attributes are refused.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"messageName": "ImportSolution", "dependencyToken": "contoso", "data": {"file": "contoso_1_2.zip"}}))]
pub(crate) struct NewOperation {
    /// The message name, which selects the handler.
    #[schema(min_length = 1, max_length = 160)]
    message_name: String,
    /// A name for people.
    #[schema(max_length = 256)]
    name: Option<String>,
    /// The number of the operation type. Default: 54, Execute Async Request.
    operation_type: Option<u32>,
    /// The dependency token. Operations with the same token run strictly in order
    /// of creation. Not allowed for bulk operations (types 2, 3, 4, 5, 13, 17, 23).
    #[schema(max_length = 256)]
    dependency_token: Option<String>,
    /// The queue, a pool of workers. Default: `default`.
    #[schema(pattern = "^[a-z0-9-]{1,64}$")]
    queue: Option<String>,
    /// The earliest time to start.
    #[schema(format = DateTime)]
    postpone_until: Option<String>,
    /// The payload: any JSON, up to 100 levels deep.
    data: Option<serde_json::Value>,
    /// The same for operations that belong together. Default: a new UUID.
    #[schema(format = "uuid")]
    correlation_id: Option<String>,
    /// The id of the request that the operation comes from.
    #[schema(format = "uuid")]
    request_id: Option<String>,
    /// The id of the operation whose handler creates this one.
    #[schema(format = "uuid")]
    parent_id: Option<String>,
    /// The type of the record that the operation is about.
    #[schema(max_length = 256)]
    primary_entity_type: Option<String>,
    /// The id of the record that the operation is about.
    #[schema(format = "uuid")]
    regarding_object_id: Option<String>,
    /// Whether the operation, if Succeeded, is kept for the whole retention time.
    /// Default: true.
    retain_job_history: Option<bool>,
    /// The retry policy. Missing members have their defaults.
    retry_policy: Option<RetryPolicy>,
    /// The operation never starts a second time: it fails instead. Default: false.
    at_most_once: Option<bool>,
    /// The webhook: an address that gets a signed POST of the operation when it
    /// is Completed, repeated until the answer is a 2xx.
    #[schema(max_length = 2048, format = "uri")]
    webhook_url: Option<String>,
    /// What follows for the chain when the operation fails or is cancelled.
    /// Default: the setting of the deployment.
    token_policy: Option<TokenPolicy>,
    /// The recurrence rule (RFC 5545), in UTC. Each time the rule comes due, an
    /// operation is created from this one. Empty: the operation does not recur.
    #[schema(max_length = 256, example = "FREQ=DAILY;INTERVAL=3;")]
    recurrence_pattern: Option<String>,
    /// The start of the recurrence. Default: now.
    #[schema(format = DateTime)]
    recurrence_start_time: Option<String>,
}

/// What follows for a chain when its head fails or is cancelled.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenPolicy {
    /// The next operation of the chain starts.
    Continue,
    /// The chain stands still until that operation is resumed (skipped).
    Hold,
}

/// A retry policy. Every member is optional.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RetryPolicy {
    /// The maximum number of retries. 0: the first failure is final.
    max_retries: Option<u32>,
    /// The delay before the first retry, in milliseconds.
    initial_ms: Option<u64>,
    /// The factor by which each further delay grows.
    factor: Option<u32>,
    /// The longest delay, in milliseconds.
    max_ms: Option<u64>,
    /// The share of each delay by which it may randomly be shorter, in percent.
    #[schema(maximum = 100)]
    jitter_percent: Option<u8>,
    /// The outcome after the last retry.
    exhausted: Option<Exhausted>,
    /// The number of lost workers after which the operation fails.
    max_lost: Option<u32>,
}

/// The outcome after the last retry.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Exhausted {
    /// Completed, Failed.
    Fail,
    /// Suspended until a person resumes it.
    Suspend,
}

/// The changes of an operation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"stateCode": 1, "postponeUntil": "2027-01-01T06:00:00Z"}))]
pub(crate) struct OperationChanges {
    /// 0 resumes, 1 pauses (or postpones, with `postponeUntil`), 3 cancels.
    state_code: Option<u8>,
    /// 0, 10 or 32, with the same effects as their states.
    status_code: Option<u8>,
    /// Postpones to this time.
    #[schema(format = DateTime)]
    postpone_until: Option<String>,
    /// The new rule of a series. Not together with the attributes above.
    #[schema(max_length = 256)]
    recurrence_pattern: Option<String>,
    /// The new start of the recurrence of a series, like `recurrencePattern`.
    #[schema(format = DateTime)]
    recurrence_start_time: Option<String>,
}

/// A postponement.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Postponement {
    /// The earliest time to start.
    #[schema(format = DateTime)]
    postpone_until: String,
}

/// One page of operations.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OperationList {
    /// Newest first.
    operations: Vec<Operation>,
    /// The cursor of the next page; `null` on the last page.
    next_cursor: Option<String>,
}

/// The progress of a handler.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Progress {
    /// 0 to 100.
    #[schema(maximum = 100)]
    percent: u8,
    /// For people.
    text: String,
}

/// An operation, and the reason why it does not run or does not end.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExplainedOperation {
    #[serde(flatten)]
    operation: Operation,
    /// With `explain` only: what the operation waits for; `null` if it runs or is
    /// Completed.
    waiting_for: Option<WaitingView>,
}

/// An operation. Times are RFC 3339 in UTC.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Operation {
    /// The id. It never changes.
    #[schema(format = "uuid")]
    id: String,
    /// A name for people; may be empty.
    name: String,
    /// The number of the operation type.
    operation_type: u32,
    /// The name of the operation type; `null` for an unlisted number.
    operation_type_name: Option<String>,
    /// The message name, which selects the handler.
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
    /// The dependency token. Operations with the same token run strictly in order.
    dependency_token: Option<String>,
    /// What follows for the chain when the operation fails or is cancelled:
    /// `continue` or `hold`.
    #[schema(example = "continue")]
    token_policy: String,
    /// The operation Failed or was Canceled, and its chain stands still until the
    /// operation is resumed (skipped).
    holds_token: bool,
    /// The time at which a Suspended operation becomes Ready, and a series has its
    /// next occurrence; `null`: not before it is resumed.
    #[schema(format = DateTime)]
    postpone_until: Option<String>,
    /// The recurrence rule (RFC 5545); `null` for operations that do not recur.
    recurrence_pattern: Option<String>,
    /// The start of the recurrence.
    #[schema(format = DateTime)]
    recurrence_start_time: Option<String>,
    /// The times of the next five occurrences; only in answers about one
    /// series, not in lists.
    next_occurrences: Option<Vec<String>>,
    /// The payload, exactly as it was created.
    data: Option<serde_json::Value>,
    /// The same for operations that belong together.
    #[schema(format = "uuid")]
    correlation_id: String,
    /// The id of the request that the operation comes from.
    #[schema(format = "uuid")]
    request_id: Option<String>,
    /// The id of the operation whose handler created this one.
    #[schema(format = "uuid")]
    parent_id: Option<String>,
    /// The depth of the parent plus one; 0 without a parent.
    depth: u32,
    /// The type of the record that the operation is about.
    primary_entity_type: Option<String>,
    /// The id of the record that the operation is about.
    #[schema(format = "uuid")]
    regarding_object_id: Option<String>,
    /// The caller that owns the operation.
    owner_id: String,
    /// The caller that created the operation.
    created_by: String,
    /// The caller or process that changed the operation last.
    modified_by: String,
    /// The organization, a tenant.
    organization: String,
    /// The queue, a pool of workers.
    queue: String,
    /// The name of the worker that holds the operation, or held it last.
    host_id: Option<String>,
    /// The last error, for people.
    friendly_message: Option<String>,
    /// The last error, for experts.
    message: Option<String>,
    /// The last error, for programs.
    #[schema(example = "0x8004A001")]
    error_code: Option<String>,
    /// The number of retries so far.
    retry_count: u32,
    /// A number that grows along the operations of one token, in their order.
    sequence: u64,
    /// The time of creation.
    #[schema(format = DateTime)]
    created_on: String,
    /// The time of the last change.
    #[schema(format = DateTime)]
    modified_on: String,
    /// The time at which a handler was last started.
    #[schema(format = DateTime)]
    started_on: Option<String>,
    /// The time at which the operation was Completed.
    #[schema(format = DateTime)]
    completed_on: Option<String>,
    /// The seconds spent in handlers, with two decimals.
    execution_time_span: f64,
    /// The progress of the handler.
    progress: Option<Progress>,
    /// The result: any JSON.
    result: Option<serde_json::Value>,
    /// Whether the operation, if Succeeded, is kept for the whole retention time.
    retain_job_history: bool,
    /// The webhook: the address that is notified of the completion.
    webhook_url: Option<String>,
    /// The number of starts of a handler, with any outcome.
    start_count: u32,
    /// The number of starts that ended with the loss of the worker.
    lost_count: u32,
    /// The number of the running or latest attempt: 1 for the first, 0 before it.
    attempt: u32,
    /// The operation never starts a second time: it fails instead.
    at_most_once: bool,
    /// The retry policy.
    retry_policy: RetryPolicy,
    /// The version. It grows by one with each change.
    version: u64,
    /// The actions that a client may request now.
    legal_actions: Vec<String>,
}

#[cfg(test)]
mod tests;

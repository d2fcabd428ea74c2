//! What handlers describe themselves with, for `/openapi.json`, and the frame of
//! that document.
//!
//! The types here only describe. The attributes of operations are described by
//! the table that they are read and shown by (`attributes`). Tests hold the rest
//! against the answers, and the document against its committed copy,
//! docs/openapi.json.
#![expect(dead_code, reason = "the types here are read by the derive alone")]

mod actions;
mod attempts;
mod attributes;
mod audit;
mod callers;
mod creates;
pub(crate) mod execute;
mod history;
mod pauses;
mod preview;
pub(crate) mod refusals;

use serde::Serialize;
use utoipa::openapi::OpenApi;
use utoipa::{IntoResponses, Modify as _, OpenApi as _, ToSchema};

pub(crate) use self::actions::{Action, ActionPreview, Actions, NewAction};
pub(crate) use self::attempts::Attempts;
pub(crate) use self::attributes::{
    EventConditions, ListConditions, ListFilter, NewOperation, Operation, OperationChanges,
};
pub(crate) use self::audit::AuditEntries;
use self::callers::Callers;
pub(crate) use self::creates::NewOperations;
pub(crate) use self::history::History;
pub(crate) use self::pauses::{NewFreeze, NewPause, Pause, Pauses};
pub(crate) use self::preview::{ActionName, BulkName, Preview};
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
    security((), ("key" = [])),
    servers((url = "/", description = "The queue manager that this document comes from")),
    components(schemas(Problem)),
    tags(
        (name = "operations", description = "Create and read operations"),
        (name = "actions", description = "Control operations"),
        (name = "requests", description = "Organization requests, alone or in batches and transactions"),
        (name = "bulk", description = "Control all operations that match a filter"),
        (name = "pauses", description = "Stop a queue, a message name, a token, an organization or everything, and let it go on"),
        (name = "fleet", description = "Live processes, queues, and the audit"),
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
    /// No key.
    Unauthenticated = 401, "The service has keys, and the request has none that is valid";
    /// No right.
    Forbidden = 403, "The key may not do this, or a web page of another site has sent the request";
    /// No operation.
    NotFound = 404, "There is no such operation";
    /// No pause.
    NoPause = 404, "There is no such pause";
    /// No failure group, or no mute.
    NoFailures = 404, "There is no such failure group, or it is not muted";
    /// No backup.
    NoBackup = 404, "The operations are not in a folder of this process";
    /// No action.
    NoAction = 404, "There is no such action, or not any more";
    /// No worker.
    NoWorker = 404, "There is no live worker with this id";
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

/// A postponement.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Postponement {
    /// The earliest time to start.
    #[schema(format = DateTime)]
    postpone_until: String,
}

/// The differences of an operation that does the work of another one again.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Changes {
    /// Other data.
    data: Option<serde_json::Value>,
    /// Another dependency token.
    dependency_token: Option<String>,
    /// `true`: the new operation has no token, so it waits for no other one.
    leave_token: Option<bool>,
    /// Another queue.
    queue: Option<String>,
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

#[cfg(test)]
mod tests;

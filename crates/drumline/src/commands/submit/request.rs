//! The create request that the flags describe.

use std::time::Duration;

use drumline_protocol::view::ExhaustedView;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::cli::client::Attributes;
use crate::exit::{Exit, Failure, Result};
use crate::output::time::{Now, rfc3339};

/// The body of `POST /v1/operations`; what is not given is left to the service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    message_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_type: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dependency_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postpone_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_entity_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regarding_object_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retain_job_history: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most_once: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_policy: Option<RetryPolicy>,
}

/// The parts of a retry policy that the flags give.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RetryPolicy {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_retries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exhausted: Option<ExhaustedView>,
}

/// The JSON text of the request. `parent` is the operation whose handler we
/// are part of, if we are.
///
/// # Errors
/// When it cannot be written down, which is a bug.
pub(super) fn of(
    message: &str,
    attributes: &Attributes,
    data: Option<Box<RawValue>>,
    parent: Option<Uuid>,
    now: Now,
) -> Result<String> {
    let postpone_until = attributes
        .postpone_until
        .or_else(|| attributes.in_.map(|span| now.later(span)));
    let request = Request {
        message_name: message,
        name: attributes.name.as_deref(),
        operation_type: attributes.operation_type,
        dependency_token: attributes.token.as_deref(),
        postpone_until: postpone_until.map(rfc3339),
        data,
        correlation_id: attributes.correlation_id,
        request_id: attributes.request_id,
        parent_id: attributes.parent_id.or(parent),
        primary_entity_type: attributes.entity_type.as_deref(),
        regarding_object_id: attributes.regarding,
        retain_job_history: attributes.forget.then_some(false),
        queue: attributes.queue.as_ref().map(|queue| queue.as_str()),
        at_most_once: attributes.at_most_once.then_some(true),
        retry_policy: retry_policy(attributes),
    };
    serde_json::to_string(&request).map_err(|error| Failure::caused(Exit::Internal, error))
}

fn retry_policy(attributes: &Attributes) -> Option<RetryPolicy> {
    let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let policy = RetryPolicy {
        max_retries: attributes.retry_max,
        initial_ms: attributes.retry_initial.map(ms),
        factor: attributes.retry_factor,
        max_ms: attributes.retry_longest.map(ms),
        exhausted: attributes.retry_exhausted.map(ExhaustedView::from),
    };
    let RetryPolicy {
        max_retries,
        initial_ms,
        factor,
        max_ms,
        exhausted,
    } = &policy;
    let given = max_retries.is_some()
        || initial_ms.is_some()
        || factor.is_some()
        || max_ms.is_some()
        || exhausted.is_some();
    given.then_some(policy)
}

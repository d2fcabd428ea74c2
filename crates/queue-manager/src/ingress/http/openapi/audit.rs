//! The audit stream, as the document describes it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// A page of audit entries.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditEntries {
    /// Newest first.
    entries: Vec<AuditEntry>,
    /// The cursor of the next page; `null` on the last page.
    next_cursor: Option<String>,
}

/// A change that was asked for, or a request that was denied. Members without a value
/// are left out.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditEntry {
    /// The time, by the clock of the store.
    #[schema(format = DateTime)]
    time: String,
    /// `http`, `amqp`, or `service` for a count of what has no entry.
    #[schema(example = "http")]
    via: String,
    /// Method and route.
    #[schema(example = "POST /v1/operations/cancel")]
    action: String,
    /// The name of an organization request.
    request: Option<String>,
    /// `done`, `denied`, `refused`, `failed` or `leftOut`.
    #[schema(example = "done")]
    outcome: String,
    /// The HTTP status.
    status: Option<u16>,
    /// The error code.
    code: Option<String>,
    /// The reason of a denial, or the one that the caller gave.
    reason: Option<String>,
    /// `key:`, `user:` or `run:`, and the id.
    #[schema(example = "key:k7f3q2ab")]
    principal: Option<String>,
    /// The roles of the principal.
    roles: Option<Vec<String>>,
    /// The organization that the request acted for.
    organization: Option<String>,
    /// The caller that the request acted for.
    caller: Option<String>,
    /// The address of the connection.
    address: Option<String>,
    /// The name in the certificate of the client.
    certificate: Option<String>,
    /// The addresses that `X-Forwarded-For` claims.
    forwarded_for: Option<String>,
    /// The first ids.
    ids: Option<Vec<String>>,
    /// The conditions of an action on many.
    filter: Option<BTreeMap<String, String>>,
    /// The number of operations changed, or of what has no entry.
    count: Option<u64>,
    /// The id of the trace.
    trace: Option<String>,
    /// True if parts were cut to make the entry fit.
    cut: Option<bool>,
}

//! `/v1/operations/create` as the document describes it.

use serde::Serialize;
use utoipa::ToSchema;

use super::NewOperation;

/// Creates that have nothing to do with one another.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "creates": [
        {"operation": {"messageName": "SendMail", "data": {"to": "a@example.org"}}, "idempotencyKey": "welcome-1"},
        {"operation": {"messageName": "SendMail", "data": {"to": "b@example.org"}}, "idempotencyKey": "welcome-2"},
    ],
}))]
pub(crate) struct NewOperations {
    /// The creates: at most as many as a batch may have.
    creates: Vec<KeyedCreate>,
}

/// One create of many.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyedCreate {
    /// The attributes of the new operation.
    operation: NewOperation,
    /// The idempotency key, like the header `Idempotency-Key`: it makes the create safe to
    /// repeat.
    #[schema(min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

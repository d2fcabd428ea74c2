//! `/v1/execute` as the document describes it.

use serde::Serialize;
use utoipa::ToSchema;

use super::{NewOperation, Operation};

/// An organization request. `requestId` (a UUID) may stand beside the other
/// members: operations that the request creates carry it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "requestName", content = "parameters")]
#[schema(example = json!({
    "requestName": "ExecuteMultiple",
    "parameters": {
        "requests": [
            {"requestName": "Create", "parameters": {"target": {"messageName": "Parse", "dependencyToken": "contoso"}, "idempotencyKey": "contoso/1"}},
            {"requestName": "ExecuteAsync", "parameters": {"request": {"requestName": "ImportSolution", "parameters": {"file": "contoso_1_2.zip"}}}},
        ],
        "settings": {"continueOnError": true, "returnResponses": true},
    },
}))]
pub(crate) enum Request {
    /// Create an operation.
    Create(Create),
    /// Show an operation, by its id or as the newest with a name.
    Retrieve(Retrieve),
    /// Show a page of operations.
    RetrieveMultiple(RetrieveMultiple),
    /// Change an operation.
    Update(Update),
    /// Remove a Completed operation.
    Delete(Delete),
    /// Execute a request later, one at a time per organization.
    ExecuteAsync(ExecuteAsync),
    /// Execute requests in the order of the list, each for itself.
    ExecuteMultiple(ExecuteMultiple),
    /// Execute all requests or none.
    ExecuteTransaction(ExecuteTransaction),
}

/// Parameters of `Create`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Create {
    /// What to create.
    target: NewOperation,
    /// Makes it repeatable, like the header `Idempotency-Key`.
    #[schema(min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

/// Parameters of `Retrieve`: either `id` or `name`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Retrieve {
    /// Which operation.
    id: Option<String>,
    /// The newest with exactly this name.
    #[schema(max_length = 256)]
    name: Option<String>,
    /// Attributes to show, besides the id; all when missing.
    #[schema(max_items = 100)]
    column_set: Option<Vec<String>>,
}

/// Parameters of `RetrieveMultiple`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RetrieveMultiple {
    /// Which operations; all when missing.
    filter: Option<ListFilter>,
    /// How many at most: 1 to 500, 50 when missing.
    #[schema(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Conditions that must all hold.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListFilter {
    /// Exactly this name.
    name: Option<String>,
    /// A state code or its name.
    #[schema(value_type = Option<String>, example = "Ready")]
    state: Option<String>,
    /// A status code or its name.
    #[schema(value_type = Option<String>, example = "InProgress")]
    status: Option<String>,
    /// Exactly this message name.
    message_name: Option<String>,
    /// The number of the type.
    operation_type: Option<u32>,
    /// Exactly this token.
    dependency_token: Option<String>,
    /// Created after this time.
    #[schema(format = DateTime)]
    created_after: Option<String>,
    /// Created before this time.
    #[schema(format = DateTime)]
    created_before: Option<String>,
    /// Completed before this time.
    #[schema(format = DateTime)]
    completed_before: Option<String>,
    /// With this correlation id.
    #[schema(format = "uuid")]
    correlation_id: Option<String>,
}

/// Parameters of `Update`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Update {
    /// Which operation, and its changes: `stateCode`, `statusCode`,
    /// `postponeUntil`; of a series, `recurrencePattern` and
    /// `recurrenceStartTime`.
    target: UpdateTarget,
}

/// An operation and its changes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateTarget {
    /// Which operation.
    id: String,
    #[serde(flatten)]
    changes: super::OperationChanges,
}

/// Parameters of `Delete`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delete {
    /// Which operation.
    id: String,
}

/// Parameters of `ExecuteAsync`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExecuteAsync {
    /// What is to be executed.
    request: AsyncRequest,
    /// Makes it repeatable, like the header `Idempotency-Key`.
    #[schema(min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

/// A request that is executed later.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AsyncRequest {
    /// One of those that the deployment lists.
    #[schema(max_length = 160, example = "ImportSolution")]
    request_name: String,
    /// The operation carries it.
    #[schema(format = "uuid")]
    request_id: Option<String>,
    /// What its handler gets as `data`.
    #[schema(value_type = Option<Object>)]
    parameters: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Parameters of `ExecuteMultiple`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExecuteMultiple {
    /// The items, at most 1000 (a setting of the deployment). An item may be
    /// anything but another `ExecuteMultiple`.
    #[schema(no_recursion)]
    requests: Vec<Request>,
    /// How to go on, and what to answer.
    settings: Option<BatchSettings>,
}

/// How a batch is executed and answered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchSettings {
    /// A fault does not keep the items behind it from being executed; false
    /// when missing.
    continue_on_error: Option<bool>,
    /// Answers come back, and not only faults; false when missing.
    return_responses: Option<bool>,
}

/// Parameters of `ExecuteTransaction`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExecuteTransaction {
    /// `Create`, `Update`, `Delete` and `ExecuteAsync`; at most as many as a
    /// batch may have, and no operation twice.
    #[schema(no_recursion)]
    requests: Vec<Request>,
    /// Answers come back; false when missing.
    return_responses: Option<bool>,
}

/// What came of a request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"responseName": "ExecuteAsync", "results": {"asyncJobId": "01977d5f-2a00-8011-9d3c-0b1c2d3e4f50"}}))]
pub(crate) struct Response {
    /// The name of the request.
    response_name: String,
    /// `null` for `Update` and `Delete`, which answer nothing.
    results: Option<Results>,
}

/// What came of it: which members there are depends on the request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Results {
    /// `Create`.
    Created {
        /// The operation.
        #[schema(format = "uuid")]
        id: String,
        /// `true`: it is there since an earlier request with its key; not there
        /// otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        existed: Option<bool>,
    },
    /// `ExecuteAsync`.
    #[serde(rename_all = "camelCase")]
    Started {
        /// The operation that executes the request.
        #[schema(format = "uuid")]
        async_job_id: String,
    },
    /// `Retrieve`.
    Retrieved {
        /// The operation, or the attributes that were asked for.
        #[schema(value_type = Object)]
        operation: serde_json::Value,
    },
    /// `RetrieveMultiple`.
    #[serde(rename_all = "camelCase")]
    Page {
        /// Newest first.
        operations: Vec<Operation>,
        /// Where the next page starts; `null`: that was all.
        next_cursor: Option<String>,
    },
    /// `ExecuteMultiple`.
    #[serde(rename_all = "camelCase")]
    Items {
        /// Whether there was a fault.
        is_faulted: bool,
        /// As the settings ask for it.
        responses: Vec<ItemResponse>,
    },
    /// `ExecuteTransaction`.
    Transacted(Transacted),
}

/// The results of an `ExecuteTransaction`.
#[derive(Debug, Serialize, ToSchema)]
// Or those of an `ExecuteMultiple` without responses would be these, too.
#[serde(deny_unknown_fields)]
pub(crate) struct Transacted {
    /// The answers, in the order of the requests.
    #[schema(no_recursion)]
    responses: Vec<Response>,
}

/// What came of one item of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ItemResponse {
    /// The place of the item, from 0.
    request_index: u32,
    /// Its answer; `null` for a fault, and where there is nothing to answer.
    #[schema(no_recursion)]
    response: Option<Response>,
    /// What went wrong.
    fault: Option<Fault>,
}

/// A fault.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fault {
    /// The kind of fault, for programs.
    #[schema(example = "0x80040217")]
    error_code: String,
    /// The kind of fault, as a word.
    name: String,
    /// For people.
    message: String,
    /// What the kind of fault has to say besides: `MaxBatchSize`, say.
    #[schema(value_type = Object)]
    error_details: serde_json::Value,
    /// Which request of a transaction it was, from 0.
    faulted_request_index: Option<u32>,
    /// When.
    #[schema(format = DateTime)]
    timestamp: String,
}

//! `/v1/execute` as the document describes it.

use serde::Serialize;
use utoipa::ToSchema;

use super::{ListFilter, NewOperation, Operation};

/// An organization request. `requestId` (a UUID) is a further, optional member:
/// operations that the request creates carry it.
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
    /// Execute requests in the order of the list, each independently.
    ExecuteMultiple(ExecuteMultiple),
    /// Execute all requests or none.
    ExecuteTransaction(ExecuteTransaction),
}

/// Parameters of `Create`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Create {
    /// The attributes of the new operation.
    target: NewOperation,
    /// The idempotency key, like the header `Idempotency-Key`: it makes the request
    /// safe to repeat.
    #[schema(min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

/// Parameters of `Retrieve`: either `id` or `name`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Retrieve {
    /// The id of the operation.
    id: Option<String>,
    /// The name: selects the newest operation with exactly this name.
    #[schema(max_length = 256)]
    name: Option<String>,
    /// The attributes to show besides the id. Default: all.
    #[schema(max_items = 100)]
    column_set: Option<Vec<String>>,
}

/// Parameters of `RetrieveMultiple`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RetrieveMultiple {
    /// The filter. Default: all operations.
    filter: Option<ListFilter>,
    /// The maximum number of operations, 1 to 500. Default: 50.
    #[schema(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// The `nextCursor` of the previous page.
    cursor: Option<String>,
}

/// Parameters of `Update`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Update {
    /// The operation and its changes: `stateCode`, `statusCode`, `postponeUntil`;
    /// of a series, `recurrencePattern`, `recurrenceStartTime` and
    /// `recurrenceTimeZone`.
    target: UpdateTarget,
}

/// An operation and its changes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateTarget {
    /// The id of the operation.
    id: String,
    #[serde(flatten)]
    changes: super::OperationChanges,
}

/// Parameters of `Delete`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delete {
    /// The id of the operation.
    id: String,
}

/// Parameters of `ExecuteAsync`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExecuteAsync {
    /// The request to execute.
    request: AsyncRequest,
    /// The queue of the operation, as in a create.
    queue: Option<String>,
    /// The retry policy of the operation, as in a create.
    #[schema(value_type = Option<Object>)]
    retry_policy: Option<serde_json::Map<String, serde_json::Value>>,
    /// The webhook of the operation, as in a create.
    webhook_url: Option<String>,
    /// The time at which the operation expires, as in a create.
    #[schema(format = DateTime)]
    not_after: Option<String>,
    /// The idempotency key, like the header `Idempotency-Key`: it makes the request
    /// safe to repeat.
    #[schema(min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

/// A request that is executed later.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AsyncRequest {
    /// The name of the request, one of those that the deployment accepts.
    #[schema(max_length = 160, example = "ImportSolution")]
    request_name: String,
    /// The request id, which the operation carries.
    #[schema(format = "uuid")]
    request_id: Option<String>,
    /// The `data` of the operation.
    #[schema(value_type = Option<Object>)]
    parameters: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Parameters of `ExecuteMultiple`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExecuteMultiple {
    /// The items, at most 1000 (a setting of the deployment). An item may be any
    /// request except another `ExecuteMultiple`.
    #[schema(no_recursion)]
    requests: Vec<Request>,
    /// The settings. Default: both `false`.
    settings: Option<BatchSettings>,
}

/// How a batch is executed and answered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchSettings {
    /// Whether the items behind a fault are executed. Default: false.
    continue_on_error: Option<bool>,
    /// Whether answers are returned, and not only faults. Default: false.
    return_responses: Option<bool>,
}

/// Parameters of `ExecuteTransaction`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExecuteTransaction {
    /// The requests: `Create`, `Update`, `Delete` and `ExecuteAsync`, at most as
    /// many as a batch may have. No operation may appear twice.
    #[schema(no_recursion)]
    requests: Vec<Request>,
    /// Whether answers are returned. Default: false.
    return_responses: Option<bool>,
}

/// The answer to a request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"responseName": "ExecuteAsync", "results": {"asyncJobId": "01977d5f-2a00-774f-8044-0b1c2d3e4f50"}}))]
pub(crate) struct Response {
    /// The name of the request.
    response_name: String,
    /// `null` for `Update` and `Delete`, which answer nothing.
    results: Option<Results>,
}

/// The results. The members depend on the request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Results {
    /// `Create`.
    Created {
        /// The id of the operation.
        #[schema(format = "uuid")]
        id: String,
        /// `true` if an earlier request with the key had created the operation;
        /// missing otherwise.
        #[serde(skip_serializing_if = "Option::is_none")]
        existed: Option<bool>,
    },
    /// `ExecuteAsync`.
    #[serde(rename_all = "camelCase")]
    Started {
        /// The id of the operation that executes the request.
        #[schema(format = "uuid")]
        async_job_id: String,
    },
    /// `Retrieve`.
    Retrieved {
        /// The operation, with all attributes or those of `columnSet`.
        #[schema(value_type = Object)]
        operation: serde_json::Value,
    },
    /// `RetrieveMultiple`.
    #[serde(rename_all = "camelCase")]
    Page {
        /// Newest first.
        operations: Vec<Operation>,
        /// The cursor of the next page; `null` on the last page.
        next_cursor: Option<String>,
    },
    /// `ExecuteMultiple`.
    #[serde(rename_all = "camelCase")]
    Items {
        /// Whether there was a fault.
        is_faulted: bool,
        /// The answers and faults that the settings request.
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

/// The answer or fault of one item of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ItemResponse {
    /// The index of the item, from 0.
    request_index: u32,
    /// The answer; `null` for a fault, and for requests without results.
    #[schema(no_recursion)]
    response: Option<Response>,
    /// The fault; `null` if there is none.
    fault: Option<Fault>,
}

/// A fault.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fault {
    /// The code of the fault, for programs.
    #[schema(example = "0x80040217")]
    error_code: String,
    /// The name of the code.
    name: String,
    /// For people.
    message: String,
    /// Details that depend on the code, such as `MaxBatchSize`.
    #[schema(value_type = Object)]
    error_details: serde_json::Value,
    /// The index of the request of a transaction that faulted, from 0.
    faulted_request_index: Option<u32>,
    /// The time of the fault.
    #[schema(format = DateTime)]
    timestamp: String,
}

//! `/v1/operations`: create, read, change.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{HeaderMap, LOCATION};
use axum::http::{Extensions, StatusCode};
use axum::response::{IntoResponse, Response};
use drumline_api::view::OperationView;
use drumline_api::{Control, CreateOperation, RunAgain, UpdateOperation};
use drumline_auth::Principal;
use drumline_backend::store::Summary;
use drumline_protocol::{Operation, OperationId, Report};
use serde::Serialize;

use super::extractors::{By, Id, Parameters, idempotency_key};
use super::problem::Answer;
use super::waiting::{Explained, WaitingView};
use super::{body, guard, openapi, query};
use crate::ingress::refusal::check_create;
use crate::options::GRAMMAR;
use crate::service::{Actor, Creation, QueueManager};

/// One page of a listing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListAnswer {
    operations: Vec<OperationView>,
    next_cursor: Option<String>,
}

/// Create an operation
///
/// The answer comes when the operation is stored. With an `Idempotency-Key`, the
/// request is safe to repeat: a repetition is answered 200 with the operation of
/// the first request.
#[utoipa::path(
    post, path = "/v1/operations", tag = "operations",
    params(("Idempotency-Key" = Option<String>, Header, description = "Any text of up to 255 bytes, kept for two days: a UUID, for example")),
    request_body = openapi::NewOperation,
    responses(
        (status = 201, description = "The operation is created", body = openapi::Operation, headers(("Location" = String, description = "The address of the operation"))),
        (status = 200, description = "The key was used before; the operation of the first request", body = openapi::Operation),
        openapi::refusals::OfBody,
    )
)]
pub(crate) async fn create(
    State(manager): State<QueueManager>,
    By(actor): By,
    extensions: Extensions,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let body = body::json(&manager, &headers, body).await?;
    let mut request = CreateOperation::from_json(&body, &GRAMMAR)?;
    let principal = extensions.get::<Arc<Principal>>();
    check_create(principal.map(|principal| &**principal), &mut request)
        .map_err(|refusal| Box::new(guard::denied(&manager, &extensions, refusal)))?;
    let key = idempotency_key(&headers)?;
    let creation = manager.create(&actor, request, key).await?;
    Ok(created(&manager, &creation))
}

/// The answer to a request that creates an operation.
fn created(manager: &QueueManager, creation: &Creation) -> Response {
    let view = manager.view(&creation.operation);
    let location = format!("/v1/operations/{}", view.id);
    (creation.status(), [(LOCATION, location)], Json(view)).into_response()
}

impl Creation {
    /// The status of the answer.
    pub(super) const fn status(&self) -> StatusCode {
        if self.is_new {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        }
    }
}

/// Run an operation again
///
/// Creates a new operation that does the work of a Completed one again: with the same
/// attributes, except for its times and its parent, and with the same correlation id. It
/// is the last of its token. Attributes in the body replace those of the Completed
/// one.
#[utoipa::path(
    post, path = "/v1/operations/{id}/run-again", tag = "actions",
    params(
        ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Any text of up to 255 bytes, kept for two days: a UUID, for example"),
    ),
    request_body = openapi::Changes,
    responses(
        (status = 201, description = "The new operation", body = openapi::Operation, headers(("Location" = String, description = "The address of the operation"))),
        (status = 200, description = "The key was used before; the operation of the first request", body = openapi::Operation),
        openapi::refusals::OfChange,
    )
)]
pub(crate) async fn run_again(
    State(manager): State<QueueManager>,
    By(actor): By,
    Id(id): Id,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let body = body::json_unless_empty(&manager, &headers, body).await?;
    let changes = RunAgain::from_json(&body)?;
    let key = idempotency_key(&headers)?;
    let creation = manager.run_again(&actor, id, changes, key).await?;
    Ok(created(&manager, &creation))
}

/// Get an operation
///
/// With `wait`, the answer comes when the operation is Completed, or after that
/// time, with the operation as it is then. With `explain`, the answer says why the
/// operation does not run or does not end. That is for people, and too expensive
/// for polling.
#[utoipa::path(
    get, path = "/v1/operations/{id}", tag = "operations",
    params(
        ("id" = String, Path),
        ("wait" = Option<String>, Query, description = "A time span such as 30s, at most a minute", example = "30s"),
        ("explain" = Option<bool>, Query, description = "Whether the answer has `waitingFor`"),
    ),
    responses(
        (status = 200, description = "The operation as it is now", body = openapi::ExplainedOperation),
        openapi::NotFound,
        openapi::Invalid,
        openapi::Busy,
    )
)]
pub(crate) async fn get(
    State(manager): State<QueueManager>,
    By(actor): By,
    Id(id): Id,
    Parameters(pairs): Parameters,
) -> Answer<Response> {
    let look = query::look(pairs)?;
    let operation = match look.wait {
        Some(wait) => manager.wait(&actor, id, wait).await?,
        None => manager.get(&actor, id).await?,
    };
    let view = manager.view(&operation);
    if !look.explain {
        return Ok(Json(view).into_response());
    }
    let waiting_for = manager.explain(&operation).await?;
    let expires_on = operation.header.expires_on();
    Ok(Json(Explained {
        operation: view,
        waiting_for: waiting_for.map(|why| WaitingView::from(why).until_expiry(expires_on)),
    })
    .into_response())
}

/// List operations
///
/// The order is newest first. The cursor is stable: operations that are created
/// meanwhile do not shift the pages. A page may be short, or even empty, and still
/// have a `nextCursor`: it ends after about 8 MiB of payloads and results, and after
/// half a second.
#[utoipa::path(
    get, path = "/v1/operations", tag = "operations",
    params(
        openapi::ListConditions,
        ("limit" = Option<u32>, Query, description = "The maximum number of operations, 1 to 500. Default: 50"),
        ("cursor" = Option<String>, Query, description = "The `nextCursor` of the previous page"),
        ("summary" = Option<bool>, Query, description = "Whether data, results, checkpoints and errors are left out, which costs the same however large they are"),
    ),
    responses(
        (status = 200, description = "A page of operations", body = openapi::OperationList),
        openapi::Invalid,
        openapi::Busy,
    )
)]
pub(crate) async fn list(
    State(manager): State<QueueManager>,
    By(actor): By,
    Parameters(mut pairs): Parameters,
) -> Answer<Response> {
    let longest = manager.options().limits.page;
    let is_summary = query::take_summary(&mut pairs)?;
    let query = query::list(pairs, &actor, longest)?;
    let (operations, next) = if is_summary {
        let page = manager.list_summaries(&actor, &query).await?;
        let views = page.operations.into_iter().map(in_short);
        (views.collect(), page.next)
    } else {
        let listing = manager.list(&actor, &query).await?;
        let views = listing.operations.iter().map(OperationView::from);
        (views.collect(), listing.next)
    };
    let answer = ListAnswer {
        operations,
        next_cursor: next.map(|place| place.to_string()),
    };
    Ok(Json(answer).into_response())
}

/// The view of an operation without its data and its report.
fn in_short(summary: Summary) -> OperationView {
    let Summary {
        id,
        header,
        body,
        sequence,
    } = summary;
    OperationView::from(&Operation {
        id,
        header,
        body,
        report: Report::default(),
        sequence,
    })
}

/// Change an operation
///
/// `stateCode` 0 resumes, 1 pauses, 3 cancels. `postponeUntil` postpones. For a
/// series, `recurrencePattern`, `recurrenceStartTime` and `recurrenceTimeZone` change the rule. All
/// other attributes are read-only.
#[utoipa::path(
    patch, path = "/v1/operations/{id}", tag = "operations",
    params(("id" = String, Path)),
    request_body = openapi::OperationChanges,
    responses(
        (status = 200, description = "The operation as it is now", body = openapi::Operation),
        openapi::refusals::OfChange,
    )
)]
pub(crate) async fn update(
    State(manager): State<QueueManager>,
    By(actor): By,
    Id(id): Id,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<OperationView>> {
    let body = body::json(&manager, &headers, body).await?;
    let changes = UpdateOperation::from_json(&body, &GRAMMAR)?;
    let operation = manager.update(&actor, id, changes).await?;
    Ok(Json(manager.view(&operation)))
}

/// Cancel an operation
///
/// The handler of a running operation is asked to stop. The operation is Canceling
/// until the handler has stopped.
#[utoipa::path(
    post, path = "/v1/operations/{id}/cancel", tag = "actions",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The operation as it is now", body = openapi::Operation),
        openapi::refusals::OfChange,
    )
)]
pub(crate) async fn cancel(
    State(manager): State<QueueManager>,
    By(actor): By,
    Id(id): Id,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<OperationView>> {
    act(&manager, &actor, id, &headers, body, Control::Cancel).await
}

/// Pause an operation
///
/// The handler of a running operation is asked to stop. The operation is Pausing
/// until the handler has stopped.
#[utoipa::path(
    post, path = "/v1/operations/{id}/pause", tag = "actions",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The operation as it is now", body = openapi::Operation),
        openapi::refusals::OfChange,
    )
)]
pub(crate) async fn pause(
    State(manager): State<QueueManager>,
    By(actor): By,
    Id(id): Id,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<OperationView>> {
    act(&manager, &actor, id, &headers, body, Control::Pause).await
}

/// Resume an operation
#[utoipa::path(
    post, path = "/v1/operations/{id}/resume", tag = "actions",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The operation as it is now", body = openapi::Operation),
        openapi::refusals::OfChange,
    )
)]
pub(crate) async fn resume(
    State(manager): State<QueueManager>,
    By(actor): By,
    Id(id): Id,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<OperationView>> {
    act(&manager, &actor, id, &headers, body, Control::Resume).await
}

/// Postpone an operation
#[utoipa::path(
    post, path = "/v1/operations/{id}/postpone", tag = "actions",
    params(("id" = String, Path)),
    request_body = openapi::Postponement,
    responses(
        (status = 200, description = "The operation as it is now", body = openapi::Operation),
        openapi::refusals::OfChange,
    )
)]
pub(crate) async fn postpone(
    State(manager): State<QueueManager>,
    By(actor): By,
    Id(id): Id,
    headers: HeaderMap,
    body: Body,
) -> Answer<Json<OperationView>> {
    let body = body::json_unless_empty(&manager, &headers, body).await?;
    let act = Control::postpone_from_json(&body)?;
    let operation = manager.act(&actor, id, act).await?;
    Ok(Json(manager.view(&operation)))
}

/// Delete an operation
///
/// Only a Completed operation can be deleted.
#[utoipa::path(
    delete, path = "/v1/operations/{id}", tag = "operations",
    params(("id" = String, Path)),
    responses(
        (status = 204, description = "The operation is deleted"),
        openapi::NotFound,
        openapi::Illegal,
        openapi::Busy,
    )
)]
pub(crate) async fn delete(
    State(manager): State<QueueManager>,
    By(actor): By,
    Id(id): Id,
) -> Answer<StatusCode> {
    manager.delete(&actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn act(
    manager: &QueueManager,
    actor: &Actor,
    id: OperationId,
    headers: &HeaderMap,
    body: Body,
    act: Control,
) -> Answer<Json<OperationView>> {
    let body = body::json_or_nothing(manager, headers, body).await?;
    Control::nothing_from_json(&body)?;
    let operation = manager.act(actor, id, act).await?;
    Ok(Json(manager.view(&operation)))
}

//! `/v1/actions`: actions on many operations as objects, with progress.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, LOCATION};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use drumline_api::actions::{ActionPreview, ActionRefusal, ActionView, ActionsView, StartAction};
use drumline_api::preview::of_many;
use drumline_protocol::{ActionId, BulkKind};

use super::extractors::{By, Parameters};
use super::problem::Answer;
use super::{body, openapi, query};
use crate::audit::Subject;
use crate::error::Error;
use crate::service::{BulkAnswer, QueueManager};

/// Start an action on many operations
///
/// A queue manager does the action on each operation that the filter selects and that
/// exists now, newest first; `run-again` counts them all before, and goes from the oldest
/// up. The answer comes at once, and `GET /v1/actions/{id}` shows
/// the progress. The operations have the caller as the author of the change. Completed
/// operations are selected only if the filter says so (`state`, `status`,
/// `completedBefore`), or if the action is meant for them. With `dryRun` nothing is
/// started, and the answer counts operations for two seconds at most.
#[utoipa::path(
    post, path = "/v1/actions", tag = "bulk", operation_id = "startAction",
    request_body = openapi::NewAction,
    responses(
        (status = 202, description = "The action is started", body = openapi::Action, headers(("Location" = String, description = "The address of the action"))),
        (status = 200, description = "A dry run: what the action would do", body = openapi::ActionPreview),
        openapi::TooMany,
        openapi::refusals::OfBody,
    )
)]
pub(crate) async fn start(
    State(manager): State<QueueManager>,
    By(actor): By,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let body = body::json(&manager, &headers, body).await?;
    let request = StartAction::from_json(&body)?;
    let mut subject = Subject {
        filter: request.conditions.iter().cloned().collect(),
        reason: Some(request.reason.clone()),
        ..Subject::default()
    };
    if request.is_rehearsal {
        let answer = manager.rehearse_action(&actor, &request).await?;
        subject.is_read = true;
        return Ok((
            Extension(subject),
            Json(preview(request.change.kind(), answer)),
        )
            .into_response());
    }
    let action = manager.start_action(&actor, &request).await?;
    let view = ActionView::from(&action);
    subject.add(view.id.clone());
    let location = format!("/v1/actions/{}", view.id);
    let answer = (
        StatusCode::ACCEPTED,
        [(LOCATION, location)],
        Extension(subject),
        Json(view),
    );
    Ok(answer.into_response())
}

fn preview(kind: BulkKind, answer: BulkAnswer) -> ActionPreview {
    let refusals = answer.refused.into_iter();
    ActionPreview {
        dry_run: true,
        matched: answer.matched,
        done: answer.done,
        refused_count: answer.refused_count,
        refused: refusals
            .map(|refusal| ActionRefusal {
                id: refusal.id.to_string(),
                code: refusal.code.to_string(),
                message: refusal.message,
            })
            .collect(),
        complete: answer.next.is_none(),
        consequence: of_many(kind).iter().map(ToString::to_string).collect(),
    }
}

/// List actions on many operations
///
/// The actions of the organization of the caller, newest first. They are kept for 30
/// days; of more than 1,000, the oldest that have ended go earlier.
#[utoipa::path(
    get, path = "/v1/actions", tag = "bulk", operation_id = "listActions",
    params(
        ("limit" = Option<u32>, Query, description = "The maximum number of actions, 1 to 100. Default: 50"),
        ("cursor" = Option<String>, Query, description = "The `nextCursor` of the previous page"),
    ),
    responses(
        (status = 200, description = "A page of actions", body = openapi::Actions),
        openapi::Invalid,
        openapi::Busy,
    )
)]
pub(crate) async fn list(
    State(manager): State<QueueManager>,
    By(actor): By,
    Parameters(pairs): Parameters,
) -> Answer<Json<ActionsView>> {
    let query::PageQuery {
        cursor: before,
        limit,
    } = query::actions(pairs)?;
    let mut actions = manager.actions(&actor, before, limit + 1).await?;
    let has_more = actions.len() > limit;
    actions.truncate(limit);
    let last = actions.last().filter(|_| has_more);
    Ok(Json(ActionsView {
        next_cursor: last.map(|action| action.id.to_string()),
        actions: actions.iter().map(ActionView::from).collect(),
    }))
}

/// Get an action on many operations
///
/// The numbers grow while the action runs.
#[utoipa::path(
    get, path = "/v1/actions/{id}", tag = "bulk", operation_id = "getAction",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The action as it is now", body = openapi::Action),
        openapi::NoAction,
        openapi::Busy,
    )
)]
pub(crate) async fn get(
    State(manager): State<QueueManager>,
    By(actor): By,
    Path(id): Path<String>,
) -> Answer<Json<ActionView>> {
    let action = manager.action(&actor, read(id)?).await?;
    Ok(Json(ActionView::from(&action)))
}

/// Abort an action on many operations
///
/// The part that was done stays done. The action is `aborting` until the manager that executes
/// it has seen that, within a second, and `aborted` then. An action that has ended stays
/// as it is.
#[utoipa::path(
    post, path = "/v1/actions/{id}/abort", tag = "bulk", operation_id = "abortAction",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The action as it is now", body = openapi::Action),
        openapi::NoAction,
        openapi::Busy,
    )
)]
pub(crate) async fn abort(
    State(manager): State<QueueManager>,
    By(actor): By,
    Path(id): Path<String>,
) -> Answer<Json<ActionView>> {
    let action = manager.abort_action(&actor, read(id)?).await?;
    Ok(Json(ActionView::from(&action)))
}

/// The id in an address.
pub(super) fn read(id: String) -> Result<ActionId, Error> {
    id.parse().map_err(|_invalid| Error::NoAction { id })
}

//! `/v1/pauses`: persistent pauses of a queue, a message name, a token or an
//! organization.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use drumline_api::pause::{PauseView, PausesView, SetPause};
use drumline_protocol::Pause;

use super::extractors::By;
use super::problem::Answer;
use super::{body, openapi};
use crate::audit::Subject;
use crate::error::Error;
use crate::service::QueueManager;

/// List pauses
///
/// The pauses in force in the organization of the caller, by scope and name.
#[utoipa::path(
    get, path = "/v1/pauses", tag = "pauses",
    responses(
        (status = 200, description = "The pauses", body = openapi::Pauses),
        openapi::Busy,
    )
)]
pub(crate) async fn list(
    State(manager): State<QueueManager>,
    By(actor): By,
) -> Answer<Json<PausesView>> {
    let pauses = manager.pauses(&actor).await?;
    let pauses = pauses.iter().map(PauseView::from).collect();
    Ok(Json(PausesView { pauses }))
}

/// Set a pause
///
/// No operation in the scope starts any more, on any worker, until the pause is
/// lifted or its time is over. That holds for present operations and for those to
/// come. What runs goes on. Setting a pause of the same scope again replaces it,
/// so the request is safe to repeat.
#[utoipa::path(
    put, path = "/v1/pauses", tag = "pauses",
    request_body = openapi::NewPause,
    responses(
        (status = 201, description = "The pause is in force", body = openapi::Pause),
        (status = 200, description = "The scope was paused before; the pause as it is now", body = openapi::Pause),
        openapi::refusals::OfBody,
    )
)]
pub(crate) async fn set(
    State(manager): State<QueueManager>,
    By(actor): By,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let body = body::json(&manager, &headers, body).await?;
    let request = SetPause::from_json(&body)?;
    let (pause, is_new) = manager.set_pause(&actor, request).await?;
    Ok(is_set(&pause, is_new))
}

/// The answer to a pause that is in force, and its line in the audit.
pub(super) fn is_set(pause: &Pause, is_new: bool) -> Response {
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let view = PauseView::from(pause);
    let subject = Subject {
        reason: Some(view.reason.clone()),
        ..Subject::one(&view.id)
    };
    (status, Extension(subject), Json(view)).into_response()
}

/// Lift a pause
///
/// Operations that it holds are offered again, in order of creation, at most 256
/// of a partition at a time.
#[utoipa::path(
    delete, path = "/v1/pauses/{id}", tag = "pauses",
    params(("id" = String, Path)),
    responses(
        (status = 204, description = "The pause is lifted"),
        openapi::NoPause,
        openapi::Busy,
    )
)]
pub(crate) async fn lift(
    State(manager): State<QueueManager>,
    By(actor): By,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let key = id.parse().map_err(|_invalid| Error::NoPause { id })?;
    manager.lift_pause(&actor, key).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! `/v1/freeze`: nothing starts any more, in any organization, until it is thawed.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::HeaderMap;
use axum::http::{Extensions, StatusCode};
use axum::response::Response;
use drumline_api::pause::Freeze;

use super::extractors::By;
use super::problem::Answer;
use super::{body, guard, openapi, pauses};
use crate::service::QueueManager;

/// Freeze the service
///
/// No operation of any organization starts any more, on any worker, until the service
/// is thawed or the time is over. What runs goes on, and so do reads, creates and
/// control. Needs an admin of all organizations. Safe to repeat.
#[utoipa::path(
    put, path = "/v1/freeze", tag = "pauses",
    request_body = openapi::NewFreeze,
    responses(
        (status = 201, description = "The service is frozen", body = openapi::Pause),
        (status = 200, description = "It was frozen before; the freeze as it is now", body = openapi::Pause),
        openapi::refusals::OfBody,
    )
)]
pub(crate) async fn freeze(
    State(manager): State<QueueManager>,
    By(actor): By,
    extensions: Extensions,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    guard::check_all_organizations(&manager, &extensions)?;
    let body = body::json(&manager, &headers, body).await?;
    let request = Freeze::from_json(&body)?;
    let (pause, is_new) = manager.freeze(&actor, request).await?;
    Ok(pauses::is_set(&pause, is_new))
}

/// Thaw the service
///
/// Operations that the freeze held are offered again, in order of creation, at most
/// 256 of a partition at a time. Needs an admin of all organizations.
#[utoipa::path(
    delete, path = "/v1/freeze", tag = "pauses",
    responses(
        (status = 204, description = "The service goes on"),
        openapi::NoPause,
        openapi::Busy,
    )
)]
pub(crate) async fn thaw(
    State(manager): State<QueueManager>,
    extensions: Extensions,
) -> Answer<StatusCode> {
    guard::check_all_organizations(&manager, &extensions)?;
    manager.thaw().await?;
    Ok(StatusCode::NO_CONTENT)
}

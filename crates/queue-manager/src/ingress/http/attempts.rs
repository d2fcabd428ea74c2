//! `/v1/operations/{id}/attempts`: the starts of a handler, and what it has printed.

use axum::Json;
use axum::extract::State;
use drumline_api::attempts::AttemptsView;

use super::extractors::{By, Id};
use super::openapi;
use super::problem::Answer;
use crate::service::QueueManager;

/// Get the attempts of an operation
///
/// Every start of its handler is an attempt. An attempt that has ended has the end of
/// what its handler has printed: up to 64 KiB of the last attempt that has failed, up
/// to 1 KiB of one that has succeeded and up to 4 KiB of the others, of the last four
/// attempts that have printed something and of the last one that has failed. Workers may
/// keep less.
/// An attempt whose worker was lost has none.
#[utoipa::path(
    get, path = "/v1/operations/{id}/attempts", tag = "operations",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The attempts, the earliest first", body = openapi::Attempts),
        openapi::NotFound,
        openapi::Busy,
    )
)]
pub(crate) async fn attempts(
    State(manager): State<QueueManager>,
    By(actor): By,
    Id(id): Id,
) -> Answer<Json<AttemptsView>> {
    let (header, attempts) = manager.attempts(&actor, id).await?;
    Ok(Json(AttemptsView::new(&attempts, header.starts)))
}

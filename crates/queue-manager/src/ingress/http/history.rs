//! `/v1/operations/{id}/history`: what has happened to an operation.

use axum::Json;
use axum::extract::State;
use drumline_api::history::HistoryView;

use super::extractors::{By, Id};
use super::openapi;
use super::problem::Answer;
use crate::service::QueueManager;

/// Get the history of an operation
///
/// Every change has an entry: its time, its event, the state that followed, and
/// the actor. The first 4 and the last 28 entries are kept for as long as the
/// operation is.
#[utoipa::path(
    get, path = "/v1/operations/{id}/history", tag = "operations",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The history, oldest entry first", body = openapi::History),
        openapi::NotFound,
        openapi::Busy,
    )
)]
pub(crate) async fn history(
    State(manager): State<QueueManager>,
    By(actor): By,
    Id(id): Id,
) -> Answer<Json<HistoryView>> {
    let history = manager.history(&actor, id).await?;
    Ok(Json(HistoryView::from(&history)))
}

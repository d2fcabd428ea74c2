//! `/v1/operations/{id}/preview`: what an action would do.

use axum::Json;
use axum::extract::State;
use drumline_api::preview::Preview;
use drumline_api::{FieldError, Invalid};
use drumline_protocol::Action;

use super::extractors::{By, Id, Parameters};
use super::openapi;
use super::problem::Answer;
use crate::service::QueueManager;

/// Preview an action
///
/// Says what an action would do to the operation, and to those behind it in its token,
/// in the words of the console. Nothing is changed.
#[utoipa::path(
    get, path = "/v1/operations/{id}/preview", tag = "actions", operation_id = "preview",
    params(
        ("id" = String, Path),
        ("action" = openapi::ActionName, Query, description = "The action"),
    ),
    responses(
        (status = 200, description = "The consequence", body = openapi::Preview),
        openapi::NotFound,
        openapi::Invalid,
        openapi::Busy,
    )
)]
pub(crate) async fn preview(
    State(manager): State<QueueManager>,
    By(actor): By,
    Id(id): Id,
    Parameters(pairs): Parameters,
) -> Answer<Json<Preview>> {
    let action = read(&pairs)?;
    Ok(Json(manager.preview(&actor, id, action).await?))
}

fn read(pairs: &[(String, String)]) -> Result<Action, Invalid> {
    let mut action = None;
    let mut errors = Vec::new();
    for (name, value) in pairs {
        if name == "action" {
            action = Action::ALL.into_iter().find(|one| one.name() == value);
        } else {
            errors.push(FieldError::new(name.clone(), "is an unknown parameter"));
        }
    }
    if action.is_none() {
        let why = "must be cancel, pause, resume, postpone or delete";
        errors.push(FieldError::new("action", why));
    }
    match action {
        Some(action) if errors.is_empty() => Ok(action),
        Some(_) | None => Err(Invalid::arguments(errors)),
    }
}

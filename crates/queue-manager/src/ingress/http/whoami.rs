//! `/v1/whoami`: what the service knows about the caller.

use std::sync::Arc;

use axum::{Extension, Json};
use drumline_auth::{Organizations, Principal, Proof};
use serde::Serialize;
use utoipa::ToSchema;

use super::extractors::By;
use super::problem::Answer;

/// The caller of a request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WhoAmI {
    /// True if callers are authenticated here. If not, callers name themselves.
    authenticated: bool,
    /// The id of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "k7f3q2ab")]
    key_id: Option<String>,
    /// The organization of this request.
    organization: String,
    /// The caller of this request, which owns what it creates.
    caller: String,
    /// The organizations that the key may act in; `*`: all.
    organizations: Vec<String>,
    /// The roles of the key.
    roles: Vec<&'static str>,
    /// The time after which the key is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_on: Option<String>,
}

/// Show who the caller is
///
/// The organization and the caller of this request, and the roles of its key.
#[utoipa::path(
    get, path = "/v1/whoami", tag = "requests",
    responses((status = 200, description = "The caller", body = WhoAmI))
)]
pub(crate) async fn whoami(
    By(actor): By,
    principal: Option<Extension<Arc<Principal>>>,
) -> Answer<Json<WhoAmI>> {
    let any = || vec!["*".to_owned()];
    let who = WhoAmI {
        authenticated: false,
        key_id: None,
        organization: actor.organization.0,
        caller: actor.caller,
        organizations: any(),
        roles: Vec::new(),
        expires_on: None,
    };
    let Some(Extension(principal)) = principal else {
        return Ok(Json(who));
    };
    Ok(Json(WhoAmI {
        authenticated: true,
        key_id: (principal.proof == Proof::Key).then(|| principal.id.clone()),
        organizations: match &principal.organizations {
            Organizations::All => any(),
            Organizations::Only(some) => some.iter().map(|one| one.0.clone()).collect(),
        },
        roles: principal.roles.iter().map(|role| role.name()).collect(),
        expires_on: principal.expires.map(|at| at.to_string()),
        ..who
    }))
}

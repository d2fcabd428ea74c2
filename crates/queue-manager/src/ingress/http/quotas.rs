//! `/v1/quotas`: what the caller's organization has, and what it may have.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::extractors::By;
use super::problem::Answer;
use crate::service::{QueueManager, QuotaUse};

/// The quotas of an organization, and their use.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Quotas {
    /// The organization of this request.
    organization: String,
    /// Every quota, limited or not.
    quotas: Vec<QuotaView>,
}

/// One quota of an organization.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuotaView {
    /// `open`, `series`, `tokens`, `bytes` or `creates-per-minute`.
    #[schema(example = "open")]
    name: &'static str,
    /// The use by the organization now.
    used: u64,
    /// The most that it may have; `null` where nothing is limited.
    limit: Option<u64>,
}

/// Show the quotas
///
/// The quotas of the organization of this request, and their use. A create over a limit
/// is refused with `QuotaExceeded`.
#[utoipa::path(
    get, path = "/v1/quotas", tag = "requests",
    responses((status = 200, description = "The quotas", body = Quotas))
)]
pub(crate) async fn quotas(
    State(manager): State<QueueManager>,
    By(actor): By,
) -> Answer<Json<Quotas>> {
    let uses = manager.quotas(&actor.organization).await?;
    let quotas = uses
        .into_iter()
        .map(|QuotaUse { quota, used, limit }| QuotaView {
            name: quota.name(),
            used,
            limit,
        });
    Ok(Json(Quotas {
        quotas: quotas.collect(),
        organization: actor.organization.0,
    }))
}

//! `/healthz`, `/readyz`, `/metrics`: for machines that watch machines.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use drumline_auth::{Permission, Principal};
use drumline_backend::{Broker as _, Role};
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::{Health, QueueManager};

/// The time that the store may take to answer a scrape of the metrics.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);
/// The content type that Prometheus expects: this version of the text.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The readiness of this process.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Whether the process takes work.
    ready: bool,
    /// Whether the process drains: it ends soon and takes nothing new.
    draining: bool,
    /// `ok`, or the error of the store. Not shown to callers without the right to
    /// read metrics, as the following.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<String>,
    /// `ok`, or the error of the broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    broker: Option<String>,
    /// The error of the file with the keys; the keys of before are in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<String>,
    /// The error of the issuer of tokens; the keys that it published before are in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    /// The error of the files of the TLS certificate; the certificate of before is in
    /// force.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    /// The error of the file with the quotas; the quotas of before are in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    quotas: Option<String>,
    /// The error of the audit log; its lines are lost until it can be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<String>,
    /// The reason why the service is frozen, and by whom: nothing starts. It is ready all
    /// the same, because it takes requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    frozen: Option<String>,
}

/// Check that the process is alive
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "The process is alive", body = String)))]
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// Check that the process takes work
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "The process takes work", body = Readiness),
        (status = 503, description = "The process does not take work, with the reason", body = Readiness),
    )
)]
pub(crate) async fn ready(
    State(manager): State<QueueManager>,
    principal: Option<Extension<Arc<Principal>>>,
) -> Response {
    let health = manager.health().await;
    let ready = health.is_ready();
    let Health {
        store,
        broker,
        keys,
        issuer,
        certificate,
        draining,
    } = health;
    // Errors name servers, which strangers must not learn.
    let is_shown = match &principal {
        Some(Extension(principal)) => principal.require(Permission::Metrics).is_ok(),
        None => manager.options().access.keys().is_none(),
    };
    let ok = || "ok".to_owned();
    let quotas = manager.options().quotas.broken();
    let readiness = Readiness {
        ready,
        draining,
        store: is_shown.then(|| store.unwrap_or_else(ok)),
        broker: is_shown.then(|| broker.unwrap_or_else(ok)),
        keys: keys.filter(|_| is_shown),
        issuer: issuer.filter(|_| is_shown),
        certificate: certificate.filter(|_| is_shown),
        quotas: quotas.map(|error| error.to_string()).filter(|_| is_shown),
        audit: manager.audit().trouble().filter(|_| is_shown),
        frozen: manager
            .known_freeze()
            .filter(|_| is_shown)
            .map(|freeze| format!("by {}: {}", freeze.author.name(), freeze.reason)),
    };
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}

/// Read the metrics
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, description = "All metrics, in the text format of OpenMetrics", body = String, content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(State(manager): State<QueueManager>) -> Response {
    let metrics = manager.metrics();
    metrics.bypassed(&manager.bypass().bypassed());
    metrics.unreadable.inc_by(manager.store().take_unreadable());
    metrics.lost.inc_by(manager.store().take_lost());
    metrics.ended(&manager.tally().since_start());
    // A value that cannot be asked for now stays as it was; the counters are
    // wanted most when the store is unavailable.
    let asked = async {
        if let Ok(counts) = manager.store().counts().await {
            manager.metrics().counted(&counts);
        }
        if let Ok(roster) = manager.backend().membership.roster().await {
            let present = (roster.count(Role::Worker), roster.count(Role::Manager));
            manager.metrics().present(present.0, present.1);
        }
    };
    if tokio::time::timeout(STORE_TIMEOUT, asked).await.is_err() {
        tracing::debug!("metrics without the state of the store");
    }
    ([(CONTENT_TYPE, METRICS_TYPE)], manager.metrics().text()).into_response()
}

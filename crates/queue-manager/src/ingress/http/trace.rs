//! The span of a request, and its metrics.
//!
//! The span is named and filled as in the OpenTelemetry conventions for HTTP
//! servers, and continues the trace of the caller, if there is one.

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderMap;
use axum::response::Response;
use drumline_protocol::operation::TraceContext;
use drumline_telemetry::set_parent;
use tokio::time::Instant;
use tracing::{Instrument, field, info_span};

use super::server::Peer;
use crate::service::QueueManager;

/// Wraps a request into its span.
pub(crate) async fn traced<F: Future<Output = Response>>(
    manager: &QueueManager,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("", |path| path.as_str());
    let peer = request.extensions().get::<Peer>().cloned();
    let peer = peer.unwrap_or_default();
    let span = info_span!(
        "request",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = field::Empty,
        http.request.method = %method,
        http.route = route,
        http.response.status_code = field::Empty,
        error.type = field::Empty,
        url.path = request.uri().path(),
        url.scheme = if peer.is_encrypted { "https" } else { "http" },
        tls.client.subject = peer.certificate.as_deref(),
    );
    set_parent(&span, &incoming(request.headers()));
    let response = next(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", status.as_str());
    }
    manager.metrics().answered(
        method.as_str(),
        route,
        status.as_u16(),
        begun.elapsed().as_secs_f64(),
    );
    response
}

fn incoming(headers: &HeaderMap) -> TraceContext {
    let header = |name| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    TraceContext {
        traceparent: header("traceparent"),
        tracestate: header("tracestate"),
    }
}

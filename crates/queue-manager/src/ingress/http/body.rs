//! The body of a request: its type, its size, its bytes.

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};

use super::problem::Answer;
use crate::ingress::media_type;
use crate::ingress::problem::Problem;
use crate::service::QueueManager;

/// Reads a body that must be JSON.
pub(crate) async fn json(
    manager: &QueueManager,
    headers: &HeaderMap,
    body: Body,
) -> Answer<axum::body::Bytes> {
    json_up_to(manager.options().limits.body_bytes, headers, body).await
}

/// Reads a body that must be JSON, and of at most `limit` bytes.
pub(crate) async fn json_up_to(
    limit: usize,
    headers: &HeaderMap,
    body: Body,
) -> Answer<axum::body::Bytes> {
    let media = headers.get(CONTENT_TYPE);
    let media = media.and_then(|value| value.to_str().ok());
    media_type::expect_json(media.unwrap_or_default())?;
    bytes(limit, headers, body).await
}

/// Reads a body that may be missing, and is JSON if it is present. The type of
/// a missing body does not matter: many clients name one all the same.
pub(crate) async fn json_or_nothing(
    manager: &QueueManager,
    headers: &HeaderMap,
    body: Body,
) -> Answer<axum::body::Bytes> {
    let limit = manager.options().limits.body_bytes;
    let body = bytes(limit, headers, body).await?;
    if body.is_empty() || !headers.contains_key(CONTENT_TYPE) {
        return Ok(body);
    }
    json(manager, headers, body.into()).await
}

/// Reads a body that must be JSON. A missing body is left to the caller, which
/// names the missing attribute.
pub(crate) async fn json_unless_empty(
    manager: &QueueManager,
    headers: &HeaderMap,
    body: Body,
) -> Answer<axum::body::Bytes> {
    let limit = manager.options().limits.body_bytes;
    let body = bytes(limit, headers, body).await?;
    if body.is_empty() {
        return Ok(body);
    }
    json(manager, headers, body.into()).await
}

async fn bytes(limit: usize, headers: &HeaderMap, body: Body) -> Answer<axum::body::Bytes> {
    // Rejects an oversized Content-Length before reading the body.
    let announced = headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Problem::too_large(limit));
    }
    to_bytes(body, limit).await.map_err(|error| {
        // Over the limit, or the client has gone; the latter reads no answer.
        tracing::debug!(%error, "a body was not read");
        Problem::too_large(limit)
    })
}

//! The body of a request: its type, its size, its bytes.

use std::error::Error as _;

use axum::body::Body;
use axum::extract::Query;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use axum::http::{StatusCode, Uri};
use drumline_protocol::ErrorCode;
use futures_util::StreamExt as _;

use super::bodies::{TooSlow, content_length};
use super::extractors;
use super::problem::Answer;
use crate::ingress::media_type;
use crate::ingress::problem::Problem;
use crate::service::QueueManager;

/// The media type of the fields of a form.
const FORM: &str = "application/x-www-form-urlencoded";

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
    let media = extractors::once(headers, &CONTENT_TYPE)?;
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

/// The most bytes of a form: its fields are short.
const FORM_BYTES: usize = 60 << 10;

/// Reads the fields of a form of the console. A missing body has none.
pub(crate) async fn form(headers: &HeaderMap, body: Body) -> Answer<Vec<(String, String)>> {
    let body = bytes(FORM_BYTES, headers, body).await?;
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let media = extractors::once(headers, &CONTENT_TYPE)?;
    let media = media.and_then(|value| value.to_str().ok());
    let essence = media.unwrap_or_default().split(';').next();
    let refuse = |status, detail: &str| Problem::new(status, ErrorCode::BAD_JSON, detail);
    if !essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(FORM)) {
        let detail = "the body must be the fields of a form, application/x-www-form-urlencoded";
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into());
    }
    // The fields are written as the parameters of an address are.
    let text = str::from_utf8(&body).unwrap_or_default();
    let address: Result<Uri, _> = format!("/?{text}").parse();
    let fields = address
        .ok()
        .and_then(|address| Query::try_from_uri(&address).ok());
    match fields {
        Some(Query(fields)) => Ok(fields),
        None => Err(refuse(StatusCode::BAD_REQUEST, "the form cannot be read").into()),
    }
}

async fn bytes(limit: usize, headers: &HeaderMap, body: Body) -> Answer<axum::body::Bytes> {
    for encoding in headers.get_all(CONTENT_ENCODING) {
        let encoding = String::from_utf8_lossy(encoding.as_bytes());
        media_type::expect_plain("Content-Encoding", &encoding)?;
    }
    // Rejects an oversized Content-Length before reading the body.
    let announced = content_length(headers);
    if announced.is_some_and(|length| length > limit) {
        return Err(Problem::too_large(limit));
    }
    let mut bytes = Vec::with_capacity(announced.unwrap_or_default());
    let mut parts = body.into_data_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(unreadable)?;
        if bytes.len().saturating_add(part.len()) > limit {
            return Err(Problem::too_large(limit));
        }
        bytes.extend_from_slice(&part);
    }
    media_type::expect_text(&bytes)?;
    Ok(bytes.into())
}

/// The problem of a body that has no end, or is framed wrongly. A client that has
/// gone reads no answer.
fn unreadable(error: axum::Error) -> Box<Problem> {
    tracing::debug!(%error, "a body was not read");
    let (mut slow, mut cause) = (None, error.source());
    while let Some(found) = cause {
        slow = slow.or(found.downcast_ref::<TooSlow>());
        cause = found.source();
    }
    let (status, detail) = match slow {
        Some(slow) => (StatusCode::REQUEST_TIMEOUT, slow.to_string()),
        None => (
            StatusCode::BAD_REQUEST,
            format!("the body cannot be read to its end: {error}"),
        ),
    };
    Problem::new(status, ErrorCode::BAD_JSON, detail).into()
}

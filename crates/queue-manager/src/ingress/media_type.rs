//! The media type of a request.

use axum::http::StatusCode;
use drumline_protocol::ErrorCode;

use super::problem::Problem;

/// The media type of JSON.
pub(crate) const JSON: &str = "application/json";

/// Refuses a body that is not called JSON; `media` is empty if it is called
/// nothing.
///
/// # Errors
/// With the media type that was given.
pub(crate) fn expect_json(media: &str) -> Result<(), Box<Problem>> {
    if is_json(media) {
        return Ok(());
    }
    let detail = match media {
        "" => "the body must be JSON, and the header Content-Type: application/json".to_owned(),
        other => format!("the body must be application/json, this is {other:?}"),
    };
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(Problem::new(status, ErrorCode::BAD_JSON, detail).into())
}

/// `application/json` or `application/…+json`, with any parameters.
fn is_json(media: &str) -> bool {
    let essence = media.split(';').next().unwrap_or("").trim();
    let essence = essence.to_ascii_lowercase();
    essence == JSON || (essence.starts_with("application/") && essence.ends_with("+json"))
}

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

/// Refuses a body that is packed; `name` is that of the header or property, and
/// `encoding` its value.
///
/// # Errors
/// With the encoding that was given.
pub(crate) fn expect_plain(name: &str, encoding: &str) -> Result<(), Box<Problem>> {
    // Some clients give the character set here.
    let plain = ["", "identity", "utf-8"];
    if plain.contains(&encoding.trim().to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    let detail = format!("{name} {encoding:?} is not understood: send it plain");
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(Problem::new(status, ErrorCode::BAD_JSON, detail).into())
}

/// Refuses a body that begins as no JSON in UTF-8 does, and names what it begins
/// with: a parser would only report that something else was expected.
///
/// # Errors
/// With the mark at its beginning.
pub(crate) fn expect_text(body: &[u8]) -> Result<(), Box<Problem>> {
    let found = match body {
        [0xef, 0xbb, 0xbf, ..] => "a byte order mark (BOM): send UTF-8 without one",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "the byte order mark of UTF-16: send UTF-8",
        [0x1f, 0x8b, ..] => "the mark of gzip: send it plain",
        _ => return Ok(()),
    };
    let detail = format!("the body begins with {found}");
    Err(Problem::new(StatusCode::BAD_REQUEST, ErrorCode::BAD_JSON, detail).into())
}

/// `application/json` or `application/…+json`, with any parameters.
fn is_json(media: &str) -> bool {
    let essence = media.split(';').next().unwrap_or("").trim();
    let essence = essence.to_ascii_lowercase();
    essence == JSON || (essence.starts_with("application/") && essence.ends_with("+json"))
}

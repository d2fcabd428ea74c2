//! Pages and their files in fewer bytes, for browsers on slow lines.
//!
//! A page has no secret in it that a form would send back, so that nothing can be
//! guessed from its size.

use std::io::Write as _;

use axum::body::{Body, to_bytes};
use axum::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, VARY,
};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Bodies from this size on are packed: the packing itself takes some 20 bytes.
const FROM: usize = 512;
/// The media types of pages and their files. A stream of events is not among them.
const TYPES: [&str; 4] = ["text/html", "text/css", "text/javascript", "image/svg+xml"];

/// Returns true if the browser reads gzip.
pub(super) fn is_read_by(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).into_iter();
    let mut codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        is_gzip && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// Packs the body of a page or a file.
pub(super) async fn packed(response: Response) -> Response {
    let media = response.headers().get(CONTENT_TYPE);
    let media = media
        .and_then(|media| media.to_str().ok())
        .unwrap_or_default();
    if !TYPES.iter().any(|known| media.starts_with(known)) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // The body is in memory already.
    let Ok(plain) = to_bytes(body, usize::MAX).await else {
        return Response::from_parts(parts, Body::empty());
    };
    let varies = HeaderValue::from_static("accept-encoding");
    parts.headers.append(VARY, varies);
    let packed = Some(&plain).filter(|plain| plain.len() >= FROM);
    let Some(packed) = packed.and_then(|plain| pack(plain)) else {
        return Response::from_parts(parts, plain.into());
    };
    parts.headers.remove(CONTENT_LENGTH);
    let gzip = HeaderValue::from_static("gzip");
    parts.headers.insert(CONTENT_ENCODING, gzip);
    Response::from_parts(parts, packed.into())
}

fn pack(plain: &[u8]) -> Option<Vec<u8>> {
    let room = Vec::with_capacity(plain.len() / 4);
    let mut encoder = GzEncoder::new(room, Compression::fast());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use axum::response::{Html, IntoResponse as _};
    use flate2::read::GzDecoder;

    use super::*;

    fn accepting(value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn only_those_who_read_it_are_sent_it() {
        for yes in ["gzip", "br, GZIP;q=0.5", "gzip, deflate, br, zstd"] {
            assert!(is_read_by(&accepting(yes)), "{yes}");
        }
        for no in ["", "br", "gzip;q=0", "identity, gzip; q=0", "xgzip"] {
            assert!(!is_read_by(&accepting(no)), "{no}");
        }
        assert!(!is_read_by(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_page_is_the_same_page_in_fewer_bytes() {
        let page = "<p>many the same words</p>".repeat(500);
        let packed = packed(Html(page.clone()).into_response()).await;
        assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(packed.headers()[VARY], "accept-encoding");
        let bytes = to_bytes(packed.into_body(), usize::MAX).await.unwrap();
        assert!(bytes.len() < page.len() / 10, "{}", bytes.len());
        let mut read = String::new();
        GzDecoder::new(&*bytes).read_to_string(&mut read).unwrap();
        assert_eq!(read, page);
    }

    #[tokio::test]
    async fn what_is_small_or_a_stream_stays_as_it_is() {
        let small = packed(Html("<p>x</p>").into_response()).await;
        assert!(small.headers().get(CONTENT_ENCODING).is_none());
        let events = ([(CONTENT_TYPE, "text/event-stream")], "x".repeat(9_000));
        let events = packed(events.into_response()).await;
        assert!(events.headers().get(CONTENT_ENCODING).is_none());
        assert!(events.headers().get(VARY).is_none());
    }
}

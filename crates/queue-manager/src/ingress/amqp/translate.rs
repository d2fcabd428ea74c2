//! From a message to the HTTP request that it stands for.
//!
//! | message | HTTP |
//! |---|---|
//! | routing key empty or `create` | `POST /v1/operations` |
//! | routing key `execute` | `POST /v1/execute` |
//! | content type | the same; bincode becomes JSON |
//! | headers `Drumline-Organization`, `Drumline-Caller`, `Idempotency-Key`, `traceparent`, `tracestate` | the same |
//! | `message_id` | an idempotency key of its own |
//!
//! All other faults of a request are left to the HTTP face.

use axum::body::Bytes;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use drumline_api::{FieldError, Invalid, wire};
use drumline_backend::intake::Envelope;
use drumline_protocol::{ErrorCode, codec};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::in_process_http::JSON;
use crate::ingress::http::Repeatable;
use crate::ingress::problem::Problem;
use crate::options::Limits;

/// The content type of bincode: [`wire::Request`] in its envelope.
pub(super) const BINCODE: &str = "application/x-drumline-bincode";

/// The headers that have a meaning, in lower case.
const HEADERS: [&str; 5] = [
    "drumline-organization",
    "drumline-caller",
    IDEMPOTENCY_KEY,
    "traceparent",
    "tracestate",
];
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A request for the HTTP face.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) address: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Makes the items of an organization request repeatable, too.
    pub(super) repeatable: Option<Repeatable>,
    pub(super) order: Order,
}

/// The requests that a request has to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Nothing: it creates an operation without a token.
    Free,
    /// The creates with the same token before it.
    Token(String),
    /// Everything before it, and everything behind it has to wait for it: its
    /// effects are unknown.
    Alone,
}

impl Errand {
    /// Returns true if repeating it does nothing more.
    pub(super) fn is_repeatable(&self) -> bool {
        self.repeatable.is_some() || self.headers.contains_key(IDEMPOTENCY_KEY)
    }
}

/// Reads a message.
///
/// # Errors
/// When the message stands for no request.
pub(super) fn translate(
    envelope: &Envelope,
    payload: Vec<u8>,
    limits: &Limits,
) -> Result<Errand, Box<Problem>> {
    if let Some(encoding) = &envelope.content_encoding
        // Some clients give the character set here.
        && !["utf-8", "identity"].contains(&encoding.to_ascii_lowercase().as_str())
    {
        let detail = format!("content_encoding {encoding:?} is not understood: send it plain");
        return Err(unsupported(detail));
    }
    let mut headers = headers(envelope)?;
    let message = content(envelope, payload, limits)?;
    let (address, order, body) = match message {
        Message::Create(body) => ("/v1/operations", order(&body), body),
        Message::Execute(body) => ("/v1/execute", Order::Alone, body),
    };
    let media = match envelope.content_type.as_deref() {
        Some(BINCODE) => Some(HeaderValue::from_static(JSON)),
        Some(other) => HeaderValue::from_str(other).ok(),
        None => None,
    };
    if let Some(media) = media {
        headers.insert(CONTENT_TYPE, media);
    }
    let mut repeatable = None;
    if let Some(id) = &envelope.message_id {
        let key = key(envelope, id);
        match &order {
            Order::Free | Order::Token(_) if !headers.contains_key(IDEMPOTENCY_KEY) => {
                headers.insert(IDEMPOTENCY_KEY, key);
            }
            Order::Free | Order::Token(_) => {}
            Order::Alone => repeatable = Some(Repeatable(key)),
        }
    }
    Ok(Errand {
        address: Uri::from_static(address),
        headers,
        body,
        repeatable,
        order,
    })
}

enum Message {
    Create(Bytes),
    Execute(Bytes),
}

/// The kind of the request, and its content as JSON.
fn content(
    envelope: &Envelope,
    payload: Vec<u8>,
    limits: &Limits,
) -> Result<Message, Box<Problem>> {
    if envelope.content_type.as_deref() == Some(BINCODE) {
        // This comes before decoding: the result is examined once more.
        let limit = limits.body_bytes.max(limits.batch_bytes);
        if payload.len() > limit {
            return Err(Problem::too_large(limit));
        }
        return decoded(&payload).map_err(|why| {
            let detail = format!("the payload is not what {BINCODE} promises: {why}");
            Problem::new(StatusCode::BAD_REQUEST, ErrorCode::BAD_JSON, detail).into()
        });
    }
    match envelope.kind.as_str() {
        "" | "create" => Ok(Message::Create(payload.into())),
        "execute" => Ok(Message::Execute(payload.into())),
        other => {
            let detail = format!("there are no requests of the kind {other:?}: create or execute");
            Err(Problem::new(StatusCode::NOT_FOUND, ErrorCode::NO_ROUTE, detail).into())
        }
    }
}

/// Decodes a request, which contains its kind; the routing key adds nothing.
fn decoded(payload: &[u8]) -> Result<Message, String> {
    let request: wire::Request = codec::decode(payload).map_err(|error| error.to_string())?;
    match request {
        wire::Request::Create(create) => {
            let json = create.to_json();
            let json = json.map_err(|error| format!("data is not JSON: {error}"))?;
            Ok(Message::Create(json.into()))
        }
        wire::Request::Execute(json) => Ok(Message::Execute(json.into())),
    }
}

/// The headers that have a meaning.
fn headers(envelope: &Envelope) -> Result<HeaderMap, Box<Problem>> {
    let mut headers = HeaderMap::new();
    let mut wrong = Vec::new();
    for name in HEADERS {
        let Some(value) = envelope.header(name) else {
            continue;
        };
        match HeaderValue::from_str(value) {
            Ok(value) => drop(headers.insert(HeaderName::from_static(name), value)),
            Err(_not_visible) => wrong.push(FieldError::new(name, "must be visible ASCII")),
        }
    }
    if wrong.is_empty() {
        Ok(headers)
    } else {
        Err(Invalid::arguments(wrong).into())
    }
}

/// The idempotency key of a message. Keys of different producers differ, and
/// differ from keys of HTTP callers. It is a digest, for a `message_id` may be
/// as long as a key, and need not be ASCII.
fn key(envelope: &Envelope, id: &str) -> HeaderValue {
    let actor = envelope.header("drumline-caller").unwrap_or_default();
    let mut hash = Sha256::new();
    // The length keeps ("ab", "c") and ("a", "bc") apart.
    hash.update((actor.len() as u64).to_be_bytes());
    hash.update(actor);
    hash.update(id);
    let mut key = "amqp-".to_owned();
    for byte in hash.finalize() {
        key.push_str(&format!("{byte:02x}"));
    }
    HeaderValue::from_str(&key).unwrap_or(HeaderValue::from_static("amqp"))
}

/// The requests that a create has to wait for. An unreadable create waits for
/// nothing: it is not going to be created either.
fn order(body: &[u8]) -> Order {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Peek {
        dependency_token: Option<String>,
    }

    match serde_json::from_slice(body) {
        Ok(Peek {
            dependency_token: Some(token),
        }) => Order::Token(token),
        Ok(Peek {
            dependency_token: None,
        })
        | Err(_) => Order::Free,
    }
}

fn unsupported(detail: String) -> Box<Problem> {
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Problem::new(status, ErrorCode::BAD_JSON, detail).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(kind: &str) -> Envelope {
        Envelope {
            kind: kind.to_owned(),
            content_type: Some(JSON.to_owned()),
            message_id: Some("m".to_owned()),
            ..Envelope::default()
        }
    }

    fn read(envelope: &Envelope, body: &str) -> Result<Errand, Box<Problem>> {
        translate(envelope, body.as_bytes().to_vec(), &Limits::default())
    }

    fn key_of(errand: &Errand) -> Option<&HeaderValue> {
        errand.headers.get(IDEMPOTENCY_KEY)
    }

    #[test]
    fn the_routing_key_says_which_request_it_is() {
        let address = |kind| read(&envelope(kind), "{}").map(|errand| errand.address);
        assert_eq!(address("").unwrap(), "/v1/operations");
        assert_eq!(address("create").unwrap(), "/v1/operations");
        assert_eq!(address("execute").unwrap(), "/v1/execute");
        assert_eq!(address("Create").unwrap_err().status, 404);
    }

    #[test]
    fn a_create_waits_for_its_token_and_an_execute_for_all() {
        let order = |kind, body| read(&envelope(kind), body).unwrap().order;
        let with = r#"{"messageName":"a","dependencyToken":"t"}"#;
        assert_eq!(order("", with), Order::Token("t".to_owned()));
        assert_eq!(order("", r#"{"messageName":"a"}"#), Order::Free);
        assert_eq!(order("", "not JSON"), Order::Free);
        assert_eq!(order("execute", "{}"), Order::Alone);
    }

    #[test]
    fn the_same_message_has_the_same_key_and_no_other_has() {
        let first = read(&envelope(""), "{}").unwrap();
        let again = read(&envelope("create"), "{}").unwrap();
        assert_eq!(key_of(&first), key_of(&again));
        let mut other = envelope("");
        other
            .headers
            .insert("Drumline-Caller".to_owned(), "ada".to_owned());
        let other = read(&other, "{}").unwrap();
        assert_ne!(key_of(&first), key_of(&other));
        let none = Envelope {
            message_id: None,
            ..envelope("")
        };
        let none = read(&none, "{}").unwrap();
        assert!(key_of(&none).is_none() && !none.is_repeatable());
    }

    #[test]
    fn a_key_that_is_given_wins_over_the_message_id() {
        let mut given = envelope("");
        let headers = &mut given.headers;
        headers.insert("Idempotency-Key".to_owned(), "mine".to_owned());
        let errand = read(&given, "{}").unwrap();
        assert_eq!(key_of(&errand).unwrap(), "mine");
    }

    #[test]
    fn bincode_becomes_json() {
        let mut create = wire::Create::default();
        create.attributes.message_name = "Echo".to_owned();
        create.attributes.dependency_token = Some("t".to_owned());
        create.data = Some("[1]".to_owned());
        let request = wire::Request::Create(Box::new(create));
        let message = Envelope {
            content_type: Some(BINCODE.to_owned()),
            ..envelope("")
        };
        let payload = codec::encode(&request).unwrap();
        let errand = translate(&message, payload.clone(), &Limits::default()).unwrap();
        assert_eq!(errand.order, Order::Token("t".to_owned()));
        assert_eq!(errand.headers.get(CONTENT_TYPE).unwrap(), JSON);
        assert_eq!(
            errand.body,
            r#"{"dependencyToken":"t","messageName":"Echo","data":[1]}"#
        );
        for end in 0..payload.len() {
            let cut = payload[..end].to_vec();
            let problem = translate(&message, cut, &Limits::default()).unwrap_err();
            assert_eq!(problem.status, 400, "{end}");
        }
    }

    #[test]
    fn what_is_packed_is_not_understood() {
        let packed = |encoding: &str| Envelope {
            content_encoding: Some(encoding.to_owned()),
            ..envelope("")
        };
        assert_eq!(read(&packed("gzip"), "{}").unwrap_err().status, 415);
        assert!(read(&packed("UTF-8"), "{}").is_ok());
    }
}

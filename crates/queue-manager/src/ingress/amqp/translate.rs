//! From a message to the request that it stands for.
//!
//! | message | request |
//! |---|---|
//! | routing key empty or `create` | `POST /v1/operations` |
//! | routing key `execute` | `POST /v1/execute` |
//! | content type | the same; bincode is read as JSON |
//! | `user_id` | the key of the caller, where there are keys |
//! | headers `Drumline-Organization`, `Drumline-Caller`, `Idempotency-Key` | the same |
//! | `message_id` | an idempotency key of its own |
//!
//! A message that stands for no request is refused here. All other faults are
//! faults of a request: they are kept in it, and are answered when it is its
//! turn, as HTTP would answer them.
//!
//! The attributes of a request in bincode are read as the JSON that they would
//! be over HTTP, so that rules, limits and the words of refusals exist once.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::StatusCode;
use drumline_api::{CreateOperation, FieldError, Invalid, wire};
use drumline_auth::Principal;
use drumline_backend::intake::Envelope;
use drumline_protocol::{DependencyToken, ErrorCode, codec};
use sha2::{Digest, Sha256};

use crate::ingress::headers::{self, CALLER, IDEMPOTENCY_KEY, Named};
use crate::ingress::media_type::{self, JSON};
use crate::ingress::problem::Problem;
use crate::options::{GRAMMAR, Limits, Options};

/// The content type of bincode: [`wire::Request`] in its envelope.
pub(super) const BINCODE: &str = "application/x-drumline-bincode";

/// The headers that have a meaning, in lower case.
const HEADERS: [&str; 5] = [
    "drumline-organization",
    "drumline-caller",
    "idempotency-key",
    "traceparent",
    "tracestate",
];

/// A request, as far as its message has it.
#[derive(Debug)]
pub(super) struct TranslatedRequest {
    /// Its sender, where there are keys.
    pub(super) principal: Option<Arc<Principal>>,
    /// The organization and the caller that it names.
    pub(super) named: Result<Named, Invalid>,
    pub(super) call: Call,
    /// True if repeating the request does nothing more.
    pub(super) is_repeatable: bool,
}

/// The function of the service that a request asks for.
#[derive(Debug)]
pub(super) enum Call {
    /// An operation is to be created.
    Create(Result<Box<Create>, Box<Problem>>),
    /// An organization request is to be executed.
    Execute(Execute),
}

/// An operation that is to be created, and its idempotency key.
#[derive(Debug)]
pub(super) struct Create {
    pub(super) request: CreateOperation,
    pub(super) key: Option<String>,
}

/// An organization request that is not read yet.
#[derive(Debug)]
pub(super) struct Execute {
    pub(super) json: Json,
    pub(super) media_type: String,
    pub(super) key: Result<Option<String>, Invalid>,
    /// Makes everything repeatable that the request creates, items of batches
    /// and transactions included: the broker may deliver it again.
    pub(super) repeatable: Option<String>,
}

/// The JSON of an organization request.
#[derive(Debug)]
pub(super) enum Json {
    /// The payload of the message: it may be large, and is not copied.
    Payload,
    /// From a payload in bincode.
    Decoded(Vec<u8>),
}

/// The requests that a request has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order<'a> {
    /// Nothing: it creates an operation without a token, or none.
    Free,
    /// The creates with the same token before it.
    Token(&'a DependencyToken),
    /// The creates before it that are in the order of asynchronous requests.
    Requests,
    /// Everything before it, and everything behind it has to wait for it: its
    /// effects are unknown.
    Alone,
}

impl TranslatedRequest {
    /// The requests that this one has to wait for.
    pub(super) fn order(&self, options: &Options) -> Order<'_> {
        match &self.call {
            Call::Create(Ok(create)) => {
                let request = &create.request;
                if options.is_in_order_of_requests(request) {
                    return Order::Requests;
                }
                let token = request.dependency_token.as_ref();
                token.map_or(Order::Free, Order::Token)
            }
            Call::Create(Err(_)) => Order::Free,
            Call::Execute(_) => Order::Alone,
        }
    }
}

impl Call {
    /// The address of the same request over HTTP.
    pub(super) const fn path(&self) -> &'static str {
        match self {
            Self::Create(_) => "/v1/operations",
            Self::Execute(_) => "/v1/execute",
        }
    }
}

/// The address over HTTP of requests with this routing key.
pub(super) fn path_of(kind: &str) -> &'static str {
    match kind {
        "execute" => "/v1/execute",
        _ => "/v1/operations",
    }
}

/// Reads a message.
///
/// # Errors
/// When the message stands for no request.
pub(super) fn translate(
    envelope: &Envelope,
    payload: &[u8],
    principal: Option<Arc<Principal>>,
    limits: &Limits,
) -> Result<TranslatedRequest, Box<Problem>> {
    let encoding = envelope.content_encoding.as_deref().unwrap_or_default();
    media_type::expect_plain("content_encoding", encoding)?;
    check_headers(envelope)?;
    let header = |name| envelope.header(name).map(str::as_bytes);
    let key = header(IDEMPOTENCY_KEY).map(headers::idempotency_key);
    let key = key.transpose().map(|key| key.map(str::to_owned));
    let message_key = envelope.message_id.as_ref();
    let message_key = message_key.map(|id| key_of(principal.as_deref(), envelope, id));
    let is_repeatable = message_key.is_some() || header(IDEMPOTENCY_KEY).is_some();
    let call = match content(envelope, payload, limits)? {
        Content::Create(json) => {
            let request = read_create(&media_type(envelope), &json, limits);
            Call::Create(request.and_then(|request| {
                let key = key?.or(message_key);
                Ok(Box::new(Create { request, key }))
            }))
        }
        Content::Execute(json) => Call::Execute(Execute {
            json,
            media_type: media_type(envelope),
            key,
            repeatable: message_key,
        }),
    };
    Ok(TranslatedRequest {
        principal,
        named: headers::named(|name| header(name).into_iter()),
        call,
        is_repeatable,
    })
}

/// Reads an operation that is to be created.
fn read_create(
    media_type: &str,
    json: &[u8],
    limits: &Limits,
) -> Result<CreateOperation, Box<Problem>> {
    media_type::expect_json(media_type)?;
    let limit = limits.body_bytes;
    if json.len() > limit {
        return Err(Problem::too_large(limit));
    }
    Ok(CreateOperation::from_json(json, &GRAMMAR)?)
}

/// The kind of a request, and its content as JSON.
enum Content<'a> {
    Create(Cow<'a, [u8]>),
    Execute(Json),
}

fn content<'a>(
    envelope: &Envelope,
    payload: &'a [u8],
    limits: &Limits,
) -> Result<Content<'a>, Box<Problem>> {
    if envelope.content_type.as_deref() == Some(BINCODE) {
        // This comes before decoding: the result is examined once more.
        let limit = limits.body_bytes.max(limits.batch_bytes);
        if payload.len() > limit {
            return Err(Problem::too_large(limit));
        }
        return decoded(payload).map_err(|why| {
            let detail = format!("the payload is not what {BINCODE} promises: {why}");
            Problem::new(StatusCode::BAD_REQUEST, ErrorCode::BAD_JSON, detail).into()
        });
    }
    media_type::expect_text(payload)?;
    match envelope.kind.as_str() {
        "" | "create" => Ok(Content::Create(payload.into())),
        "execute" => Ok(Content::Execute(Json::Payload)),
        other => {
            let detail = format!("there are no requests of the kind {other:?}: create or execute");
            Err(Problem::new(StatusCode::NOT_FOUND, ErrorCode::NO_ROUTE, detail).into())
        }
    }
}

/// Decodes a request, which contains its kind; the routing key adds nothing.
fn decoded(payload: &[u8]) -> Result<Content<'static>, String> {
    let request: wire::Request = codec::decode(payload).map_err(|error| error.to_string())?;
    match request {
        wire::Request::Create(create) => {
            let json = create.to_json();
            let json = json.map_err(|error| format!("data is not JSON: {error}"))?;
            Ok(Content::Create(json.into_bytes().into()))
        }
        wire::Request::Execute(json) => Ok(Content::Execute(Json::Decoded(json.into_bytes()))),
    }
}

/// The media type of the content; empty if there is none, or none that HTTP
/// could transport.
fn media_type(envelope: &Envelope) -> String {
    let media_type = match envelope.content_type.as_deref() {
        Some(BINCODE) => JSON,
        Some(other) if other.bytes().all(is_visible) => other,
        Some(_) | None => "",
    };
    media_type.to_owned()
}

/// Refuses a message whose headers no HTTP client could send: text beyond ASCII
/// is left to the meaning of the header. A header that cannot be read must not
/// count as absent: the request would be another tenant's, or be done twice.
fn check_headers(envelope: &Envelope) -> Result<(), Box<Problem>> {
    let mut wrong = Vec::new();
    for name in HEADERS {
        let value = envelope.header(name).unwrap_or_default();
        if envelope.count(name) > 1 {
            wrong.push(FieldError::new(name, "is given twice"));
        } else if let Some(kind) = envelope.unreadable(name) {
            let why = format!("must be a text, and is {kind}");
            wrong.push(FieldError::new(name, why));
        } else if !value
            .bytes()
            .all(|byte| is_visible(byte) || !byte.is_ascii())
        {
            wrong.push(FieldError::new(name, "must be visible ASCII"));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Invalid::arguments(wrong).into())
    }
}

const fn is_visible(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~')
}

/// The idempotency key of a message. Keys of different producers differ, and
/// differ from keys of HTTP callers. It is a digest, for a `message_id` may be
/// as long as a key, and need not be ASCII.
fn key_of(principal: Option<&Principal>, envelope: &Envelope, id: &str) -> String {
    let caller = envelope.header(CALLER).unwrap_or_default();
    let mut hash = Sha256::new();
    if let Some(principal) = principal {
        hash.update((principal.id.len() as u64).to_be_bytes());
        hash.update(&principal.id);
    }
    // The length keeps ("ab", "c") and ("a", "bc") apart.
    hash.update((caller.len() as u64).to_be_bytes());
    hash.update(caller);
    hash.update(id);
    let mut key = "amqp-".to_owned();
    for byte in hash.finalize() {
        key.push_str(&format!("{byte:02x}"));
    }
    key
}

#[cfg(test)]
mod tests;

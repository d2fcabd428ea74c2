//! The ready-made handler that posts the operation to a web service.
//!
//! The body is the operation as JSON, as the API shows it. The headers carry
//! the trace and the values by which the service recognises a repetition.
//!
//! | answer | fate of the operation |
//! |---|---|
//! | 2xx | Succeeded, with the body as the result where it is JSON |
//! | 429 | tried again, and the try does not count |
//! | 408, 425, 5xx; 413, 423 with `Retry-After` | tried again |
//! | 401, 403 | suspended for a person |
//! | none: no connection, or it broke | tried again by the retry policy |
//! | 404 | Failed; a workflow (type 10) is suspended |
//! | anything else, redirects too | Failed; the body is the message |
//!
//! A retry waits as long as the retry policy says, and at least as long as
//! `Retry-After`.
//!
//! An answer that is no success may have a body of more detail: `{"error": {"code":
//! "0x8004A001", "message": …, "friendlyMessage": …}}` or a problem document. A code
//! that Drumline knows decides instead of the status, and the texts are kept. Its
//! member `checkpoint` is saved, and is in the body of the next request.
//!
//! When its worker drains, and when a client pauses the operation, the request goes on
//! for the grace: a service cannot be asked to stop, and its answer still counts. When
//! a client cancels the operation, when the timeout is over and when the lease is
//! lost, the connection is closed at once. That is the sign for the service, which has
//! to decide about work that it has begun, and can compare fences.

use std::time::{Duration, SystemTime};

use drumline_backend::Random;
use drumline_egress::{NotAllowed, Reach, client, reasons};
use drumline_protocol::operation::TraceContext;
use drumline_protocol::output::OTHER_BYTES;
use drumline_protocol::{ErrorCode, Fault, Jitter, Operation, limits};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};

use super::error_body::ErrorBody;
use super::outcome::{Disposition, Outcome, code_of_status};
use super::{Handler, HandlerFuture, input};
use crate::context::Context;
use crate::context::report::REPORT_BYTES;

/// The time that connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// The bytes that are read of an answer that is no success: the largest checkpoint,
/// and an error beside it.
const ANSWER_BYTES: usize = REPORT_BYTES + (64 << 10);
/// The number of characters of a body that are kept as a message.
const MESSAGE_CHARS: usize = 16 << 10;
/// The bytes of a body that are kept as output: they fit into the output of each
/// attempt.
const SHOWN_BYTES: usize = OTHER_BYTES - 128;
/// The longest `Retry-After` that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A web service that each operation is posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address to post to.
    pub url: Url,
    /// Added to the headers of each request.
    pub headers: HeaderMap,
    /// True if the name in the address may resolve to addresses of private networks
    /// and of this machine.
    pub private: bool,
}

impl Endpoint {
    /// The addresses that may be called. Where the file has an IP address or
    /// `localhost` instead of a name, that address is meant.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match Reach::of_literal(&self.url) {
            None if !self.private => Reach::Public,
            reach => reach.unwrap_or(Reach::Private),
        }
    }
}

/// An [`Endpoint`] as a handler.
#[derive(Clone, Debug)]
pub struct HttpHandler {
    endpoint: Endpoint,
    client: Client,
}

impl HttpHandler {
    /// Calls the endpoint.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub fn new(endpoint: Endpoint) -> Result<Self, reqwest::Error> {
        let client = client(endpoint.reach()).connect_timeout(CONNECT).build()?;
        Ok(Self { endpoint, client })
    }
}

impl Handler for HttpHandler {
    fn run(&self, context: Context) -> HandlerFuture {
        let Self { endpoint, client } = self.clone();
        Box::pin(async move {
            tokio::select! {
                outcome = traced_call(&client, &endpoint, &context) => outcome,
                _reason = context.must_end() => Outcome::Stopped,
            }
        })
    }
}

/// Calls the service in a span of its own, which the service goes on with.
async fn traced_call(client: &Client, endpoint: &Endpoint, context: &Context) -> Outcome {
    let url = &endpoint.url;
    // Paths and queries of addresses may be secrets.
    let span = info_span!(
        target: "drumline::worker",
        parent: context.span(),
        "call",
        otel.name = "POST",
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = "POST",
        http.response.status_code = Empty,
        server.address = url.host_str(),
        server.port = url.port_or_known_default().map(i64::from),
        url.scheme = url.scheme(),
        error.type = Empty,
    );
    let trace = if span.is_disabled() {
        context.trace()
    } else {
        span.in_scope(drumline_telemetry::current_context)
    };
    call(client, endpoint, context, trace)
        .instrument(span)
        .await
}

/// Notes in the span of the call what the service has answered.
fn record_answer(answered: &Result<Response, reqwest::Error>) {
    let span = Span::current();
    let error = match answered {
        Ok(response) => {
            let status = response.status().as_u16();
            span.record("http.response.status_code", i64::from(status));
            if status < 400 {
                return;
            }
            status.to_string()
        }
        Err(_) => ErrorCode::NETWORK_ERROR
            .name()
            .unwrap_or_default()
            .to_owned(),
    };
    span.record("otel.status_code", "ERROR");
    span.record("error.type", error.as_str());
}

async fn call(
    client: &Client,
    endpoint: &Endpoint,
    context: &Context,
    trace: TraceContext,
) -> Outcome {
    let operation = context.operation();
    let mut request = client
        .post(endpoint.url.clone())
        .headers(endpoint.headers.clone())
        .header("traceparent", trace.traceparent)
        .header("Drumline-Operation-Id", operation.id.to_string())
        .header("Drumline-Fence", context.fence().to_string())
        .header("Drumline-Attempt", context.attempt().to_string())
        .header(CONTENT_TYPE, "application/json");
    // For operations that the service creates: they belong to the same tenant. A
    // name that no header can carry is in the body all the same.
    let body = &operation.body;
    for (name, value) in [
        ("Drumline-Organization", &body.organization.0),
        ("Drumline-Caller", &body.owner),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            request = request.header(name, value);
        }
    }
    if let Some(token) = context.run_token()
        && let Ok(mut value) = HeaderValue::from_str(token)
    {
        value.set_sensitive(true);
        request = request.header("Drumline-Token", value);
    }
    if !trace.tracestate.is_empty() {
        request = request.header("tracestate", trace.tracestate);
    }
    let body = match input::of(context) {
        Ok(body) => body,
        Err(error) => {
            let message = format!("the operation cannot be written as JSON: {error}");
            let friendly = "The operation could not be started.";
            return Outcome::Fail(Fault::new(ErrorCode::INTERNAL, friendly, &message));
        }
    };
    let answered = request.body(body).send().await;
    record_answer(&answered);
    match answered {
        Ok(response) => match outcome(response, context).await {
            Ok(outcome) => outcome,
            Err(error) => unreachable_service(&error),
        },
        Err(error) => unreachable_service(&error),
    }
}

fn unreachable_service(error: &reqwest::Error) -> Outcome {
    let mut message = reasons(error);
    if message.contains(&NotAllowed(Reach::Public).to_string()) {
        message.push_str(" (private = true in handlers.toml allows it)");
    }
    Outcome::Retry {
        fault: Fault::new(
            ErrorCode::NETWORK_ERROR,
            "The web service could not be reached.",
            &message,
        ),
        after: None,
    }
}

async fn outcome(response: Response, context: &Context) -> Result<Outcome, reqwest::Error> {
    let operation = context.operation();
    let status = response.status();
    if status.is_success() {
        return done(response).await;
    }
    let after = retry_after(response.headers());
    let body = read(response, ANSWER_BYTES).await?;
    let body = String::from_utf8_lossy(&body);
    print(status, &body, context);
    save_checkpoint(&body, context);
    let by_status = match code_of_status(status) {
        // They pass if the service says when.
        ErrorCode::HANDLER_FAILED if may_pass(status) && after.is_some() => ErrorCode::SERVER_BUSY,
        code => code,
    };
    let shown = limits::cut(body.trim(), MESSAGE_CHARS);
    let fault = ErrorBody::of(&body).fault(
        by_status,
        friendly(by_status),
        &format!("HTTP {status}: {shown}"),
    );
    // A code that Drumline does not know says nothing about the next try.
    let decisive = fault.code.name().map_or(by_status, |_known| fault.code);
    let rules = &operation.header.rules;
    let outcome = Disposition::of(decisive, rules.operation_type).outcome(fault, None);
    Ok(match (outcome, after) {
        (Outcome::Retry { fault, after: None }, Some(after)) => Outcome::Retry {
            fault,
            after: Some(at_least(after, operation, context.random())),
        },
        (outcome, _) => outcome,
    })
}

/// Puts the start of an answer that is no success into the output of the attempt.
fn print(status: StatusCode, body: &str, context: &Context) {
    let body = body.trim();
    let shown = body
        .get(..body.floor_char_boundary(SHOWN_BYTES))
        .unwrap_or(body);
    let more = body.len() - shown.len();
    context.log(&format!("HTTP {status}"));
    if !shown.is_empty() {
        context.log(shown);
    }
    if more > 0 {
        context.log(&format!("… {more} bytes more"));
    }
}

/// The member of an answer, beside those of an error, by which a service saves a
/// checkpoint.
#[derive(Deserialize)]
struct Saved<'a> {
    #[serde(default, borrow)]
    checkpoint: Option<&'a RawValue>,
}

/// Saves the checkpoint of an answer that is no success, if it has one.
fn save_checkpoint(body: &str, context: &Context) {
    // Serde would read a struct from an array, too.
    if !body.trim_start().starts_with('{') {
        return;
    }
    if let Ok(Saved {
        checkpoint: Some(json),
    }) = serde_json::from_str(body)
        && let Err(error) = context.checkpoint(json)
    {
        let id = context.operation().id;
        tracing::warn!(%id, %error, "the checkpoint of a web service was ignored");
    }
}

/// True for a refusal that may pass with time.
fn may_pass(status: StatusCode) -> bool {
    matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::LOCKED)
}

/// The time until the next try of what a service wants to have later: not before
/// that, and not more often than the retry policy wants. A tenth more at most
/// spreads those that were told the same time.
fn at_least(after: Duration, operation: &Operation, random: &Random) -> Duration {
    let header = &operation.header;
    let policy = header.rules.retry.delay(header.retry_count + 1, Jitter(0));
    let spread = after.mul_f64(random.f64() / 10.0);
    (after + spread).max(policy.unwrap_or_default())
}

async fn done(response: Response) -> Result<Outcome, reqwest::Error> {
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_none_or(|kind| kind.contains("json"));
    let body = read(response, REPORT_BYTES + 1).await?;
    if body.len() > REPORT_BYTES {
        return Ok(Outcome::Fail(Fault::new(
            ErrorCode::TOO_LARGE,
            "The web service's answer is too large to be stored.",
            &format!("more than {REPORT_BYTES} bytes"),
        )));
    }
    let result = String::from_utf8(body)
        .ok()
        .filter(|body| is_json && serde_json::from_str::<IgnoredAny>(body).is_ok())
        .filter(|body| body.trim() != "null");
    Ok(Outcome::Done(result))
}

/// The text for people, if the service gives none.
fn friendly(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::PRIVILEGE_DENIED => "The web service denies access. A person has to look at it.",
        ErrorCode::SERVER_BUSY => "The web service is busy, or has a problem.",
        ErrorCode::THROTTLED => "The web service wants fewer requests.",
        _ => "The web service has refused the operation.",
    }
}

/// The first `limit` bytes of the body.
async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = limit - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if body.len() == limit {
            break;
        }
    }
    Ok(body)
}

/// Parses `Retry-After` (RFC 9110, 10.2.3): seconds, or a date in one of its three
/// forms. A date is measured against the answer's own `Date`, so that no clock has
/// to be right, and else against this machine's clock. A date that has passed is
/// now.
#[expect(
    clippy::disallowed_methods,
    reason = "an answer without a date of its own leaves no other clock"
)]
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let after = text(RETRY_AFTER)?;
    let is_number = !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit());
    let delay = if is_number {
        after.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs)
    } else {
        let at = httpdate::parse_http_date(after).ok()?;
        let now = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
        let now = now.unwrap_or_else(SystemTime::now);
        at.duration_since(now).unwrap_or_default()
    };
    Some(delay.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_every_form() {
        let after = |after: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, after.parse().unwrap());
            headers.insert(DATE, "Wed, 21 Oct 2026 07:28:00 GMT".parse().unwrap());
            retry_after(&headers).map(|delay| delay.as_secs())
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("Wed, 21 Oct 2026 07:30:00 GMT"), Some(120));
        assert_eq!(after("Wednesday, 21-Oct-26 07:30:00 GMT"), Some(120));
        assert_eq!(after("Wed Oct 21 07:30:00 2026"), Some(120));
        assert_eq!(after("Wed, 21 Oct 2026 07:00:00 GMT"), Some(0));
        assert_eq!(after("99999999999"), Some(24 * 60 * 60));
        assert_eq!(after("99999999999999999999999"), Some(24 * 60 * 60));
        assert_eq!(after("0"), Some(0));
        assert_eq!(after("-1"), None);
        assert_eq!(after("soon"), None);
    }
}

//! The ready-made handler that posts the operation to a web service.
//!
//! The body is the operation as JSON, as the API shows it. The headers carry
//! the trace and the values by which the service recognises a repetition.
//!
//! | answer | fate of the operation |
//! |---|---|
//! | 2xx | Succeeded, with the body as the result where it is JSON |
//! | 429, 5xx | tried again, after `Retry-After` or by the retry policy |
//! | 401, 403 | suspended for a person |
//! | none: no connection, or it broke | tried again by the retry policy |
//! | 404 | Failed; a workflow (type 10) is suspended |
//! | anything else, redirects too | Failed; the body is the message |
//!
//! An answer that is no success may have a body of more detail: `{"error": {"code":
//! "0x8004A001", "message": …, "friendlyMessage": …}}` or a problem document. Then
//! the code decides instead of the status, and the texts are kept.
//!
//! A handler that is asked to stop drops the request. The service has to decide
//! about work that it has begun, and can compare fences.

use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use drumline_api::view::OperationView;
use drumline_protocol::{ErrorCode, Fault, Operation};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, Url};
use serde::de::IgnoredAny;

use super::error_body::ErrorBody;
use super::outcome::{Disposition, Outcome, code_of_status};
use super::{Handler, HandlerFuture};
use crate::context::Context;
use crate::context::report::REPORT_BYTES;

/// The time that connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// The number of bytes of a body that are kept as a message.
const MESSAGE_BYTES: usize = 16 << 10;
/// The longest `Retry-After` that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A web service that each operation is posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address to post to.
    pub url: Url,
    /// Added to the headers of each request.
    pub headers: HeaderMap,
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
        // The first call in the process has chosen the provider for all handlers,
        // which is fine.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder()
            .connect_timeout(CONNECT)
            // A redirected POST would become a GET, which asks for something else.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("drumline/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { endpoint, client })
    }
}

impl Handler for HttpHandler {
    fn run(&self, context: Context) -> HandlerFuture {
        let Self { endpoint, client } = self.clone();
        Box::pin(async move {
            tokio::select! {
                outcome = call(&client, &endpoint, &context) => outcome,
                _reason = context.stop_requested() => Outcome::Stopped,
            }
        })
    }
}

async fn call(client: &Client, endpoint: &Endpoint, context: &Context) -> Outcome {
    let trace = context.trace();
    let operation = context.operation();
    let mut request = client
        .post(endpoint.url.clone())
        .headers(endpoint.headers.clone())
        .header("traceparent", trace.traceparent)
        .header("Drumline-Operation-Id", operation.id.to_string())
        .header("Drumline-Fence", context.fence().to_string())
        .header("Drumline-Attempt", context.attempt().to_string());
    if !trace.tracestate.is_empty() {
        request = request.header("tracestate", trace.tracestate);
    }
    let answered = request.json(&OperationView::from(operation)).send().await;
    match answered {
        Ok(response) => match outcome(response, operation).await {
            Ok(outcome) => outcome,
            Err(error) => unreachable_service(&error),
        },
        Err(error) => unreachable_service(&error),
    }
}

fn unreachable_service(error: &reqwest::Error) -> Outcome {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(&error.to_string());
        cause = error.source();
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

async fn outcome(response: Response, operation: &Operation) -> Result<Outcome, reqwest::Error> {
    let status = response.status();
    if status.is_success() {
        return done(response).await;
    }
    let after = retry_after(response.headers());
    let body = read(response, MESSAGE_BYTES).await?;
    let body = String::from_utf8_lossy(&body);
    let by_status = code_of_status(status);
    let fault = ErrorBody::of(&body).fault(
        by_status,
        friendly(by_status),
        &format!("HTTP {status}: {}", body.trim()),
    );
    let operation_type = operation.header.rules.operation_type;
    Ok(Disposition::of(fault.code, operation_type).outcome(fault, after))
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

/// Parses `Retry-After`: seconds, or a date. A date is measured against the
/// answer's own `Date`, so that no clock has to be right.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let date = |text| -> Option<DateTime<FixedOffset>> { DateTime::parse_from_rfc2822(text).ok() };
    let after = text(RETRY_AFTER)?;
    let delay = match after.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_not_seconds) => (date(after)? - date(text(DATE)?)?).to_std().ok()?,
    };
    Some(delay.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let after = |after: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, after.parse().unwrap());
            headers.insert(DATE, "Wed, 21 Oct 2026 07:28:00 GMT".parse().unwrap());
            retry_after(&headers).map(|delay| delay.as_secs())
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("Wed, 21 Oct 2026 07:30:00 GMT"), Some(120));
        assert_eq!(after("Wed, 21 Oct 2026 07:00:00 GMT"), None);
        assert_eq!(after("99999999999"), Some(24 * 60 * 60));
        assert_eq!(after("soon"), None);
    }
}

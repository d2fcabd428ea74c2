//! The span of one run, by the OpenTelemetry messaging conventions.
//!
//! The span is a child of the creating span, so that the whole life of an operation
//! is one trace. The span is also linked to the creating span, because the
//! conventions tie a consumer to its producer by a link. All runs of an operation,
//! retries included, stand side by side in the trace.

use std::fmt::Display;
use std::time::Duration;

use drumline_protocol::{Fault, Fence, Operation, Timestamp};
use drumline_telemetry::record_past_span;
use tracing::Span;
use tracing::field::Empty;

/// The span of a run. The span is disabled, and costs nothing, if no subscriber
/// listens.
pub(crate) fn process_span(operation: &Operation, fence: Fence) -> Span {
    let body = &operation.body;
    let span = tracing::info_span!(
        target: "drumline::worker",
        parent: None,
        "process",
        otel.name = %format_args!("process {}", body.queue),
        otel.kind = "consumer",
        otel.status_code = Empty,
        otel.status_description = Empty,
        error.type = Empty,
        messaging.system = "drumline",
        messaging.operation.name = "process",
        messaging.operation.r#type = "process",
        messaging.destination.name = body.queue.as_str(),
        messaging.message.id = %operation.id,
        messaging.message.conversation_id = %body.correlation_id,
        drumline.message_name = body.message_name,
        drumline.organization = body.organization.0,
        // The exporter writes other numbers as texts.
        drumline.attempt = i64::from(operation.header.attempt()),
        drumline.starts = i64::from(operation.header.starts),
        drumline.fence = i64::try_from(fence.0).unwrap_or(i64::MAX),
        drumline.outcome = Empty,
    );
    if !span.is_disabled() {
        drumline_telemetry::set_parent(&span, &body.trace);
        drumline_telemetry::add_link(&span, &body.trace);
    }
    span
}

/// Exports the span of the wait of an operation that was just claimed: from the time
/// at which it became Ready to its claim.
pub(crate) fn record_wait(operation: &Operation, waited: Duration) {
    let (body, until) = (&operation.body, operation.header.modified_on);
    let ms = i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
    let from = Timestamp::from_millis(until.as_millis().saturating_sub(ms));
    let queue = &body.queue;
    let attributes: [(_, &dyn Display); 3] = [
        ("messaging.system", &"drumline"),
        ("messaging.destination.name", queue),
        ("messaging.message.id", &operation.id),
    ];
    let name = format_args!("wait {queue}");
    record_past_span(&body.trace, name, from, until, &attributes);
}

/// Notes the outcome of the run, and its fault, if it has one.
pub(crate) fn record_outcome(span: &Span, outcome: &str, fault: Option<&Fault>) {
    if span.is_disabled() {
        return;
    }
    span.record("drumline.outcome", outcome);
    if let Some(fault) = fault {
        let code = fault.code;
        match code.name() {
            Some(name) => record_error(span, name, &fault.message),
            None => record_error(span, &code.to_string(), &fault.message),
        }
    }
}

/// Notes that the operation was lost to another worker, and the reason.
pub(crate) fn record_loss(span: &Span, why: &str) {
    span.record("drumline.outcome", "lost");
    record_error(span, "lost", why);
}

fn record_error(span: &Span, kind: &str, description: &str) {
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", description);
    span.record("error.type", kind);
}

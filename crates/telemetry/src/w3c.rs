//! The W3C trace context, between its headers and OpenTelemetry's types.
//!
//! A header that does not parse gives no context: it must not fail a request.

use std::str::FromStr;

use drumline_protocol::operation::TraceContext;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

/// The longest `tracestate` that is kept. The standard allows longer ones to be
/// dropped, and we drop them, as they go into every record and message.
const TRACESTATE_BYTES: usize = 512;

/// The context in the headers; `None` if they hold no valid one.
pub(crate) fn parse(context: &TraceContext) -> Option<SpanContext> {
    let mut fields = context.traceparent.trim().split('-');
    let (version, trace, span, flags) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    // Later versions may append fields; version 00 may not.
    let known = version == "00" && fields.next().is_none();
    if !(known || (is_hex(version, 2) && version != "00" && version != "ff")) {
        return None;
    }
    if !(is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2)) {
        return None;
    }
    let state = Some(context.tracestate.as_str())
        .filter(|text| text.len() <= TRACESTATE_BYTES)
        .and_then(|text| TraceState::from_str(text).ok())
        .unwrap_or_default();
    let parsed = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        state,
    );
    parsed.is_valid().then_some(parsed)
}

/// The headers of a context.
pub(crate) fn write(context: &SpanContext) -> TraceContext {
    TraceContext {
        traceparent: format!(
            "00-{:032x}-{:016x}-{:02x}",
            context.trace_id(),
            context.span_id(),
            context.trace_flags() & TraceFlags::SAMPLED
        ),
        tracestate: context.trace_state().header(),
    }
}

/// A fresh context, marked as sampled: no process has decided against recording
/// it, and the samplers of the processes that do record will decide.
pub(crate) fn invent() -> TraceContext {
    let random = RandomIdGenerator::default();
    write(&SpanContext::new(
        random.new_trace_id(),
        random.new_span_id(),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    ))
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(traceparent: &str) -> TraceContext {
        TraceContext {
            traceparent: traceparent.to_owned(),
            tracestate: "vendor=value".to_owned(),
        }
    }

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_read_is_written_again() {
        let read = parse(&context(GOOD)).unwrap();
        assert_eq!(write(&read), context(GOOD));
        assert!(parse(&invent()).is_some());
    }

    #[test]
    fn a_later_version_is_read_by_what_we_know_of_it() {
        assert!(parse(&context(&GOOD.replacen("00", "cc", 1))).is_some());
        assert!(parse(&context(&format!("{}-more", GOOD.replacen("00", "cc", 1)))).is_some());
    }

    #[test]
    fn broken_headers_are_no_context() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-ü-b7ad6b7169203331-01",
        ] {
            assert!(parse(&context(bad)).is_none(), "{bad}");
        }
    }
}

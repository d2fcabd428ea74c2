//! Spans of what is over: a wait, say, of which a process hears when it ends.
//!
//! A span of `tracing` begins when it is made. These begin and end at the times that
//! they are given.

use std::fmt;
use std::time::{Duration, SystemTime};

use drumline_protocol::Timestamp;
use drumline_protocol::operation::TraceContext;
use opentelemetry::trace::{Span as _, SpanKind, TraceContextExt, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::Subscriber;
use tracing::dispatcher::get_default;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::Layer;

use crate::logging::BoxedLayer;
use crate::w3c;

/// Exports a span from one time to another, under the span of `parent`. Where no spans
/// are exported it costs a look-up, and name and attributes are not written.
pub fn record_past_span(
    parent: &TraceContext,
    name: fmt::Arguments<'_>,
    from: Timestamp,
    until: Timestamp,
    attributes: &[(&'static str, &dyn fmt::Display)],
) {
    get_default(|dispatch| {
        let (Some(PastSpans(tracer)), Some(remote)) = (dispatch.downcast_ref(), w3c::parse(parent))
        else {
            return;
        };
        let attributes = attributes
            .iter()
            .map(|(name, value)| KeyValue::new(*name, value.to_string()));
        let mut span = tracer
            .span_builder(name.to_string())
            .with_kind(SpanKind::Internal)
            .with_start_time(time(from))
            .with_attributes(attributes)
            .start_with_context(tracer, &Context::new().with_remote_span_context(remote));
        span.end_with_timestamp(time(until));
    });
}

fn time(at: Timestamp) -> SystemTime {
    let ms = u64::try_from(at.as_millis()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}

/// A layer that does nothing but hold the tracer of past spans.
struct PastSpans(SdkTracer);

impl<S: Subscriber> Layer<S> for PastSpans {}

/// The layer with this tracer. It switches on no span and no event.
pub(crate) fn layer(tracer: SdkTracer) -> BoxedLayer {
    PastSpans(tracer).with_filter(LevelFilter::OFF).boxed()
}

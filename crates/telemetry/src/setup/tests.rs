//! Traces over a process border, with and without an exporter.

use drumline_protocol::operation::TraceContext;
use opentelemetry::trace::SpanId;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::subscriber::with_default;
use tracing::{Subscriber, info_span};

use super::*;
use crate::{add_link, current_context, set_parent};

const INCOMING: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn incoming() -> TraceContext {
    TraceContext {
        traceparent: INCOMING.to_owned(),
        tracestate: String::new(),
    }
}

/// The provider empties the exporter when it is dropped, so it comes along.
fn exporting() -> (InMemorySpanExporter, SdkTracerProvider, impl Subscriber) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let layers = vec![logging::carrier(), export::layer(&provider)];
    let subscriber = tracing_subscriber::registry().with(layers);
    (exporter, provider, subscriber)
}

fn silent() -> impl Subscriber {
    let log = logging::layer(LogFormat::Text, "off").unwrap();
    tracing_subscriber::registry().with(vec![log, logging::carrier()])
}

/// Acts as a producer and then a worker; they share only the context in
/// between.
fn create_then_process() -> TraceContext {
    let request = info_span!(target: "drumline", "POST /v1/operations");
    set_parent(&request, &incoming());
    let record = request
        .in_scope(|| info_span!(target: "drumline", "create default").in_scope(current_context));
    let process = info_span!(target: "drumline", "process default");
    set_parent(&process, &record);
    add_link(&process, &record);
    process.in_scope(|| info_span!(target: "drumline", "handler").in_scope(|| ()));
    record
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    spans.iter().find(|span| span.name == name).expect(name)
}

#[test]
fn create_and_process_are_one_trace_with_a_link() {
    let (exporter, _provider, subscriber) = exporting();
    let record = with_default(subscriber, create_then_process);
    let spans = exporter.get_finished_spans().unwrap();

    assert_eq!(spans.len(), 4);
    for span in &spans {
        assert_eq!(span.span_context.trace_id().to_string(), TRACE);
    }
    let request = named(&spans, "POST /v1/operations");
    let create = named(&spans, "create default");
    let process = named(&spans, "process default");
    let handler = named(&spans, "handler");
    assert_eq!(
        request.parent_span_id,
        SpanId::from_hex("b7ad6b7169203331").unwrap()
    );
    assert_eq!(create.parent_span_id, request.span_context.span_id());
    assert_eq!(process.parent_span_id, create.span_context.span_id());
    assert_eq!(handler.parent_span_id, process.span_context.span_id());
    let linked: Vec<_> = process.links.iter().collect();
    assert_eq!(linked.len(), 1);
    assert_eq!(
        linked[0].span_context.span_id(),
        create.span_context.span_id()
    );
    assert!(record.traceparent.contains(TRACE));
}

#[test]
fn without_an_exporter_what_came_in_is_carried_on() {
    let record = with_default(silent(), create_then_process);
    assert_eq!(record, incoming());
}

#[test]
fn without_an_exporter_and_without_a_parent_a_span_gets_one_lasting_trace() {
    with_default(silent(), || {
        let (first, again) = info_span!(target: "drumline", "create")
            .in_scope(|| (current_context(), current_context()));
        assert_eq!(first, again);
        assert_eq!(first.traceparent.len(), INCOMING.len());
        let other = info_span!(target: "drumline", "create").in_scope(current_context);
        assert_ne!(first, other);
    });
}

#[test]
fn without_a_subscriber_there_still_is_a_context() {
    assert_ne!(current_context().traceparent, "");
}

#[test]
fn a_broken_parent_changes_nothing() {
    let broken = TraceContext {
        traceparent: "nonsense".to_owned(),
        tracestate: String::new(),
    };
    let (exporter, _provider, subscriber) = exporting();
    with_default(subscriber, || {
        let span = info_span!(target: "drumline", "request");
        set_parent(&span, &broken);
        add_link(&span, &broken);
        span.in_scope(|| ());
    });
    let spans = exporter.get_finished_spans().unwrap();
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].links.len(), 0);
}

#[test]
fn directives_that_do_not_parse_are_refused() {
    let options = Options {
        directives: "drumline=loud".to_owned(),
        ..Options::default()
    };
    assert!(matches!(init(&options), Err(Error::Directives(_))));
}

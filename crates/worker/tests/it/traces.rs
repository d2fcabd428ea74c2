//! One trace per operation, from the producer's call to the handler.

use std::path::Path;

use drumline_protocol::Status;
use drumline_worker::handlers_file::HandlersFile;
use drumline_worker::supervise::Supervisor;
use drumline_worker::{Context, HandlerError, NewChild};
use opentelemetry::trace::{SpanKind, Status as SpanStatus, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde_json::Value;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

use crate::command::SUPERVISOR;
use crate::harness::{Harness, draft};
use crate::http::called_with;

/// The trace and the span that every draft says it was created in.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CREATING: &str = "b7ad6b7169203331";

struct Recording {
    exporter: InMemorySpanExporter,
    provider: SdkTracerProvider,
    /// For this thread, which is the only one of the test's runtime.
    _guard: DefaultGuard,
}

impl Recording {
    fn start() -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        Self {
            exporter,
            provider,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    fn runs(&self) -> Vec<SpanData> {
        self.provider.force_flush().expect("exported");
        let mut spans = self.exporter.get_finished_spans().expect("exported");
        spans.retain(|span| span.name.starts_with("process "));
        // They are exported as they end, and a child may end before its parent.
        spans.sort_by_key(|span| span.start_time);
        spans
    }
}

fn attribute(span: &SpanData, name: &str) -> String {
    let found = span.attributes.iter().find(|a| a.key.as_str() == name);
    found.map_or_else(String::new, |found| found.value.to_string())
}

#[tokio::test]
async fn every_run_is_a_span_of_the_creating_trace_and_linked_to_its_creation() {
    let recording = Recording::start();
    let harness = Harness::new();
    let handler = async |_: Value, context: Context| -> Result<(), HandlerError> {
        if context.attempt() == 1 {
            return Err(HandlerError::retry("not yet"));
        }
        tracing::info_span!("inside").in_scope(|| ());
        Ok(())
    };
    let worker = harness
        .start(Harness::builder().handler("X", handler))
        .await;
    let id = harness.submit(draft("X").token("t")).await;
    harness.completed(id).await;
    worker.drain().await;

    let runs = recording.runs();
    assert_eq!(runs.len(), 2, "{runs:?}");
    for (run, (attempt, outcome)) in runs.iter().zip([("1", "suspended"), ("2", "succeeded")]) {
        assert_eq!(run.name, "process default");
        assert_eq!(run.span_kind, SpanKind::Consumer);
        assert_eq!(run.span_context.trace_id().to_string(), TRACE);
        assert_eq!(run.parent_span_id.to_string(), CREATING);
        let links: Vec<_> = run.links.iter().collect();
        assert_eq!(links.len(), 1);
        assert_eq!(links[0].span_context.span_id().to_string(), CREATING);
        for (name, expected) in [
            ("messaging.system", "drumline"),
            ("messaging.operation.name", "process"),
            ("messaging.operation.type", "process"),
            ("messaging.destination.name", "default"),
            ("messaging.message.id", &id.to_string()),
            ("drumline.message_name", "X"),
            ("drumline.attempt", attempt),
            ("drumline.outcome", outcome),
        ] {
            assert_eq!(attribute(run, name), expected, "{name}");
        }
    }
    let status = &runs[0].status;
    let SpanStatus::Error { description } = status else {
        panic!("the first run has failed: {status:?}");
    };
    assert_eq!(description, "not yet");
    assert_eq!(attribute(&runs[0], "error.type"), "HandlerFailed");
    assert_eq!(attribute(&runs[1], "error.type"), "");
    let attempt = runs[0].attributes.iter();
    let attempt = attempt.filter(|one| one.key.as_str() == "drumline.attempt");
    let attempt: Vec<_> = attempt.map(|one| one.value.clone()).collect();
    assert_eq!(attempt, [opentelemetry::Value::I64(1)]);
    // The spans of the handler are under its run.
    let spans = recording.exporter.get_finished_spans().expect("exported");
    let inside = spans.iter().find(|span| span.name == "inside");
    let parent = inside.expect("recorded").parent_span_id;
    assert_eq!(parent, runs[1].span_context.span_id());
}

#[tokio::test]
async fn a_child_is_created_in_a_span_of_its_own_under_the_run() {
    let recording = Recording::start();
    let harness = Harness::new();
    let handler = async |_: Value, context: Context| -> Result<(), HandlerError> {
        if context.operation().body.depth == 0 {
            context.create(NewChild::new("X")).await?;
        }
        Ok(())
    };
    let worker = harness
        .start(Harness::builder().handler("X", handler))
        .await;
    let parent = harness.submit(draft("X")).await;
    harness.completed(parent).await;
    let all = harness.all().await;
    let child = all.into_iter().find(|each| each.body.depth == 1);
    let child = child.expect("a child").id;
    harness.completed(child).await;
    worker.drain().await;

    let runs = recording.runs();
    let spans = recording.exporter.get_finished_spans().expect("exported");
    let create = spans.iter().find(|span| span.name == "create default");
    let create = create.expect("recorded");
    assert_eq!(create.span_kind, SpanKind::Producer);
    assert_eq!(create.span_context.trace_id().to_string(), TRACE);
    assert_eq!(create.parent_span_id, runs[0].span_context.span_id());
    assert_eq!(attribute(create, "messaging.message.id"), child.to_string());
    assert_eq!(runs[1].parent_span_id, create.span_context.span_id());
}

#[tokio::test]
async fn a_command_goes_on_with_the_trace_of_its_run() {
    let recording = Recording::start();
    let harness = Harness::new();
    let text = r#"[[handler]]
        message = "*"
        command = ["sh", "-c", 'echo "\"$TRACEPARENT\""']"#;
    let builder = HandlersFile::parse(text, Path::new("/"))
        .expect("a good file")
        .register(Harness::builder(), &Supervisor::at(SUPERVISOR))
        .expect("registered");
    let worker = harness.start(builder).await;
    let id = harness.submit(draft("X")).await;
    let operation = harness.completed(id).await;
    assert_eq!(operation.header.status, Status::Succeeded);
    worker.drain().await;

    let run = recording.runs().pop().expect("recorded");
    let span = run.span_context.span_id();
    let expected = format!("\"00-{TRACE}-{span}-01\"");
    assert_eq!(operation.report.result, Some(expected));
}

#[tokio::test]
async fn a_web_service_goes_on_with_the_span_of_its_call() {
    let recording = Recording::start();
    let refusal = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
    let (_operation, request) = called_with(refusal, draft("X")).await;

    let run = recording.runs().pop().expect("recorded");
    let spans = recording.exporter.get_finished_spans().expect("exported");
    let call = spans.iter().find(|span| span.name == "POST");
    let call = call.expect("recorded");
    assert_eq!(call.span_kind, SpanKind::Client);
    assert_eq!(call.parent_span_id, run.span_context.span_id());
    let span = call.span_context.span_id();
    assert_eq!(
        request.header("traceparent"),
        format!("00-{TRACE}-{span}-01")
    );
    for (name, expected) in [
        ("http.request.method", "POST"),
        ("http.response.status_code", "403"),
        ("server.address", "127.0.0.1"),
        ("url.scheme", "http"),
        ("error.type", "403"),
    ] {
        assert_eq!(attribute(call, name), expected, "{name}");
    }
}

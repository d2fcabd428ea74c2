//! Spans as a collector receives them: managers and a worker export over OTLP, and the
//! life of an operation is one trace.

use std::process::Command;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::run::{Process, end, file, folder, text};
use crate::servers::Place;

/// The trace and the span of the producer.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PRODUCER: &str = "b7ad6b7169203331";

/// A collector of spans.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<(String, Span)>>>,
    _server: JoinSet<()>,
}

impl Collector {
    async fn start() -> Self {
        let spans: Arc<Mutex<Vec<(String, Span)>>> = Arc::default();
        let received = Arc::clone(&spans);
        let take = async move |body: Bytes| {
            let Ok(request) = ExportTraceServiceRequest::decode(body) else {
                return StatusCode::BAD_REQUEST;
            };
            for resource in request.resource_spans {
                let attributes = resource.resource.unwrap_or_default().attributes;
                let service = attributes.iter().find(|one| one.key == "service.name");
                let service = service.and_then(|one| one.value.clone()?.value);
                let service = match service {
                    Some(Value::StringValue(name)) => name,
                    _ => String::new(),
                };
                let all = resource.scope_spans.into_iter().flat_map(|one| one.spans);
                let named = all.map(|span| (service.clone(), span));
                received.lock().extend(named);
            }
            StatusCode::OK
        };
        let router = Router::new().route("/v1/traces", post(take));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut server = JoinSet::new();
        server.spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            url: format!("http://{address}"),
            spans,
            _server: server,
        }
    }

    /// A command that exports to it.
    fn watch<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &self.url)
    }

    /// The spans of the trace, in the order of their starts.
    fn trace(&self) -> Vec<(String, Span)> {
        let mut found = self.spans.lock().clone();
        found.retain(|(_, span)| hex(&span.trace_id) == TRACE);
        found.sort_by_key(|(_, span)| span.start_time_unix_nano);
        found
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, name: &str) -> Option<Value> {
    let found = span.attributes.iter().find(|one| one.key == name)?;
    found.value.clone()?.value
}

fn words(span: &Span, name: &str) -> String {
    let found = match attribute(span, name) {
        Some(Value::StringValue(text)) => Some(text),
        Some(_) | None => None,
    };
    found.expect(name)
}

fn number(span: &Span, name: &str) -> i64 {
    let found = match attribute(span, name) {
        Some(Value::IntValue(number)) => Some(number),
        Some(_) | None => None,
    };
    found.expect(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn managers_and_a_worker_export_the_life_of_an_operation_as_one_trace() {
    let place = Place::new("otlp").await;
    let collector = Collector::start().await;
    let marker = folder().join("tried");
    let script = format!(
        "cat >/dev/null; test -e {0} && exit 0; touch {0}; exit 75",
        marker.display()
    );
    let handlers = file(
        "handlers.toml",
        &format!("[[handler]]\nmessage = \"Flaky\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\n"),
    );
    let handlers = handlers.display().to_string();
    let start = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        Process::start(collector.watch(&mut command))
    };
    let managers = [
        start(&["queue-manager", "--listen=127.0.0.1:0"]),
        start(&["queue-manager", "--listen=127.0.0.1:0"]),
    ];
    let worker = start(&["worker", "--handlers", &handlers]);
    let mut submit = place.command(&["submit", "Flaky", "--retry-initial", "10ms", "--wait"]);
    submit.args(["--output", "json"]);
    submit.env("DRUMLINE_SERVER", managers[0].url());
    submit.env("TRACEPARENT", format!("00-{TRACE}-{PRODUCER}-01"));
    let submitted = end(&mut submit);
    assert_eq!(submitted.code, 0, "{submitted:?}");
    let id = text(&submitted.json()[0], "id");
    // The last spans leave before a process ends.
    assert_eq!(worker.terminate(), 0);
    for manager in managers {
        assert_eq!(manager.terminate(), 0);
    }

    let trace = collector.trace();
    let named = |name: &str| -> Vec<&Span> {
        let spans = trace.iter().map(|(_, span)| span);
        spans.filter(|span| span.name == name).collect()
    };
    let names: Vec<&str> = trace.iter().map(|(_, span)| span.name.as_str()).collect();
    let [create] = named("create default")[..] else {
        panic!("one span of the create: {names:?}");
    };
    assert_eq!(create.kind, SpanKind::Producer as i32);
    assert_eq!(words(create, "messaging.message.id"), id);
    let sends = named("send default");
    assert!(!sends.is_empty(), "{names:?}");
    let (waits, runs) = (named("wait default"), named("process default"));
    assert_eq!((waits.len(), runs.len()), (2, 2), "{names:?}");
    for (wait, run) in waits.iter().zip(&runs) {
        assert_eq!(run.kind, SpanKind::Consumer as i32);
        assert_eq!(wait.kind, SpanKind::Internal as i32);
        for span in [wait, run] {
            assert_eq!(span.parent_span_id, create.span_id, "{span:?}");
            assert_eq!(words(span, "messaging.system"), "drumline");
            assert_eq!(words(span, "messaging.destination.name"), "default");
            assert_eq!(words(span, "messaging.message.id"), id);
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        }
        assert_eq!(words(run, "messaging.operation.name"), "process");
        assert_eq!(words(run, "messaging.operation.type"), "process");
        let [link] = &run.links[..] else {
            panic!("one link: {run:?}");
        };
        assert_eq!(link.span_id, create.span_id);
        assert_eq!(hex(&link.trace_id), TRACE);
    }
    let [first, second] = runs[..] else {
        panic!("two runs: {names:?}");
    };
    assert_eq!(number(first, "drumline.attempt"), 1);
    assert_eq!(number(second, "drumline.attempt"), 2);
    let status = first.status.clone().expect("a status");
    assert_eq!(status.code, SpanStatus::Error as i32, "{first:?}");
    assert!(!status.message.is_empty(), "{first:?}");
    assert_eq!(words(first, "error.type"), "HandlerFailed");
    assert_eq!(words(first, "drumline.outcome"), "suspended");
    let code = second.status.as_ref().map_or(0, |status| status.code);
    assert_ne!(code, SpanStatus::Error as i32, "{second:?}");
    assert_eq!(attribute(second, "error.type"), None);
    // More than one service has its part in the trace.
    let mut services: Vec<&str> = trace.iter().map(|(service, _)| service.as_str()).collect();
    services.sort_unstable();
    services.dedup();
    assert!(services.len() > 1, "{services:?}");
}

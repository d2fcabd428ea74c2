//! Spans leave the process over OTLP/HTTP, switched on and configured by the
//! standard variables alone.
//!
//! The environment belongs to a process, so the exporting side is a process of
//! its own: this test program, started again for one test.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use drumline_telemetry::{Options, init};

/// Reads one request and answers 200; returns the request, as far as it is
/// text.
fn collect(listener: &TcpListener) -> std::io::Result<String> {
    let (mut stream, _) = listener.accept()?;
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !is_whole(&request) {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        request.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
    answer(&mut stream)?;
    Ok(String::from_utf8_lossy(&request).into_owned())
}

fn answer(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

/// Returns true if head and body have arrived.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|length| length.trim().parse::<usize>().ok());
    length.is_none_or(|length| request.len() >= head.len() + 4 + length)
}

#[test]
fn spans_arrive_at_the_collector_that_the_variables_name() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let program = std::env::current_exe().expect("this program");
    let mut exporting = Command::new(program)
        .args(["--exact", "one_span_is_exported", "--ignored"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))
        .env("OTEL_SERVICE_NAME", "named-by-variable")
        .spawn()
        .expect("this program again");
    let request = collect(&listener).expect("a request");
    assert!(exporting.wait().expect("its end").success());
    assert!(request.starts_with("POST /v1/traces "), "{request}");
    for text in ["named-by-variable", "create default", "drumline"] {
        assert!(request.contains(text), "{text} is not in {request}");
    }
}

#[tokio::test]
#[ignore = "runs in the process that the test above starts, with its environment"]
async fn one_span_is_exported() {
    let options = Options {
        export: true,
        ..Options::default()
    };
    let telemetry = init(&options).expect("set up");
    let create = tracing::info_span!(target: "drumline_test", "create default");
    create.in_scope(|| tracing::info!(target: "drumline_test", "within"));
    drop(create);
    telemetry.shutdown().await;
}

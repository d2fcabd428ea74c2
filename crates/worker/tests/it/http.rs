//! Web services as handlers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use drumline_protocol::{Event, Operation, OperationId, RetryPolicy, Status};
use drumline_worker::Builder;
use drumline_worker::handlers_file::HandlersFile;
use drumline_worker::supervise::Supervisor;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

use crate::harness::{Draft, Harness, draft, in_time};

/// The request that the service was sent.
#[derive(Debug)]
pub(crate) struct Request {
    headers: Vec<(String, String)>,
    body: Value,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value)
    }
}

/// A web service that gives the same answer to all, or none.
async fn service(
    answer: Option<&str>,
) -> (
    Harness,
    drumline_worker::RunningWorker,
    mpsc::UnboundedReceiver<Request>,
) {
    service_in_turn(vec![answer.map(str::to_owned)]).await
}

/// A web service that gives these answers one after the other, and the last one from
/// then on.
async fn service_in_turn(
    answers: Vec<Option<String>>,
) -> (
    Harness,
    drumline_worker::RunningWorker,
    mpsc::UnboundedReceiver<Request>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, hear) = mpsc::unbounded_channel();
    tokio_util::task::TaskTracker::new().spawn(async move {
        let mut answers = answers.into_iter();
        let mut answer = None;
        while let Ok((stream, _)) = listener.accept().await {
            answer = answers.next().unwrap_or(answer);
            let request = serve(stream, answer.as_deref()).await;
            if tell.send(request).is_err() {
                return;
            }
        }
    });
    let text = format!(
        "[[handler]]\nmessage = '*'\nhttp = 'http://{address}/hook'\nheaders = {{ X-Key = 'k' }}"
    );
    let builder = HandlersFile::parse(&text, Path::new("/"))
        .expect("a good file")
        .register(Harness::builder(), &Supervisor::at("none"))
        .expect("registered");
    let harness = Harness::new();
    let worker = harness.start(builder).await;
    (harness, worker, hear)
}

async fn serve(stream: TcpStream, answer: Option<&str>) -> Request {
    let mut stream = BufReader::new(stream);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("a line");
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ") {
            headers.push((name.to_lowercase(), value.to_owned()));
        }
    }
    let mut request = Request {
        headers,
        body: Value::Null,
    };
    let length = request.header("content-length").parse().expect("a length");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("the body");
    request.body = serde_json::from_slice(&body).expect("JSON");
    match answer {
        Some(answer) => stream.write_all(answer.as_bytes()).await.expect("sent"),
        // Waits until the client has closed the connection.
        None => drop(stream.read_u8().await),
    }
    request
}

/// Runs an operation whose handler answers so, to its end.
pub(crate) async fn answered(answer: &str) -> (Harness, OperationId) {
    let (harness, worker, _hear) = service(Some(answer)).await;
    let id = harness.submit(draft("X")).await;
    harness.completed(id).await;
    worker.drain().await;
    (harness, id)
}

async fn called(answer: &str) -> (Operation, Request) {
    let retry = RetryPolicy {
        max_retries: 1,
        initial_ms: 1,
        ..RetryPolicy::default()
    };
    let draft = draft("X").token("t").data(&json!({"n": 1}));
    called_with(answer, Draft { retry, ..draft }).await
}

/// Runs an operation whose handler answers so, to the end of the run.
pub(crate) async fn called_with(answer: &str, draft: Draft) -> (Operation, Request) {
    let (harness, worker, mut hear) = service(Some(answer)).await;
    let id = harness.submit(draft).await;
    let request = in_time("request", hear.recv()).await.expect("called");
    let operation = harness
        .until(id, |operation| {
            operation.header.status != Status::InProgress
        })
        .await;
    worker.drain().await;
    (operation, request)
}

fn message(operation: &Operation) -> &str {
    let fault = operation.report.fault.as_ref();
    &fault.expect("a fault").message
}

#[tokio::test]
async fn the_service_gets_the_operation_and_gives_the_result() {
    let (operation, request) = called(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"rows\": 3}",
    )
    .await;
    assert_eq!(operation.header.status, Status::Succeeded);
    assert_eq!(operation.report.result.as_deref(), Some("{\"rows\": 3}"));
    assert_eq!(request.body["id"], operation.id.to_string());
    assert_eq!(request.body["data"], json!({"n": 1}));
    let id = operation.id.to_string();
    assert_eq!(request.header("drumline-operation-id"), id);
    assert_eq!(request.header("drumline-attempt"), "1");
    assert!(request.header("drumline-fence").parse::<u64>().is_ok());
    assert_eq!(request.header("traceparent").len(), 55);
    assert_eq!(request.header("x-key"), "k");
    let body = &operation.body;
    assert_eq!(request.header("drumline-organization"), body.organization.0);
    assert_eq!(request.header("drumline-caller"), body.owner);
}

#[tokio::test]
async fn an_answer_without_json_is_a_success_without_result() {
    let (operation, _) =
        called("HTTP/1.1 202 Accepted\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\n42")
            .await;
    assert_eq!(operation.header.status, Status::Succeeded);
    assert_eq!(operation.report.result, None);
    let (operation, _) = called("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(operation.header.status, Status::Succeeded);
}

#[tokio::test]
async fn a_busy_service_is_called_again_when_it_says() {
    let (operation, _) =
        called("HTTP/1.1 429 Slow Down\r\nretry-after: 3600\r\ncontent-length: 4\r\n\r\nfull")
            .await;
    assert_eq!(operation.header.status, Status::Waiting);
    // A tenth more at most, so that not all come back at once.
    assert!((3600..=3960).contains(&delay(&operation)));
    assert_eq!(operation.header.retry_count, 0);
    assert!(message(&operation).ends_with("full"));
}

/// The seconds until the next try.
fn delay(operation: &Operation) -> u64 {
    let header = &operation.header;
    let until = header.postpone_until.expect("a time");
    until.since(header.modified_on).as_secs()
}

#[tokio::test]
async fn a_short_retry_after_does_not_shorten_the_policys_delay() {
    for (status, counted) in [("503 Down", 1), ("429 Slow Down", 0)] {
        let answer = format!("HTTP/1.1 {status}\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n");
        let retry = RetryPolicy {
            initial_ms: 60_000,
            ..RetryPolicy::default()
        };
        let (operation, _) = called_with(
            &answer,
            Draft {
                retry,
                ..draft("X")
            },
        )
        .await;
        assert_eq!(operation.header.status, Status::Waiting, "{status}");
        assert_eq!(delay(&operation), 60, "{status}");
        assert_eq!(operation.header.retry_count, counted, "{status}");
    }
}

#[tokio::test]
async fn a_status_that_says_later_is_tried_again_whatever_foreign_code_the_body_has() {
    let foreign = r#"{"error":{"code":"0x80999999"}}"#;
    let service_protection = r#"{"error":{"code":"0x80072322"}}"#;
    for (status, headers, body) in [
        ("408 Request Timeout", "", ""),
        ("425 Too Early", "", ""),
        ("413 Content Too Large", "retry-after: 9\r\n", ""),
        ("423 Locked", "retry-after: 9\r\n", ""),
        ("503 Down", "", foreign),
        ("429 Slow Down", "", foreign),
        ("429 Slow Down", "", service_protection),
        ("400 Bad Request", "", service_protection),
    ] {
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
        let draft = Draft {
            retry: RetryPolicy::default(),
            ..draft("X")
        };
        let (operation, _) = called_with(&answer, draft).await;
        assert_eq!(operation.header.status, Status::Waiting, "{status} {body}");
        assert!(operation.header.postpone_until.is_some(), "{status} {body}");
    }
    for status in ["413 Content Too Large", "423 Locked", "400 Bad Request"] {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        let (operation, _) = called(&answer).await;
        assert_eq!(operation.header.status, Status::Failed, "{status}");
    }
}

#[tokio::test]
async fn an_error_of_more_than_16_kib_is_read_whole() {
    let text = "x".repeat(20_000);
    let body = format!(r#"{{"error":{{"message":"{text}","code":"0x80040220"}}}}"#);
    let length = body.len();
    let answer = format!("HTTP/1.1 500 Oh\r\ncontent-length: {length}\r\n\r\n{body}");
    let (operation, _) = called(&answer).await;
    assert_eq!(operation.header.status, Status::Waiting);
    assert_eq!(operation.header.postpone_until, None);
}

#[tokio::test]
async fn a_service_that_does_not_let_us_in_needs_a_person() {
    for answer in [
        "HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n",
    ] {
        let (operation, _) = called(answer).await;
        assert_eq!(operation.header.status, Status::Waiting);
        assert_eq!(operation.header.postpone_until, None);
    }
}

#[tokio::test]
async fn what_the_service_refuses_has_failed() {
    for answer in [
        "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\ngone",
        "HTTP/1.1 302 Found\r\nlocation: /else\r\ncontent-length: 4\r\n\r\ngone",
    ] {
        let (operation, _) = called(answer).await;
        assert_eq!(operation.header.status, Status::Failed);
        assert!(message(&operation).contains("gone"));
    }
}

#[tokio::test]
async fn a_service_that_fails_or_cannot_be_reached_is_called_again() {
    let (harness, worker, mut hear) =
        service(Some("HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n")).await;
    let retry = RetryPolicy {
        max_retries: 2,
        initial_ms: 1,
        ..RetryPolicy::default()
    };
    let id = harness
        .submit(Draft {
            retry,
            ..draft("X")
        })
        .await;
    let operation = harness.completed(id).await;
    assert_eq!(operation.header.status, Status::Failed);
    assert_eq!(operation.header.starts, 3);
    for _ in 0..3 {
        assert!(in_time("call", hear.recv()).await.is_some());
    }
    worker.drain().await;
}

#[tokio::test]
async fn a_service_saves_a_checkpoint_of_a_mebibyte_and_finds_it_again() {
    let seen = "x".repeat((1 << 20) - 20);
    let checkpoint = format!(r#"{{"page":7,"seen":"{seen}"}}"#);
    assert_eq!(checkpoint.len(), 1 << 20);
    let body = format!(r#"{{"error": {{"message": "later"}}, "checkpoint": {checkpoint}}}"#);
    let length = body.len();
    let (harness, worker, mut hear) = service_in_turn(vec![
        Some(format!(
            "HTTP/1.1 503 Later\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )),
        Some("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n7".to_owned()),
    ])
    .await;
    let id = harness.submit(draft("X")).await;
    let first = in_time("call", hear.recv()).await.expect("called");
    assert_eq!(first.body["checkpoint"], Value::Null);
    let operation = harness.completed(id).await;
    assert_eq!(operation.header.status, Status::Succeeded);
    let second = in_time("call", hear.recv()).await.expect("called");
    let found: Value = serde_json::from_str(&checkpoint).expect("JSON");
    assert!(second.body["checkpoint"] == found);
    worker.drain().await;
}

/// A service that answers when the test says so.
async fn slow_service() -> (
    Harness,
    impl Fn() -> Builder,
    Arc<Notify>,
    mpsc::UnboundedReceiver<String>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, hear) = mpsc::unbounded_channel();
    let go = Arc::new(Notify::new());
    let gone = Arc::clone(&go);
    tokio_util::task::TaskTracker::new().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut attempt = String::new();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.expect("a line");
                if let Some(value) = line.to_lowercase().strip_prefix("drumline-attempt: ") {
                    value.trim().clone_into(&mut attempt);
                }
                if line.trim_end().is_empty() {
                    break;
                }
            }
            if tell.send(attempt).is_err() {
                return;
            }
            gone.notified().await;
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n7";
            // The worker may have closed the connection.
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    let text = format!("[[handler]]\nmessage = '*'\nhttp = 'http://{address}/hook'");
    let builder = move || {
        HandlersFile::parse(&text, Path::new("/"))
            .expect("a good file")
            .register(Harness::builder(), &Supervisor::at("none"))
            .expect("registered")
    };
    (Harness::new(), builder, go, hear)
}

#[tokio::test]
async fn an_answer_within_the_grace_counts_after_a_pause_and_in_a_drain() {
    let (harness, builder, go, mut hear) = slow_service().await;
    let worker = harness.start(builder()).await;
    let id = harness.submit(draft("X")).await;
    in_time("call", hear.recv()).await;
    harness.ask(id, Event::Pause).await;
    harness.reaches(id, Status::Pausing).await;
    go.notify_one();
    assert_eq!(harness.completed(id).await.header.status, Status::Succeeded);

    let id = harness.submit(draft("X")).await;
    in_time("call", hear.recv()).await;
    let (drained, ()) = tokio::join!(worker.drain(), async { go.notify_one() });
    assert_eq!(drained.left_behind, 0);
    let operation = harness.get(id).await;
    assert_eq!(operation.header.status, Status::Succeeded);
    assert_eq!(operation.report.result.as_deref(), Some("7"));
}

#[tokio::test]
async fn a_call_that_a_drain_has_given_up_is_repeated_with_another_attempt_number() {
    let (harness, again, go, mut hear) = slow_service().await;
    let builder = again()
        .grace(Duration::from_millis(500))
        .drain_timeout(Duration::from_millis(1_000));
    let worker = harness.start(builder).await;
    let id = harness.submit(draft("X")).await;
    assert_eq!(in_time("call", hear.recv()).await.as_deref(), Some("1"));
    worker.drain().await;
    assert_eq!(
        harness.get(id).await.header.status,
        Status::WaitingForResources
    );
    // The service still works on the first call when the second one comes.
    let worker = harness.start(again()).await;
    go.notify_one();
    assert_eq!(in_time("call", hear.recv()).await.as_deref(), Some("2"));
    go.notify_one();
    assert_eq!(harness.completed(id).await.header.status, Status::Succeeded);
    worker.drain().await;
}

#[tokio::test]
async fn a_cancelled_call_is_dropped() {
    let (harness, worker, mut hear) = service(None).await;
    let id = harness.submit(draft("X")).await;
    harness.reaches(id, Status::InProgress).await;
    harness.ask(id, Event::Cancel).await;
    assert_eq!(harness.completed(id).await.header.status, Status::Canceled);
    // The service has seen the connection end.
    in_time("end", hear.recv()).await;
    worker.drain().await;
}

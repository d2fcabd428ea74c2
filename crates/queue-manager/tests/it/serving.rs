//! The server on a real port, from its start to its end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use drumline_backend::Ids;
use drumline_queue_manager::options::Http;
use drumline_queue_manager::{Options, QueueManager, Server};
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::Client;
use crate::support::{backend, manager};

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

const READY: &str = "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n";

/// A server with limits of its own.
async fn limited(http: Http) -> Server {
    let options = Options {
        http,
        ..Options::default()
    };
    let manager = QueueManager::new(backend(), Ids::random(), options);
    Server::start(any_port(), manager).await.expect("a port")
}

/// The head of a create, with more headers.
fn create(headers: &str) -> String {
    format!(
        "POST /v1/operations HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}\r\n\r\n"
    )
}

/// Reads what comes until there is a whole head.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 1024];
        let read = stream.read(&mut part).await.expect("an answer");
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&head));
        head.extend_from_slice(&part[..read]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

async fn ask(server: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_server_answers_until_it_is_shut_down() {
    let manager = manager(&backend());
    let server = Server::start(any_port(), manager.clone())
        .await
        .expect("a port");
    let address = server.address();
    let ready = "GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = ask(address, ready).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // A long-poll that is under way is answered, at once and in full.
    let body = r#"{"messageName":"a"}"#;
    let create = format!(
        "POST /v1/operations HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let created = ask(address, &create).await.expect("an answer");
    let location = created
        .lines()
        .find_map(|line| line.strip_prefix("location: "))
        .expect("a location");
    let wait = format!("GET {location}?wait=30s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(wait.as_bytes()).await.expect("sent");
    // A second request on another connection is answered after the first was
    // accepted, so the first is under way when this returns.
    ask(address, ready).await.expect("an answer");
    let shut = server.shutdown(Duration::from_secs(10));
    let mut answer = String::new();
    let ((), read) = tokio::join!(shut, stream.read_to_string(&mut answer));
    read.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("WaitingForResources"), "{answer}");

    manager.close().await;
    assert!(ask(address, ready).await.is_err());
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error() {
    let manager = manager(&backend());
    let first = Server::start(any_port(), manager.clone())
        .await
        .expect("a port");
    let second = Server::start(first.address(), manager).await;
    assert_eq!(
        second.map_err(|error| error.kind()).err(),
        Some(io::ErrorKind::AddrInUse)
    );
}

#[tokio::test]
async fn half_a_body_and_wrong_framing_are_bad_requests() {
    let manager = manager(&backend());
    let server = Server::start(any_port(), manager).await.expect("a port");
    let half = create("content-length: 100") + "{\"messageName\":";
    let framing = create("transfer-encoding: chunked") + "ZZ\r\n{}\r\n0\r\n\r\n";
    for request in [half, framing] {
        let mut stream = TcpStream::connect(server.address())
            .await
            .expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream.shutdown().await.expect("half closed");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    server.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_read_to_its_end_before_the_answer() {
    let manager = manager(&backend());
    let server = Server::start(any_port(), manager).await.expect("a port");
    let mut stream = TcpStream::connect(server.address())
        .await
        .expect("a connection");
    let bytes = 8 << 20;
    let request = create(&format!("content-length: {bytes}"));
    stream.write_all(request.as_bytes()).await.expect("sent");
    // As common clients do: everything is sent before the answer is read.
    stream.write_all(&vec![b' '; bytes]).await.expect("sent");
    let answer = head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(!answer.contains("connection: close"), "{answer}");

    // A client that asks first sends nothing.
    let mut stream = TcpStream::connect(server.address())
        .await
        .expect("a connection");
    let request = create(&format!("expect: 100-continue\r\ncontent-length: {bytes}"));
    stream.write_all(request.as_bytes()).await.expect("sent");
    let answer = head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    server.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_connection_that_sends_half_a_request_does_not_stay() {
    let server = limited(Http {
        header_timeout: Duration::from_millis(300),
        body_timeout: Duration::from_millis(100),
        ..Http::default()
    })
    .await;
    // Nothing at all, half a head, and idle after a request.
    for request in ["", "GET /readyz HTTP/1.1\r\nhost:", READY] {
        let mut stream = TcpStream::connect(server.address())
            .await
            .expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("it is closed");
    }
    let half = create("content-length: 100") + "{";
    let answer = ask(server.address(), &half).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    server.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_connection_too_many_waits_until_another_has_gone() {
    let server = limited(Http {
        connections: 1,
        ..Http::default()
    })
    .await;
    let mut first = TcpStream::connect(server.address())
        .await
        .expect("a connection");
    first.write_all(READY.as_bytes()).await.expect("sent");
    head(&mut first).await;
    let mut second = TcpStream::connect(server.address())
        .await
        .expect("a connection");
    second.write_all(READY.as_bytes()).await.expect("sent");
    // The first is served again and again meanwhile.
    for _ in 0..3 {
        first.write_all(READY.as_bytes()).await.expect("sent");
        head(&mut first).await;
        assert!(second.try_read(&mut [0; 1]).is_err(), "it is not served");
    }
    drop(first);
    head(&mut second).await;
    server.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test(start_paused = true)]
async fn bodies_share_a_bounded_memory() {
    let options = Options {
        http: Http {
            body_memory: 0,
            ..Http::default()
        },
        ..Options::default()
    };
    let client = Client::of(&QueueManager::new(backend(), Ids::random(), options));
    let json = [("content-type", "application/json")];
    let endless = || Body::from_stream(stream::pending::<Result<Bytes, io::Error>>());
    let first = client.send("POST", "/v1/operations", &json, endless());
    let second = client.send("POST", "/v1/operations", &json, endless());
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status.as_u16(), 408, "{first:?}");
    assert_eq!(second.status.as_u16(), 503, "{second:?}");
    assert_eq!(second.header("retry-after"), "2");
    let small = client.send("POST", "/v1/operations", &json, r#"{"messageName":"a"}"#);
    assert_eq!(small.await.status.as_u16(), 201);
}

//! The server on a real port, from its start to its end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use drumline_queue_manager::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{backend, manager};

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
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
    let (shut, read) = tokio::join!(shut, stream.read_to_string(&mut answer));
    shut.expect("it ended well");
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

//! Connections that do nothing, in numbers, and callers that want something.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::run::{Process, drumline};

/// Connections that have asked once and say no more.
const IDLE: usize = 10_000;
/// Connections whose request never seems to end.
const SLOW: usize = 500;
/// The most memory of the process in all, its program included.
const MOST_KB: u64 = 200_000;

const BODY: &str = r#"{"messageName":"Echo"}"#;

/// Lets this process, and those that it starts, open a file per connection.
fn allow_files() {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(IDLE + SLOW + 1_000).expect("a number");
    assert!(
        limit.maximum.is_none_or(|most| most >= wanted),
        "this test needs {wanted} open files: ulimit -n has {limit:?}"
    );
    if limit.current.is_some_and(|now| now < wanted) {
        limit.current = Some(wanted);
        setrlimit(Resource::Nofile, limit).expect("within the limit");
    }
}

fn connect(service: &Process) -> TcpStream {
    let url = service.url();
    let address = url.strip_prefix("http://").expect("plain HTTP");
    TcpStream::connect(address).expect("it listens")
}

fn create() -> String {
    format!(
        "POST /v1/operations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        BODY.len()
    )
}

/// The status of the next answer, of which the rest is short.
fn status(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).expect("an answer");
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&part[..read]);
    }
    let text = String::from_utf8_lossy(&answer);
    text.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// The memory that a process has taken for itself, in KB: without the pages of its
/// program, of which a debug build has several times as many.
#[cfg(target_os = "linux")]
fn memory(service: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", service.id())).expect("it lives");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

#[cfg(target_os = "linux")]
#[test]
fn callers_are_served_beside_ten_thousand_idle_and_five_hundred_slow_connections() {
    allow_files();
    let mut command = drumline();
    command.args(["dev", "--listen", "127.0.0.1:0", "--log", "off"]);
    command.args(["--max-connections", "11000", "--http-header-timeout", "10m"]);
    let service = Process::start(command.args(["--http-body-timeout", "10m"]));
    let mut idle: Vec<TcpStream> = (0..IDLE)
        .map(|_| {
            let mut stream = connect(&service);
            stream
                .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
                .expect("sent");
            assert_eq!(status(&mut stream), "200");
            stream
        })
        .collect();
    let mut slow: Vec<TcpStream> = (0..SLOW)
        .map(|_| {
            let mut stream = connect(&service);
            let begun = create() + &BODY[..1];
            stream.write_all(begun.as_bytes()).expect("sent");
            stream
        })
        .collect();
    // The slow ones go on between the others, a byte at a time.
    for at in 1..BODY.len() - 1 {
        for stream in &mut slow {
            stream.write_all(&BODY.as_bytes()[at..=at]).expect("sent");
        }
        let mut other = connect(&service);
        let whole = create() + BODY;
        other.write_all(whole.as_bytes()).expect("sent");
        assert_eq!(status(&mut other), "201");
    }
    let memory = memory(&service);
    assert!(memory <= MOST_KB, "{memory} KB");
    // They were slow, and are served all the same.
    for stream in &mut slow {
        stream
            .write_all(&BODY.as_bytes()[BODY.len() - 1..])
            .expect("sent");
        assert_eq!(status(stream), "201");
    }
    let last = idle.last_mut().expect("a connection");
    last.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .expect("sent");
    assert_eq!(status(last), "200");
}

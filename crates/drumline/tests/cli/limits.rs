//! Limits hold over all queue managers, and outlive none of them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::dev::Dev;
use crate::run::{Process, drumline, end, file};
use crate::servers::Place;

/// The time that a dead manager's places are held, and some more for a slow
/// machine.
const LEASE: Duration = Duration::from_secs(120);

/// The answer of a manager.
#[derive(Debug)]
struct Answer {
    status: u16,
    text: String,
}

impl Answer {
    /// A header as a number.
    fn retry_after(&self) -> Option<u64> {
        let mut lines = self.text.lines();
        lines.find_map(|line| line.strip_prefix("retry-after: ")?.parse().ok())
    }
}

fn connect(manager: &Process) -> TcpStream {
    let url = manager.url();
    let address = url.strip_prefix("http://").expect("plain HTTP");
    TcpStream::connect(address).expect("it listens")
}

/// A request without a library in between, as a gateway would send it.
fn ask(manager: &Process, caller: &str) -> Answer {
    let mut stream = connect(manager);
    let request = format!(
        "GET /v1/queues HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ndrumline-caller: {caller}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    Answer {
        status: status.expect("a status"),
        text,
    }
}

/// Asks until the wanted status is answered.
async fn ask_until(what: &str, manager: &Process, caller: &str, wanted: u16) {
    let end = Instant::now() + LEASE;
    loop {
        let answer = ask(manager, caller);
        if answer.status == wanted {
            return;
        }
        assert!(Instant::now() < end, "{what}: {answer:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn limits_hold_over_managers_and_a_killed_one_gives_back_what_it_held() {
    let place = Place::new("limits").await;
    let start = || {
        Process::start(&mut place.command(&[
            "queue-manager",
            "--listen=127.0.0.1:0",
            "--protect-window=1h",
            "--protect-requests=20",
            "--protect-concurrent=1",
        ]))
    };
    let (one, other) = (start(), start());

    // So many requests of one caller, through either of them.
    for manager in [&one, &other].into_iter().cycle().take(20) {
        ask_until("let in", manager, "jim", 200).await;
    }
    for manager in [&one, &other] {
        let refused = ask(manager, "jim");
        assert_eq!(refused.status, 429, "{refused:?}");
        assert!(refused.text.contains("0x80072322"), "{refused:?}");
        let wait = refused.retry_after().expect("when to come back");
        assert!((1..=3_720).contains(&wait), "{refused:?}");
    }

    // A request in progress: its handler asks for the body, which does not
    // come.
    let mut held = connect(&one);
    held.write_all(
        b"POST /v1/operations HTTP/1.1\r\nhost: localhost\r\ndrumline-caller: jo\r\n\
          content-type: application/json\r\ncontent-length: 100\r\n\
          expect: 100-continue\r\n\r\n",
    )
    .expect("sent");
    let mut asked = [0; 25];
    held.read_exact(&mut asked).expect("it asks");
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    let refused = ask(&other, "jo");
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.text.contains("0x80072326"), "{refused:?}");
    // With SIGKILL.
    drop(one);
    ask_until("the place of the dead is free", &other, "jo", 200).await;
}

#[test]
fn quotas_are_in_force_shown_and_checked_at_the_start() {
    let quotas = file("quotas.toml", "[default]\nopen = 1\n");
    let path = quotas.display().to_string();
    let dev = Dev::start_with(&["--quota-file", &path]);
    let first = dev.run(&["submit", "Unknown"]);
    assert_eq!(first.code, 0, "{first:?}");
    let refused = dev.run(&["submit", "Unknown"]);
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.err.contains("QuotaExceeded"), "{refused:?}");
    let shown = dev.run(&["quotas"]);
    let open = shown.out.lines().find(|line| line.starts_with("open"));
    let numbers: Vec<&str> = open.unwrap_or_default().split_whitespace().collect();
    assert_eq!(numbers, ["open", "1", "1"], "{shown:?}");
    let json = dev.run(&["quotas", "-o", "json"]).json();
    assert_eq!(json[0]["quotas"][0]["limit"], 1, "{json:?}");

    let broken = file("broken.toml", "[default]\nopne = 1\n");
    let path = broken.display().to_string();
    let ended = end(drumline().args(["dev", "--quota-file", &path]));
    assert_eq!(ended.code, 64, "{ended:?}");
    assert!(
        ended.err.contains("opne") && ended.err.contains("what to do"),
        "{ended:?}"
    );
}

//! `check`: a store that was damaged is told and repaired while a manager and a worker run.

use drumline_protocol::OperationId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::run::{Process, end, file};
use crate::servers::Place;

/// Runs a command on the Redis of a place, and returns the first bytes of the answer.
async fn ask(place: &Place, words: &[&[u8]]) -> Vec<u8> {
    let address = place.redis.strip_prefix("redis://").expect("an address");
    let address = address.split('/').next().unwrap_or(address);
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut command = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        command.extend(format!("${}\r\n", word.len()).as_bytes());
        command.extend([word, b"\r\n".as_slice()].concat());
    }
    stream.write_all(&command).await.expect("sent");
    let mut answer = vec![0; 64];
    let length = stream.read(&mut answer).await.expect("an answer");
    answer.truncate(length);
    answer
}

#[tokio::test]
async fn a_damaged_store_is_told_repaired_and_goes_on() {
    let place = Place::new("check").await;
    let unused = end(&mut place.command(&["check"]));
    assert_eq!(unused.code, 4, "{unused:?}");
    let handlers = file(
        "handlers.toml",
        "[[handler]]\nmessage = \"Greet\"\ncommand = [\"sh\", \"-c\", \"cat >/dev/null; echo '{\\\"hello\\\": \\\"you\\\"}'\"]\n",
    );
    let handlers = handlers.display().to_string();
    let manager = Process::start(&mut place.command(&["queue-manager", "--listen=127.0.0.1:0"]));
    let url = manager.url();
    let worker = Process::start(&mut place.command(&["worker", "--handlers", &handlers]));
    let client = |arguments: &[&str]| end(place.command(arguments).env("DRUMLINE_SERVER", &url));
    let submitted = client(&["submit", "Greet", "--wait", "-o", "json"]);
    assert_eq!(submitted.code, 0, "{submitted:?}");
    let id = submitted.json()[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let sound = client(&["check"]);
    assert_eq!(sound.code, 0, "{sound:?}");
    assert!(sound.out.contains("no faults"), "{sound:?}");

    // The set of another state has it, too.
    let id: OperationId = id.parse().expect("an id");
    let partition = id.partition();
    let key = format!("{}:{{{partition}}}:index:1", place.namespace);
    let entered = ask(&place, &[b"ZADD", key.as_bytes(), b"0", id.as_bytes()]).await;
    assert_eq!(entered, b":1\r\n");
    for (arguments, code, repaired) in [
        (&["check", "-o", "json"][..], 8, false),
        (&["check", "--repair", "-o", "json"], 0, true),
    ] {
        let checked = client(arguments);
        assert_eq!(checked.code, code, "{checked:?}");
        let lines = checked.json();
        assert_eq!(lines[0]["kind"], "state-entry", "{lines:?}");
        assert_eq!(lines[0]["operationId"], id.to_string(), "{lines:?}");
        assert_eq!(lines[0]["repaired"], repaired, "{lines:?}");
        let summary = lines.last().expect("a summary");
        assert_eq!(summary["kinds"][0]["found"], 1, "{lines:?}");
        assert_eq!(summary["complete"], true, "{lines:?}");
    }
    let number = partition.to_string();
    let sound = client(&["check", "--partition", &number]);
    assert_eq!(sound.code, 0, "{sound:?}");
    let unknown = client(&["check", "--partition", "4000"]);
    assert_eq!(unknown.code, 64, "{unknown:?}");
    assert_eq!(worker.terminate(), 0);
    assert_eq!(manager.terminate(), 0);
}

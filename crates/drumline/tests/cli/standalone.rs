//! `drumline standalone`: what was answered is there after `kill -9`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use serde_json::Value;

use crate::run::{Ended, Process, drumline, end, file, folder, text};

/// A running `drumline standalone`. It is killed when it is dropped.
struct Standalone {
    process: Process,
    url: String,
}

impl Standalone {
    fn start(data: &Path, flags: &[&str]) -> Self {
        let process = Process::start(&mut command(data, flags));
        let url = process.url();
        Self { process, url }
    }

    /// Ends it as `kill -9` does.
    fn kill(self) {
        drop(self);
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = drumline();
        end(command.args(arguments).env("DRUMLINE_SERVER", &self.url))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[arguments, &["--output", "json"]].concat());
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.json().remove(0)
    }

    fn submit(&self, arguments: &[&str]) -> String {
        text(&self.json(&[&["submit"], arguments].concat()), "id")
    }
}

fn command(data: &Path, flags: &[&str]) -> Command {
    let mut command = drumline();
    command
        .args(["standalone", "--listen", "127.0.0.1:0", "--log", "off"])
        .args(flags)
        .arg("--data")
        .arg(data);
    command
}

/// A shell with the environment of the program.
fn drumline_in_shell(script: &str) -> Command {
    let program = drumline();
    let mut shell = Command::new("sh");
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.args(["-c", script, "sh"]);
    shell
}

fn data() -> PathBuf {
    folder().join("data")
}

/// Creates an operation; `None` if there is no answer.
fn create(address: &str, token: &str) -> Option<String> {
    let body = format!(r#"{{"messageName":"Echo","dependencyToken":"{token}","data":1}}"#);
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!(
        "POST /v1/operations HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 201"), "{answer}");
    let operation: Value = serde_json::from_str(body).ok()?;
    Some(text(&operation, "id"))
}

#[test]
fn what_was_answered_survives_a_kill_and_is_executed() {
    let data = data();
    let first = Standalone::start(&data, &["--lease", "1s"]);
    let address = first.url.strip_prefix("http://").unwrap().to_owned();
    let (send, answered) = mpsc::channel();
    let producers: Vec<_> = (0..8)
        .map(|producer| {
            let (send, address) = (send.clone(), address.clone());
            thread::spawn(move || {
                let token = format!("token-{producer}");
                while let Some(id) = create(&address, &token) {
                    // The receiver takes what it needs, and the rest at the end.
                    drop(send.send(id));
                }
            })
        })
        .collect();
    drop(send);
    // The kill comes in the middle of everything.
    let mut ids: BTreeSet<String> = answered.iter().take(400).collect();
    first.kill();
    ids.extend(answered.iter());
    for producer in producers {
        producer.join().unwrap();
    }
    assert!(ids.len() >= 400);

    let second = Standalone::start(&data, &["--lease", "1s"]);
    for some in ids.iter().collect::<Vec<_>>().chunks(100) {
        let some: Vec<&str> = some.iter().map(|id| id.as_str()).collect();
        let ended = second.run(&[&["wait"], some.as_slice(), &["--timeout", "60s"]].concat());
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    assert_eq!(second.process.terminate(), 0);
}

#[test]
fn a_start_is_on_the_disk_before_the_handler_runs_and_is_counted_after_a_kill() {
    let data = data();
    let first = Standalone::start(&data, &["--lease", "1s"]);
    let wait = r#"{"seconds": 600}"#;
    let id = first.submit(&["Sleep", "--data", wait, "--token", "t"]);
    let behind = first.submit(&["Echo", "--token", "t"]);
    let once = first.submit(&["Sleep", "--data", wait, "--at-most-once"]);
    for id in [&id, &once] {
        while first.json(&["get", id])["progress"].is_null() {
            thread::yield_now();
        }
    }
    first.kill();
    let second = Standalone::start(&data, &["--lease", "1s"]);
    let mut operation = second.json(&["get", &id]);
    while operation["startCount"] != 2 || operation["status"] != "InProgress" {
        thread::yield_now();
        operation = second.json(&["get", &id]);
    }
    assert_eq!(operation["lostCount"], 1, "{operation}");
    assert_ne!(second.run(&["wait", &once, "--timeout", "60s"]).code, 0);
    let lost = second.json(&["get", &once]);
    assert_eq!(
        (&lost["status"], &lost["startCount"]),
        (&"Failed".into(), &1.into()),
        "{lost}"
    );
    assert_eq!(
        second.json(&["get", &behind])["status"],
        "WaitingForResources"
    );
    assert_eq!(second.run(&["cancel", &id]).code, 0);
    assert_eq!(second.run(&["wait", &behind, "--timeout", "60s"]).code, 0);
}

#[test]
fn a_write_that_fails_ends_the_process_and_takes_nothing_back() {
    // The limit of a file's size stands for a full disk. The signal for it is ignored, so
    // that the write is an error.
    let script = "trap '' XFSZ; ulimit -f 16384; exec \"$@\"";
    let data = data();
    let standalone = command(&data, &[]);
    let mut limited = drumline_in_shell(script);
    limited.arg(standalone.get_program());
    limited.args(standalone.get_args());
    let process = Process::start(&mut limited);
    let first = Standalone {
        url: process.url(),
        process,
    };
    let large = file("large.json", &format!("\"{}\"", "x".repeat(300_000)));
    let large = format!("@{}", large.display());
    let mut answered = Vec::new();
    loop {
        let arguments = ["submit", "Echo", "--data", &large, "--in", "1h"];
        let ended = first.run(&[&arguments[..], &["--output", "json"]].concat());
        if ended.code != 0 {
            break;
        }
        answered.push(text(&ended.json().remove(0), "id"));
    }
    assert!(answered.len() > 5, "{answered:?}");
    assert_eq!(first.process.wait(), 69);

    let second = Standalone::start(&data, &[]);
    for id in answered {
        assert_eq!(second.json(&["get", &id])["status"], "Waiting");
    }
}

#[test]
fn a_folder_in_use_and_a_file_that_is_no_store_are_refused() {
    let data = data();
    let first = Standalone::start(&data, &[]);
    let second = end(&mut command(&data, &[]));
    assert_eq!(second.code, 69, "{second:?}");
    assert!(second.err.contains("another process"), "{second:?}");
    assert!(second.err.contains("what to do"), "{second:?}");
    assert_eq!(first.process.terminate(), 0);
    let third = Standalone::start(&data, &[]);
    assert_eq!(third.process.terminate(), 0);

    let letter = file("drumline.redb", &"a letter to a friend".repeat(1_000));
    let refused = end(&mut command(letter.parent().unwrap(), &[]));
    assert_eq!(refused.code, 65, "{refused:?}");
    assert!(
        refused.err.contains("is not a store of Drumline"),
        "{refused:?}"
    );
}

#[test]
fn a_damaged_file_is_refused_and_stays_as_it_is() {
    let data = data();
    let first = Standalone::start(&data, &[]);
    let mark = "a text that is in no other place of the file";
    first.submit(&["Echo", "--data", &format!("{mark:?}"), "--wait"]);
    assert_eq!(first.process.terminate(), 0);
    let path = data.join("drumline.redb");
    let mut bytes = fs::read(&path).unwrap();
    let places = bytes.windows(mark.len()).enumerate();
    let places = places.filter(|(_, some)| *some == mark.as_bytes());
    // Pages that are free by now have it, too.
    let places: Vec<usize> = places.map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] ^= 1;
    }
    fs::write(&path, &bytes).unwrap();

    let second = end(&mut command(&data, &[]));
    assert_eq!(second.code, 65, "{second:?}");
    assert!(second.err.contains("backup"), "{second:?}");
    assert!(fs::read(&path).unwrap() == bytes, "nothing is changed");
}

#[test]
fn the_folder_must_be_named() {
    let ended = end(drumline().arg("standalone"));
    assert_eq!(ended.code, 64, "{ended:?}");
    assert!(ended.err.contains("--data"), "{ended:?}");
}

#[test]
fn a_handlers_file_takes_the_place_of_the_handlers_for_trying() {
    let handlers = file(
        "handlers.toml",
        "[[handler]]\nmessage = \"Greet\"\ncommand = [\"sh\", \"-c\", \"cat >/dev/null; echo '{\\\"hello\\\": \\\"you\\\"}'\"]\n",
    );
    let flags = ["--handlers", &handlers.display().to_string()];
    let standalone = Standalone::start(&data(), &flags);
    let operation = standalone.json(&["submit", "Greet", "--wait"]);
    assert_eq!(operation["result"]["hello"], "you", "{operation}");
    let echo = standalone.submit(&["Echo"]);
    let explained = standalone.run(&["explain", &echo]);
    assert!(explained.out.contains("handler"), "{explained:?}");
}

#[test]
fn a_backup_is_made_while_the_process_goes_on_and_becomes_a_folder() {
    let first = Standalone::start(&data(), &[]);
    let done = first.submit(&["Echo", "--data", "1", "--wait"]);
    let waits = first.submit(&["Echo", "--data", "2", "--in", "1h"]);
    let folder = folder();
    let path = folder.join("drumline.redb");
    let path = path.display().to_string();
    let made = first.json(&["backup", &path]);
    assert_eq!(made["operations"], 2, "{made}");
    assert_eq!(made["bytes"], fs::metadata(&path).unwrap().len(), "{made}");
    let later = first.submit(&["Echo", "--data", "3", "--in", "1h"]);
    let again = first.run(&["backup", &path]);
    assert_eq!(again.code, 64, "{again:?}");
    assert!(again.err.contains("what to do"), "{again:?}");
    let audit = first.run(&["audit"]);
    assert!(audit.out.contains("GET /v1/backup"), "{audit:?}");

    let second = Standalone::start(&folder, &[]);
    assert_eq!(second.json(&["get", &done])["status"], "Succeeded");
    assert_eq!(second.json(&["get", &waits])["status"], "Waiting");
    assert_eq!(second.run(&["get", &later]).code, 4);
}

#[test]
fn a_process_without_a_folder_has_no_backup() {
    let mut command = drumline();
    let process = Process::start(command.args(["dev", "--listen=127.0.0.1:0", "--log=off"]));
    let url = process.url();
    let path = folder().join("none.redb");
    let refused = end(drumline()
        .arg("backup")
        .arg(&path)
        .env("DRUMLINE_SERVER", &url));
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.err.contains("not a folder"), "{refused:?}");
    assert!(!path.exists());
    let gone = end(drumline()
        .arg("backup")
        .arg(&path)
        .env("DRUMLINE_SERVER", "http://127.0.0.1:9"));
    assert_eq!(gone.code, 69, "{gone:?}");
}

//! Tasks that a process cannot do without: one that panics ends the process, and
//! others take its work over.

use std::process::Command;

use crate::run::{Process, drumline, end, file, folder, text};
use crate::servers::Place;

/// The tasks of managers and workers, by the names of their fail points.
const TASKS: [&str; 21] = [
    "relay",
    "redirect",
    "due",
    "leases",
    "reconcile",
    "pauses",
    "handlers",
    "actions",
    "queues",
    "retention",
    "heartbeat",
    "changes",
    "creates",
    "dispatcher",
    "confirms",
    "completion feed",
    "permits",
    "lease thread",
    "subscriptions",
    "deliveries",
    "committer",
];

/// Lets a task of the process panic when the file is there.
fn panics<'a>(command: &'a mut Command, task: &str, file: &std::path::Path) -> &'a mut Command {
    // A backtrace takes seconds in a large program.
    command
        .env("RUST_BACKTRACE", "0")
        .env("DRUMLINE_TEST_PANIC", format!("{task}={}", file.display()))
}

#[test]
fn a_task_that_panics_ends_the_process_and_is_named_last() {
    let there = folder();
    for task in TASKS {
        let mut command = drumline();
        command.args(["dev", "--listen=127.0.0.1:0", "--log=off"]);
        let ended = end(panics(&mut command, task, &there));
        assert_eq!(ended.code, 70, "{task}: {ended:?}");
        let last = ended.err.lines().last().unwrap_or_default();
        assert!(
            last.starts_with(&format!("error: the task {task:?} has panicked")),
            "{task}: {last}"
        );
    }
}

#[tokio::test]
async fn the_partitions_of_a_manager_whose_task_has_panicked_are_taken_over() {
    let place = Place::new("critical-manager").await;
    let handlers = file(
        "handlers.toml",
        "[[handler]]\nmessage = \"Do\"\ncommand = [\"sh\", \"-c\", \"cat >/dev/null\"]\n",
    );
    let handlers = handlers.display().to_string();
    let now = folder();
    let manager = ["queue-manager", "--listen=127.0.0.1:0"];
    let stays = Process::start(&mut place.command(&manager));
    for task in ["due", "requests over AMQP"] {
        let now = now.join(task);
        let mut command = place.command(&manager);
        let fails = Process::start(panics(&mut command, task, &now));
        std::fs::write(&now, "").expect("a file");
        assert_eq!(fails.wait(), 70, "{task}");
    }
    let worker = Process::start(&mut place.command(&["worker", "--handlers", &handlers]));
    let url = stays.url();
    let client = |arguments: &[&str]| end(place.command(arguments).env("DRUMLINE_SERVER", &url));
    // Of many partitions, some of which belonged to the others.
    let ids: Vec<String> = (0..16)
        .map(|n| {
            let token = format!("t{n}");
            let submit = [
                "submit", "Do", "--token", &token, "--in", "1s", "-o", "json",
            ];
            let submitted = client(&submit);
            assert_eq!(submitted.code, 0, "{submitted:?}");
            text(&submitted.json()[0], "id")
        })
        .collect();
    let wait = std::iter::once("wait").chain(ids.iter().map(String::as_str));
    let waited = client(&wait.collect::<Vec<_>>());
    assert_eq!(waited.code, 0, "{waited:?}");
    assert_eq!(worker.terminate(), 0);
    assert_eq!(stays.terminate(), 0);
}

#[tokio::test]
async fn the_operation_of_a_worker_without_lease_thread_is_taken_over() {
    let place = Place::new("critical-worker").await;
    let (now, started) = (folder().join("now"), folder().join("started"));
    let script = format!(
        "cat >/dev/null; [ -e {0} ] && exit 0; touch {0}; exec sleep 600",
        started.display()
    );
    let handlers =
        format!("[[handler]]\nmessage = \"Do\"\ncommand = [\"sh\", \"-c\", {script:?}]\n");
    let handlers = file("handlers.toml", &handlers).display().to_string();
    let manager = Process::start(&mut place.command(&["queue-manager", "--listen=127.0.0.1:0"]));
    let url = manager.url();
    let client = |arguments: &[&str]| end(place.command(arguments).env("DRUMLINE_SERVER", &url));
    let worker = ["worker", "--lease", "5s", "--handlers", &handlers];
    let mut command = place.command(&worker);
    let fails = Process::start(panics(&mut command, "lease thread", &now));
    let submitted = client(&["submit", "Do", "-o", "json"]);
    let id = submitted.json()[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    while !started.exists() {
        std::thread::yield_now();
    }
    std::fs::write(&now, "").expect("a file");
    assert_eq!(fails.wait(), 70);
    let other = Process::start(&mut place.command(&worker));
    let ended = client(&["wait", &id, "-o", "json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.json()[0]["startCount"], 2, "{ended:?}");
    assert_eq!(other.terminate(), 0);
    assert_eq!(manager.terminate(), 0);
}

//! The audit log: what is written, and what becomes of it when it cannot be.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::dev::{Dev, UNKNOWN};
use crate::run::{drumline, end, folder};

/// The lines of a log, once there are so many.
fn lines(path: &Path, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        if lines.len() >= count || Instant::now() > deadline {
            assert_eq!(lines.len(), count, "{text}");
            return lines;
        }
        std::thread::yield_now();
    }
}

fn key(auth: &str, role: &str) -> String {
    let flags = [
        "create", "--org", "contoso", "--role", role, "--caller", role,
    ];
    let made = end(drumline().args(["key", "--auth-file", auth]).args(flags));
    assert_eq!(made.code, 0, "{made:?}");
    made.out.trim().to_owned()
}

#[test]
fn each_change_and_each_denial_has_a_line() {
    let folder = folder();
    let auth = folder.join("auth.toml").display().to_string();
    let log = folder.join("audit.jsonl");
    let path = log.display().to_string();
    let (operator, reader) = (key(&auth, "operator"), key(&auth, "reader"));
    let dev = Dev::start_with(&["--auth-file", &auth, "--audit-log", &path]);
    let run =
        |key: &str, arguments: &[&str]| end(dev.command(arguments).env("DRUMLINE_API_KEY", key));
    let made = run(
        &operator,
        &[
            "submit",
            "Nobody",
            "--data",
            "\"payload-secret\"",
            "-o",
            "json",
        ],
    );
    assert_eq!(made.code, 0, "{made:?}");
    let id = made.json().remove(0)["id"].clone();
    // Reading changes nothing.
    assert_eq!(run(&reader, &["list"]).code, 0);
    assert_ne!(run(&reader, &["submit", "Nobody"]).code, 0);
    assert_ne!(run("drl_nonsense", &["list"]).code, 0);
    assert_ne!(run(&operator, &["cancel", UNKNOWN]).code, 0);
    let paused = run(
        &operator,
        &["pause", "--message", "Nobody", "--reason", "mail is down"],
    );
    assert_eq!(paused.code, 0, "{paused:?}");
    let canceled = run(&operator, &["cancel", "--message", "Nobody", "--yes"]);
    assert_eq!(canceled.code, 0, "{canceled:?}");

    let lines = lines(&log, 6);
    let texts: Vec<String> = lines.iter().map(Value::to_string).collect();
    let [create, denied, unknown, missing, pause, many] = &lines[..] else {
        panic!("{texts:?}");
    };
    assert_eq!(create["action"], "POST /v1/operations");
    assert_eq!(create["outcome"], "done");
    assert_eq!(create["status"], 201);
    assert_eq!(create["ids"][0], id);
    assert_eq!(create["organization"], "contoso");
    assert_eq!(create["caller"], "operator");
    assert_eq!(create["roles"][0], "operator");
    let principal = format!("key:{}", operator.get(4..12).unwrap());
    assert_eq!(create["principal"], principal);
    assert_eq!(create["address"], "127.0.0.1", "{create}");
    assert_eq!(create["via"], "http");
    for line in &lines {
        assert!(
            line["time"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z'))
        );
    }
    assert_eq!(denied["outcome"], "denied");
    assert_eq!(denied["reason"], "role");
    assert_eq!(denied["code"], "0x80040220");
    assert_eq!(denied["roles"][0], "reader");
    assert_eq!(
        (&unknown["outcome"], &unknown["status"]),
        (&"denied".into(), &401.into())
    );
    assert_eq!(unknown["reason"], "invalid_key");
    assert!(unknown["principal"].is_null());
    assert_eq!(
        (&missing["outcome"], &missing["ids"][0]),
        (&"refused".into(), &UNKNOWN.into())
    );
    assert_eq!(pause["action"], "PUT /v1/pauses");
    assert_eq!(pause["reason"], "mail is down");
    assert_eq!(many["action"], "POST /v1/operations/cancel");
    assert_eq!(many["count"], 1);
    assert_eq!(many["filter"]["messageName"], "Nobody", "{many}");
    for text in texts {
        for secret in ["payload-secret", &operator, &reader, "drl_nonsense"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    assert_eq!(dev.terminate(), 0);
}

#[test]
fn the_newest_entries_are_listed_to_operators() {
    let folder = folder();
    let auth = folder.join("auth.toml").display().to_string();
    let (operator, reader) = (key(&auth, "operator"), key(&auth, "reader"));
    let dev = Dev::start_with(&["--auth-file", &auth]);
    let run =
        |key: &str, arguments: &[&str]| end(dev.command(arguments).env("DRUMLINE_API_KEY", key));
    let made = run(&operator, &["submit", "Nobody", "-o", "json"]);
    let id = made.json().remove(0)["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(run(&operator, &["cancel", &id]).code, 0);
    // The entries are stored soon after the answers.
    let deadline = Instant::now() + Duration::from_secs(120);
    let found = loop {
        let found = run(&operator, &["audit", "--id", &id, "-o", "json"]);
        assert_eq!(found.code, 0, "{found:?}");
        let entries = found.json();
        if entries.len() == 2 || Instant::now() > deadline {
            break entries;
        }
    };
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0]["action"], "POST /v1/operations/{id}/cancel");
    assert_eq!(found[1]["caller"], "operator");
    let table = run(&operator, &["audit", "--action", "cancel", "--since", "1h"]);
    assert!(table.out.contains(&id), "{table:?}");
    let one = run(&operator, &["audit", "-n", "1"]);
    assert!(one.err.contains("--limit shows more"), "{one:?}");
    let none = run(&operator, &["audit", "--who", "nobody"]);
    assert!(none.err.contains("no entries"), "{none:?}");
    assert_ne!(run(&reader, &["audit"]).code, 0);
    assert_eq!(dev.terminate(), 0);
}

#[test]
fn the_log_is_written_to_its_end_and_may_be_renamed_meanwhile() {
    let folder = folder();
    let log = folder.join("audit.jsonl");
    let path = log.display().to_string();
    let dev = Dev::start_with(&["--audit-log", &path]);
    dev.submit(&["Echo"]);
    lines(&log, 1);
    let old = folder.join("audit.jsonl.1");
    fs::rename(&log, &old).unwrap();
    for _ in 0..3 {
        dev.submit(&["Echo"]);
    }
    // The process writes what it has recorded before it ends.
    assert_eq!(dev.terminate(), 0);
    assert_eq!(lines(&old, 1).len() + lines(&log, 3).len(), 4);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_nothing_and_is_reported() {
    let dev = Dev::start_with(&["--audit-log", "/dev/full"]);
    for _ in 0..3 {
        dev.submit(&["Echo"]);
    }
    let deadline = Instant::now() + Duration::from_secs(120);
    let ready = || {
        let text = crate::keys::get(&dev.url, "/readyz");
        assert!(text.contains(r#""ready":true"#), "{text}");
        text
    };
    let lost = || crate::keys::get(&dev.url, "/metrics").contains("drumline_audit_lost_total 3");
    while !(lost() && ready().contains("No space left")) {
        assert!(Instant::now() < deadline, "{}", ready());
    }
    assert_eq!(dev.terminate(), 0);
}

#[test]
fn a_log_that_cannot_be_written_is_refused_at_the_start() {
    let ended = end(drumline().args(["dev", "--audit-log", "/no/such/folder/audit.jsonl"]));
    assert_eq!(ended.code, 64, "{ended:?}");
    assert!(ended.err.contains("what to do"), "{ended:?}");
}

//! Submitting one operation, and watching it.

use serde_json::json;

use crate::dev::{Dev, UNKNOWN};
use crate::run::{drumline, end, end_with_input, file, text};

#[test]
fn an_operation_is_submitted_and_waited_for() {
    let dev = Dev::start();
    let id = dev.submit(&["Echo", "--data", r#"{"hello": 1}"#, "--name", "greeting"]);
    let waited = dev.run(&["wait", &id]);
    assert_eq!(waited.code, 0, "{waited:?}");
    let operation = dev.json(&["get", &id]);
    assert_eq!(operation["result"], json!({"hello": 1}));
    assert_eq!(operation["status"], "Succeeded");
    let shown = dev.run(&["get", &id]);
    for part in [
        id.as_str(),
        "greeting",
        "Completed, Succeeded (3/30)",
        "Echo",
    ] {
        assert!(shown.out.contains(part), "{part}: {shown:?}");
    }
}

#[test]
fn data_comes_from_a_flag_a_file_or_standard_input_unchanged() {
    let dev = Dev::start();
    // More digits than a float has, and keys out of order.
    let data = r#"{"b":12345678901234567890123,"a":[1.10]}"#;
    let path = file("data.json", data);
    let from_file = format!("@{}", path.display());
    for flag in [data, &from_file, "-"] {
        let ended = end_with_input(
            &mut dev.command(&["submit", "Echo", "--data", flag, "--wait", "-o", "json"]),
            data,
        );
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(
            ended.out.contains(&format!(r#""result":{data}"#)),
            "{ended:?}"
        );
    }
}

#[test]
fn every_attribute_reaches_the_operation() {
    let dev = Dev::start();
    let operation = dev.json(&[
        "submit",
        "Echo",
        "--name=n",
        "--token=t",
        "--type=10",
        "--queue=other",
        "--in=1h",
        "--correlation-id=67e55044-10b1-426f-9247-bb680e5fe0c8",
        "--request-id=67e55044-10b1-426f-9247-bb680e5fe0c9",
        "--parent-id=67e55044-10b1-426f-9247-bb680e5fe0ca",
        "--entity-type=account",
        "--regarding=67e55044-10b1-426f-9247-bb680e5fe0cb",
        "--token-policy=hold",
        "--not-after=2099-01-01T01:00:00Z",
        "--forget",
        "--at-most-once",
        "--retry-max=3",
        "--retry-initial=2s",
        "--retry-factor=4",
        "--retry-longest=1m",
        "--retry-exhausted=suspend",
    ]);
    for (name, expected) in [
        ("name", json!("n")),
        ("dependencyToken", json!("t")),
        ("operationType", json!(10)),
        ("queue", json!("other")),
        ("status", json!("Waiting")),
        (
            "correlationId",
            json!("67e55044-10b1-426f-9247-bb680e5fe0c8"),
        ),
        ("requestId", json!("67e55044-10b1-426f-9247-bb680e5fe0c9")),
        ("parentId", json!("67e55044-10b1-426f-9247-bb680e5fe0ca")),
        ("primaryEntityType", json!("account")),
        (
            "regardingObjectId",
            json!("67e55044-10b1-426f-9247-bb680e5fe0cb"),
        ),
        ("tokenPolicy", json!("hold")),
        ("notAfter", json!("2099-01-01T01:00:00.000Z")),
        ("retainJobHistory", json!(false)),
        ("atMostOnce", json!(true)),
    ] {
        assert_eq!(operation[name], expected, "{name}");
    }
    let policy = &operation["retryPolicy"];
    for (name, expected) in [
        ("maxRetries", json!(3)),
        ("initialMs", json!(2000)),
        ("factor", json!(4)),
        ("maxMs", json!(60000)),
        ("exhausted", json!("suspend")),
    ] {
        assert_eq!(policy[name], expected, "{name}");
    }
}

#[test]
fn a_series_shows_when_it_comes_due_next_and_can_be_changed() {
    let dev = Dev::start();
    let start = "2099-01-01T00:00:00Z";
    let rule = ["--recurrence", "FREQ=DAILY", "--recurrence-start", start];
    let id = dev.submit(&[&["Echo"] as &[&str], &rule].concat());
    let times = |id: &str| dev.json(&["get", id])["nextOccurrences"].clone();
    let days = |days: [u8; 5]| json!(days.map(|day| format!("2099-01-{day:02}T00:00:00.000Z")));
    assert_eq!(times(&id), days([1, 2, 3, 4, 5]));
    let shown = dev.run(&["get", &id]);
    assert!(shown.out.contains("2099-01-05 00:00:00"), "{shown:?}");
    dev.json(&["update", &id, "--recurrence", "FREQ=DAILY;INTERVAL=2"]);
    assert_eq!(times(&id), days([1, 3, 5, 7, 9]));
    let alone = dev.run(&["submit", "Echo", "--recurrence-start", start]);
    assert_eq!(alone.code, 64, "{alone:?}");
}

#[test]
fn a_token_that_is_held_is_shown_and_goes_on_when_it_is_skipped() {
    let dev = Dev::start();
    let policy = ["--token", "t", "--token-policy", "hold"];
    let failed = dev.submit(&[&["Fail"] as &[&str], &policy].concat());
    let next = dev.submit(&["Echo", "--token", "t"]);
    let waited = dev.run(&["wait", &failed]);
    assert_eq!(waited.code, 1, "{waited:?}");
    assert!(waited.out.contains("holds its token"), "{waited:?}");
    assert_eq!(dev.json(&["get", &failed])["holdsToken"], true);
    assert_eq!(dev.json(&["list", "--holds-token"])["id"], failed.as_str());
    let skipped = dev.json(&["resume", "--holds-token", "--dry-run"]);
    assert_eq!(
        (&skipped["matched"], &skipped["done"]),
        (&1.into(), &1.into())
    );
    assert_eq!(dev.status(&next), "WaitingForResources");
    dev.json(&["resume", &failed]);
    assert_eq!(dev.run(&["wait", &next, "--timeout", "10s"]).code, 0);
}

#[test]
fn waiting_tells_by_its_exit_code_how_it_ended() {
    let dev = Dev::start();
    let failed = dev.run(&["submit", "Fail", "--wait"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    let canceled = dev.submit(&["Echo", "--in", "1h"]);
    dev.json(&["cancel", &canceled]);
    assert_eq!(dev.run(&["wait", &canceled]).code, 2);
    let postponed = dev.submit(&["Echo", "--in", "1h"]);
    let waited = dev.run(&["wait", &postponed, "--timeout", "200ms"]);
    assert_eq!(waited.code, 3, "{waited:?}");
    assert_eq!(
        dev.run(&["wait", &canceled, &postponed, "--timeout", "200ms"])
            .code,
        2
    );
    assert_eq!(dev.run(&["wait", UNKNOWN]).code, 4);
}

#[test]
fn an_idempotency_key_creates_once() {
    let dev = Dev::start();
    let arguments = ["Echo", "--data", "1", "--idempotency-key", "k1"];
    let first = dev.submit(&arguments);
    assert_eq!(dev.submit(&arguments), first);
    let other = dev.run(&["submit", "Echo", "--data", "2", "--idempotency-key", "k1"]);
    assert_eq!(other.code, 64, "{other:?}");
    assert!(other.err.contains("IdempotencyKeyReused"), "{other:?}");
}

#[test]
fn a_listing_is_filtered_and_follows_its_cursor() {
    let dev = Dev::start();
    let ids: Vec<String> = (0..5)
        .map(|number| {
            let token = if number % 2 == 0 { "even" } else { "odd" };
            dev.submit(&["Echo", "--in", "1h", "--token", token])
        })
        .collect();
    let list = |arguments: &[&str]| {
        let all: Vec<&str> = ["list", "-o", "json"]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let ended = dev.run(&all);
        assert_eq!(ended.code, 0, "{ended:?}");
        ended
            .json()
            .iter()
            .map(|operation| text(operation, "id"))
            .collect::<Vec<_>>()
    };
    let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
    assert_eq!(list(&[]), newest_first);
    assert_eq!(list(&["--limit", "2"]), newest_first[..2]);
    assert_eq!(list(&["--token", "odd"]), [ids[3].clone(), ids[1].clone()]);
    assert_eq!(
        list(&["--state", "suspended", "--created-after", "1h"]).len(),
        5
    );
    assert_eq!(list(&["--status", "30"]), Vec::<String>::new());
    let table = dev.run(&["list", "--limit", "3"]);
    assert_eq!(table.out.lines().count(), 4, "{table:?}");
    assert!(table.out.starts_with("ID "), "{table:?}");
}

#[test]
fn refusals_are_told_with_code_and_advice() {
    let dev = Dev::start();
    let unknown = dev.run(&["get", UNKNOWN]);
    assert_eq!(unknown.code, 4, "{unknown:?}");
    assert!(
        unknown.err.contains("0x80040217 ObjectDoesNotExist"),
        "{unknown:?}"
    );
    assert!(unknown.err.contains("what to do:"), "{unknown:?}");
    let bulk = dev.run(&["submit", "Echo", "--type", "13", "--token", "t"]);
    assert_eq!(bulk.code, 64, "{bulk:?}");
    assert!(bulk.err.contains("dependencyToken"), "{bulk:?}");
}

#[test]
fn a_server_that_is_away_is_told_apart_from_one_that_says_no() {
    for command in [&["list"] as &[&str], &["events"], &["cancel", "--all"]] {
        let mut away = drumline();
        away.args(command).args(["--server", "http://127.0.0.1:1"]);
        let ended = end(&mut away);
        assert_eq!(ended.code, 69, "{ended:?}");
        assert!(ended.err.contains("http://127.0.0.1:1"), "{ended:?}");
        assert_eq!(ended.out, "");
    }
}

#[test]
fn bad_data_is_refused_before_anything_is_sent() {
    for (data, code) in [("{", 64), ("text", 64), ("@/not/there", 65)] {
        let ended = end(drumline().args(["submit", "Echo", "--data", data]));
        assert_eq!(ended.code, code, "{data}: {ended:?}");
    }
}

#[test]
fn what_could_not_be_repeated_or_would_never_end_is_refused() {
    for (flags, advice) in [
        (
            &["--in", "1h", "--idempotency-key", "k"] as &[&str],
            "--postpone-until",
        ),
        (
            &["--recurrence", "FREQ=DAILY", "--wait"],
            "the end of the series",
        ),
    ] {
        let ended = end(drumline().args(["submit", "Echo"]).args(flags));
        assert_eq!(ended.code, 64, "{ended:?}");
        assert!(ended.err.contains(advice), "{ended:?}");
    }
}

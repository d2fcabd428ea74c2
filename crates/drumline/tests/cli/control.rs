//! Cancel, pause, resume, postpone, delete.

use crate::dev::{Dev, UNKNOWN};

#[test]
fn a_running_operation_is_cancelled() {
    let dev = Dev::start();
    let id = dev.submit(&["Sleep", "--data", r#"{"seconds": 600}"#]);
    dev.until_running(&id);
    let cancelled = dev.json(&["cancel", &id]);
    assert_eq!(cancelled["status"], "Canceling");
    assert_eq!(dev.run(&["wait", &id, "--timeout", "10s"]).code, 2);
}

#[test]
fn a_running_operation_is_paused_and_goes_on_where_it_was() {
    let dev = Dev::start();
    // On a loaded machine two commands may take seconds.
    let id = dev.submit(&["Sleep", "--data", r#"{"seconds": 6}"#]);
    dev.until_running(&id);
    // The next command may come at once.
    assert_eq!(dev.json(&["pause", &id])["status"], "Waiting");
    dev.json(&["resume", &id]);
    assert_eq!(dev.run(&["wait", &id, "--timeout", "30s"]).code, 0);
    assert_eq!(dev.json(&["get", &id])["startCount"], 2);
}

#[test]
fn operations_that_stop_are_told_each_once_and_together() {
    let dev = Dev::start();
    let sleep = || dev.submit(&["Sleep", "--data", r#"{"seconds": 600}"#]);
    let ids = [sleep(), sleep()];
    for id in &ids {
        dev.until_running(id);
    }
    let [first, second] = &ids;
    let paused = dev.run(&[
        "postpone", first, UNKNOWN, second, "--in", "1h", "-o", "json",
    ]);
    assert_eq!(paused.code, 4, "{paused:?}");
    let told = paused.json();
    assert_eq!(told.len(), 2, "{paused:?}");
    for (operation, id) in told.iter().zip(&ids) {
        assert_eq!(operation["id"], id.as_str());
        assert_eq!(operation["status"], "Waiting", "{paused:?}");
    }
}

#[test]
fn waiting_for_what_waits_for_a_person_says_so_once() {
    let dev = Dev::start();
    let id = dev.submit(&["NobodyKnowsThis"]);
    dev.json(&["pause", &id]);
    let ended = dev.run(&["wait", &id, "--timeout", "300ms"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    let hint = format!("it waits for a person: drumline resume {id}");
    assert_eq!(ended.err.matches(&hint).count(), 1, "{ended:?}");
}

#[test]
fn a_postponed_operation_wakes_by_itself() {
    let dev = Dev::start();
    let id = dev.submit(&["Echo", "--in", "1h"]);
    let postponed = dev.json(&["postpone", &id, "--in", "300ms"]);
    assert_eq!(postponed["status"], "Waiting");
    assert_eq!(dev.run(&["wait", &id, "--timeout", "30s"]).code, 0);
}

#[test]
fn what_no_worker_starts_in_time_expires() {
    let dev = Dev::start();
    let id = dev.submit(&["NobodyKnowsThis", "--expire-in", "500ms"]);
    let shown = dev.run(&["get", &id]);
    assert!(shown.out.contains("start not after"), "{shown:?}");
    let waited = dev.run(&["wait", &id, "--timeout", "30s"]);
    assert_eq!(waited.code, 1, "{waited:?}");
    let expired = dev.json(&["get", &id]);
    assert_eq!(expired["errorCode"], "0x8D00000C", "{expired}");
    assert_eq!(expired["startCount"], 0);
    let past = dev.run(&["submit", "Echo", "--not-after", "2020-01-01T00:00:00Z"]);
    assert_eq!(past.code, 64, "{past:?}");
    assert!(past.err.contains("has passed already"), "{past:?}");
    let keyed = ["submit", "Echo", "--expire-in=1h", "--idempotency-key=k"];
    let refused = dev.run(&keyed);
    assert_eq!(refused.code, 64, "{refused:?}");
    assert!(refused.err.contains("--not-after"), "{refused:?}");
}

#[test]
fn only_completed_operations_are_deleted() {
    let dev = Dev::start();
    let id = dev.submit(&["Echo", "--in", "1h"]);
    let refused = dev.run(&["delete", &id]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.err.contains("possible now: cancel"), "{refused:?}");
    dev.json(&["cancel", &id]);
    let deleted = dev.json(&["delete", &id]);
    assert_eq!(deleted["deleted"], true);
    assert_eq!(dev.run(&["get", &id]).code, 4);
}

#[test]
fn one_refusal_does_not_keep_the_others_from_being_told() {
    let dev = Dev::start();
    let id = dev.submit(&["Echo", "--in", "1h"]);
    let ended = dev.run(&["pause", UNKNOWN, &id]);
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.err.contains(UNKNOWN), "{ended:?}");
    let cancelled = dev.run(&["cancel", UNKNOWN, &id]);
    assert_eq!(cancelled.code, 4, "{cancelled:?}");
    assert_eq!(dev.status(&id), "Canceled");
}

#[test]
fn attributes_that_may_be_changed_are_updated() {
    let dev = Dev::start();
    let id = dev.submit(&["Echo", "--in", "1h"]);
    let until = "2099-01-01T00:00:00.000Z";
    let postponed = dev.json(&["update", &id, "--postpone-until", until]);
    assert_eq!(postponed["postponeUntil"], until);
    let refused = dev.run(&["update", &id, "--recurrence", "FREQ=DAILY"]);
    assert!(refused.err.contains("0x80044168"), "{refused:?}");
    assert_eq!(dev.run(&["update", &id, "--state", "Locked"]).code, 5);
    let cancelled = dev.json(&[
        "update",
        &id,
        "--state",
        "Completed",
        "--status",
        "Canceled",
    ]);
    assert_eq!(cancelled["status"], "Canceled");
    assert_eq!(dev.run(&["update", &id]).code, 64);
}

#[test]
fn what_an_operation_waits_for_is_shown() {
    let dev = Dev::start();
    let head = dev.submit(&["Echo", "--in", "1h", "--token", "t"]);
    let next = dev.submit(&["Echo", "--token", "t"]);
    let shown = dev.json(&["get", &next]);
    assert_eq!(shown["waitingFor"]["reason"], "predecessor");
    assert_eq!(shown["waitingFor"]["operationId"], head.as_str());
    let shown = dev.run(&["get", &next]);
    let line = shown.out.lines().find(|line| line.starts_with("waits for"));
    assert!(line.is_some_and(|line| line.contains(&head)), "{shown:?}");

    let root = &dev.json(&["explain", &next])["waitingFor"]["root"];
    assert_eq!(root["operationId"], head.as_str());
    assert_eq!(root["reason"], "time");
    let explained = dev.run(&["explain", &next, &head]).out;
    let lines: Vec<_> = explained.lines().collect();
    let [of_next, of_head] = lines.as_slice() else {
        panic!("two lines: {explained}");
    };
    assert!(of_next.starts_with(&format!("{next}  Ready, WaitingForResources: ")));
    assert!(of_next.contains("it is postponed until"), "{explained}");
    assert!(
        of_head.contains("1 operation waits behind it"),
        "{explained}"
    );
}

#[test]
fn completed_operations_run_again_in_their_order_and_once() {
    let dev = Dev::start();
    let first = dev.submit(&["Fail", "--token", "t", "--name", "first"]);
    let second = dev.submit(&["Fail", "--token", "t", "--name", "second"]);
    for id in [&first, &second] {
        assert_eq!(dev.run(&["wait", id, "--timeout", "30s"]).code, 1);
    }
    let select = ["run-again", "--status", "Failed", "--name", "first"];
    let looked = dev.json(&[&select[..], &["--dry-run"]].concat());
    assert_eq!(looked["matched"], 1, "{looked}");
    let asked = dev.run(&select);
    assert_eq!(asked.code, 64, "{asked:?}");
    assert!(asked.err.contains("--yes"), "{asked:?}");

    let all = ["run-again", "--status", "Failed", "--yes"];
    let done = dev.json(&all);
    assert_eq!(
        (&done["done"], &done["existed"]),
        (&2.into(), &0.into()),
        "{done}"
    );
    let listed = dev.run(&["list", "--token", "t", "--output", "json"]).out;
    let listed: Vec<serde_json::Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let names: Vec<_> = listed.iter().map(|one| one["name"].as_str()).collect();
    assert_eq!(
        names,
        [Some("second"), Some("first"), Some("second"), Some("first")]
    );

    let one = dev.json(&["run-again", &first, "--data", "{\"a\": 1}", "--leave-token"]);
    assert_eq!(one["data"]["a"], 1, "{one}");
    assert!(
        one.get("dependencyToken")
            .is_none_or(serde_json::Value::is_null),
        "{one}"
    );
    let refused = dev.run(&["run-again", UNKNOWN]);
    assert_ne!(refused.code, 0, "{refused:?}");

    // The older one cannot run again, and does not keep the other one.
    let series = dev.submit(&["Echo", "--recurrence", "FREQ=DAILY", "--name", "series"]);
    let single = dev.submit(&["Echo", "--in", "1h", "--name", "single"]);
    for id in [&series, &single] {
        dev.json(&["cancel", id]);
    }
    let done = dev.json(&["run-again", "--status", "Canceled", "--yes"]);
    assert_eq!(
        (&done["done"], &done["refusedCount"]),
        (&1.into(), &1.into()),
        "{done}"
    );
    assert_eq!(done["refused"][0]["id"], series.as_str(), "{done}");
}

#[test]
fn the_state_of_the_service_is_a_sentence() {
    let dev = Dev::start();
    let normal = dev.run(&["top"]);
    assert_eq!(normal.code, 0, "{normal:?}");
    assert!(normal.out.starts_with("Normal."), "{normal:?}");
    let id = dev.submit(&["Fail", "--token-policy", "hold", "--token", "t"]);
    assert_eq!(dev.run(&["wait", &id, "--timeout", "30s"]).code, 1);
    let held = dev.run(&["top", "--once"]);
    assert_eq!(held.code, 1, "{held:?}");
    assert!(held.out.contains("token"), "{held:?}");
    assert!(held.out.contains(&id), "{held:?}");
    let held = dev.run(&["top", "--output", "json"]).out;
    let held: serde_json::Value = serde_json::from_str(&held).expect("JSON");
    assert_eq!(held["normal"], false, "{held}");
    assert_eq!(held["holding"][0]["id"], id.as_str(), "{held}");
    assert_eq!(held["fleet"]["workers"], 1, "{held}");
}

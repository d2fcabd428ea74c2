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
    let id = dev.submit(&["Sleep", "--data", r#"{"seconds": 1}"#]);
    dev.until_running(&id);
    dev.json(&["pause", &id]);
    while dev.status(&id) == "Pausing" {
        std::thread::yield_now();
    }
    assert_eq!(dev.status(&id), "Waiting");
    dev.json(&["resume", &id]);
    assert_eq!(dev.run(&["wait", &id, "--timeout", "30s"]).code, 0);
    assert_eq!(dev.json(&["get", &id])["startCount"], 2);
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

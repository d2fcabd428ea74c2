//! `drumline workers`: those that are alive, and one that is to take nothing new.

use crate::dev::Dev;

#[test]
fn a_worker_is_listed_and_drained_by_its_id() {
    let dev = Dev::start();
    let worker = dev.json(&["workers"]);
    assert_eq!(worker["draining"], false, "{worker}");
    let id = worker["id"].as_str().expect("an id");
    let shown = dev.run(&["workers"]).out;
    assert!(
        shown.contains(id) && shown.contains("takes work"),
        "{shown}"
    );
    let before = dev.submit(&["Echo"]);
    assert_eq!(dev.run(&["wait", &before]).code, 0);

    let asked = dev.run(&["workers", "drain", id]);
    assert_eq!(asked.code, 0, "{asked:?}");
    assert!(asked.out.contains("is asked to drain"), "{asked:?}");
    // It says so itself, with one of its next heartbeats.
    let drains = |_: &u16| dev.run(&["workers"]).out.contains("drains");
    assert!((0..1_000).any(|look| drains(&look)), "it drains");
    let after = dev.submit(&["Echo"]);
    let waits = dev.run(&["explain", &after]);
    assert!(waits.out.contains("no live worker"), "{waits:?}");
    assert_eq!(dev.status(&after), "WaitingForResources");
    let again = dev.run(&["workers", "drain", id]);
    assert!(again.out.contains("drains already"), "{again:?}");

    let none = dev.run(&["workers", "drain", "019a9c1e-7c7d-7e0a-b1f4-1c2d3e4f5a6b"]);
    assert_eq!(none.code, 4, "{none:?}");
    assert_eq!(dev.run(&["workers", "drain"]).code, 64);
    assert_eq!(dev.run(&["workers", "list", id]).code, 64);
    // The process ends as it always does.
    assert_eq!(dev.terminate(), 0);
}

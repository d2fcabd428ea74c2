//! Cancel, pause, resume, postpone, delete and purge: all operations that match.

use crate::dev::{Dev, UNKNOWN};
use crate::run::{drumline, end};

/// The number of operations with this status.
fn count(dev: &Dev, status: &str) -> usize {
    let ended = dev.run(&["list", "--limit", "0", "--status", status, "-o", "json"]);
    ended.json().len()
}

#[test]
fn what_matches_is_changed_only_on_consent() {
    let dev = Dev::start();
    for token in ["a", "a", "a", "b"] {
        dev.submit(&["Echo", "--in", "1h", "--token", token]);
    }
    let looked = dev.run(&["cancel", "--token", "a", "--dry-run"]);
    assert_eq!(looked.code, 0, "{looked:?}");
    assert!(
        looked.out.starts_with("3 match: 3 would be cancelled"),
        "{looked:?}"
    );
    let unasked = dev.run(&["cancel", "--token", "a"]);
    assert_eq!(unasked.code, 64, "{unasked:?}");
    assert!(
        unasked.err.contains("3 operations match; add --yes"),
        "{unasked:?}"
    );
    assert_eq!(count(&dev, "Canceled"), 0);
    let done = dev.json(&["cancel", "--dependency-token", "a", "--yes"]);
    assert_eq!(
        (&done["matched"], &done["done"]),
        (&3.into(), &3.into()),
        "{done}"
    );
    assert_eq!((count(&dev, "Canceled"), count(&dev, "Waiting")), (3, 1));
}

#[test]
fn each_action_knows_how_to_do_many() {
    let dev = Dev::start();
    for _ in 0..3 {
        dev.submit(&["Echo", "--in", "1h", "--name", "n"]);
    }
    let many = |arguments: &[&str]| {
        let all = [arguments, &["--name", "n", "--yes"]].concat();
        let done = dev.json(&all);
        assert_eq!(done["done"], 3, "{arguments:?}: {done}");
    };
    many(&["postpone", "--until", "2099-01-01T00:00:00Z"]);
    let listed = dev.run(&["list", "-o", "json"]).json();
    for operation in &listed {
        assert_eq!(operation["postponeUntil"], "2099-01-01T00:00:00.000Z");
    }
    many(&["cancel", "--state", "Suspended"]);
    many(&["delete", "--status", "Canceled"]);
    assert_eq!(dev.run(&["list", "-o", "json"]).out, "");

    for _ in 0..3 {
        dev.submit(&["NobodyKnowsThis", "--name", "n"]);
    }
    many(&["pause", "--message", "NobodyKnowsThis"]);
    many(&["resume", "--message-name", "NobodyKnowsThis"]);
}

#[test]
fn operations_are_selected_by_what_they_are_about() {
    let dev = Dev::start();
    let record = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let about = ["--regarding", record, "--entity-type", "account"];
    let given = [
        &["Echo", "--in", "1h", "--queue", "default"],
        about.as_slice(),
    ]
    .concat();
    dev.submit(&[given.as_slice(), &["--parent-id", record, "--name", "one"]].concat());
    dev.submit(&["Echo", "--in", "1h", "--name", "other"]);
    let conditions: [&[&str]; 4] = [
        &about,
        &["--parent-id", record],
        &["--owner", "anonymous", "--name", "one"],
        &["--queue", "default", "--regarding-object-id", record],
    ];
    for arguments in conditions {
        let listed = dev.run(&[&["list", "-o", "json"], arguments].concat());
        let names: Vec<_> = listed
            .json()
            .into_iter()
            .map(|one| one["name"].clone())
            .collect();
        assert_eq!(names, ["one"], "{arguments:?}");
    }
    assert_eq!(dev.run(&["list", "--owner", "anna", "-o", "json"]).out, "");
    let done = dev.json(&["cancel", "--regarding", record, "--yes"]);
    assert_eq!(done["done"], 1, "{done}");
    assert_eq!((count(&dev, "Canceled"), count(&dev, "Waiting")), (1, 1));
}

#[test]
fn a_partial_refusal_is_told_and_a_whole_one_is_an_exit_code() {
    let dev = Dev::start();
    dev.submit(&["NobodyKnowsThis"]);
    dev.submit(&["Echo", "--in", "1h"]);
    let partly = dev.run(&["resume", "--all", "--yes"]);
    assert_eq!(partly.code, 0, "{partly:?}");
    assert!(
        partly.out.contains("2 match: 1 resumed, 1 refused"),
        "{partly:?}"
    );
    assert!(partly.err.contains("0x80044166"), "{partly:?}");
    let wholly = dev.run(&["resume", "--all", "--yes"]);
    assert_eq!(wholly.code, 5, "{wholly:?}");
    let nothing = dev.run(&["cancel", "--message", "Other"]);
    assert_eq!(nothing.code, 0, "{nothing:?}");
}

#[test]
fn ids_and_conditions_exclude_each_other_and_one_is_needed() {
    for arguments in [
        &["cancel", UNKNOWN, "--all"] as &[&str],
        &["delete", "--yes"],
        &["cancel", "--all", "--yes", "--dry-run"],
        &["postpone", "--all"],
        &["purge", "--yes"],
    ] {
        let ended = end(drumline().args(arguments));
        assert_eq!(ended.code, 64, "{arguments:?}: {ended:?}");
    }
}

#[test]
fn purge_removes_what_ended_long_enough_ago() {
    let dev = Dev::start();
    dev.submit(&["Echo", "--wait"]);
    assert_eq!(dev.run(&["submit", "Fail", "--wait"]).code, 1);
    dev.submit(&["Echo", "--in", "1h"]);
    let recent = dev.json(&["purge", "--older-than", "1h", "--yes"]);
    assert_eq!(recent["matched"], 0, "{recent}");
    let succeeded = dev.json(&[
        "purge",
        "--older-than",
        "0s",
        "--status",
        "Succeeded",
        "--yes",
    ]);
    assert_eq!(succeeded["done"], 1, "{succeeded}");
    let looked = dev.json(&["purge", "--older-than", "0s", "--dry-run"]);
    assert_eq!(looked["dryRun"], true);
    assert_eq!(count(&dev, "Failed"), 1);
    assert_eq!(count(&dev, "Waiting"), 1);
}

//! `--dry-run` of commands that name operations by id.

use crate::dev::Dev;

#[test]
fn a_dry_run_of_one_says_what_follows() {
    let dev = Dev::start();
    let submit = [
        "Echo",
        "--token",
        "t",
        "--postpone-until",
        "2099-01-01T00:00:00Z",
    ];
    let ids: Vec<_> = (0..3).map(|_| dev.submit(&submit)).collect();
    let would = dev.run(&["cancel", &ids[0], "--dry-run"]);
    assert_eq!(would.code, 0, "{would:?}");
    let expected = "The 2 operations behind it in its token can go on, in their order.";
    assert!(would.out.contains(expected), "{would:?}");
    assert_eq!(dev.json(&["get", &ids[0]])["status"], "Waiting");
    let refused = dev.json(&["delete", &ids[0], "--dry-run"]);
    assert_eq!(refused["preview"]["possible"], false, "{refused}");
    let none = "01a1ee56-5e7b-7707-800f-070707070707";
    assert_eq!(dev.run(&["cancel", none, "--dry-run"]).code, 4);
}

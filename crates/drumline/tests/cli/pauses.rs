//! Persistent pauses: `pauses`, `pause --reason`, `resume --pause`.

use crate::dev::Dev;

#[test]
fn a_message_name_is_paused_and_goes_on() {
    let dev = Dev::start();
    let pause = ["pause", "--message", "Echo", "--reason", "maintenance"];
    let set = dev.json(&pause);
    assert_eq!(set["scope"], "messageName");
    let id = dev.submit(&["Echo"]);
    let ended = dev.run(&["wait", &id, "--timeout", "2s"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    let shown = dev.run(&["get", &id]);
    let expected = "held by the pause of message name Echo";
    assert!(shown.out.contains(expected), "{shown:?}");
    let other = dev.submit(&["Sleep", "--data", r#"{"seconds": 0}"#]);
    assert_eq!(dev.run(&["wait", &other, "--timeout", "30s"]).code, 0);
    let listed = dev.run(&["pauses"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    assert!(listed.out.contains("messageName  Echo"), "{listed:?}");

    let lifted = dev.run(&["resume", "--message", "Echo", "--pause"]);
    assert_eq!(lifted.code, 0, "{lifted:?}");
    assert_eq!(lifted.out.trim(), "message name Echo  goes on");
    assert_eq!(dev.run(&["wait", &id, "--timeout", "30s"]).code, 0);
    let listed = dev.run(&["pauses"]);
    assert_eq!(listed.out.trim(), "nothing is paused");
    let again = dev.run(&["resume", "--message", "Echo", "--pause"]);
    assert_eq!(again.code, 4, "{again:?}");
}

#[test]
fn a_frozen_service_starts_nothing_until_it_is_thawed() {
    let dev = Dev::start();
    let frozen = dev.run(&["freeze", "--reason", "Redis moves"]);
    assert_eq!(frozen.code, 0, "{frozen:?}");
    let id = dev.submit(&["Echo"]);
    let ended = dev.run(&["wait", &id, "--timeout", "2s"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    for command in [&["explain", &id][..], &["top", "--once"], &["pauses"]] {
        let shown = dev.run(command);
        assert!(shown.out.contains("Redis moves"), "{shown:?}");
    }
    let thawed = dev.run(&["thaw"]);
    assert_eq!(thawed.code, 0, "{thawed:?}");
    assert_eq!(dev.run(&["wait", &id, "--timeout", "30s"]).code, 0);
    let again = dev.run(&["thaw"]);
    assert_eq!(again.code, 4, "{again:?}");
}

#[test]
fn a_pause_is_of_one_scope() {
    let dev = Dev::start();
    for scope in [
        &["--queue", "default"][..],
        &["--token", "a"],
        &["--all"],
        &["--message", "Echo", "--for", "1h"],
    ] {
        let set = dev.run(&[&["pause", "--reason", "a test"], scope].concat());
        assert_eq!(set.code, 0, "{set:?}");
    }
    let listed = dev.run(&["pauses", "--output", "json"]).json();
    assert_eq!(listed.len(), 4, "{listed:?}");
    assert!(listed.iter().all(|one| one["reason"] == "a test"));
    let ends = listed.iter().filter(|one| one["until"].is_string());
    assert_eq!(ends.count(), 1, "{listed:?}");
    for wrong in [
        &["pause", "--reason", "x"][..],
        &["pause", "--reason", "x", "--message", "a", "--queue", "b"],
        &[
            "pause",
            "--reason",
            "x",
            "--message",
            "a",
            "--state",
            "Ready",
        ],
        &["pause", "--message", "a", "--for", "1h"],
        &["resume", "--pause"],
    ] {
        assert_eq!(dev.run(wrong).code, 64, "{wrong:?}");
    }
}

//! `events`: following operations as they are Completed.

use crate::dev::Dev;
use crate::run::{drumline, end, text};

#[test]
fn completions_are_followed_in_their_order_and_from_a_place() {
    let dev = Dev::start();
    let first = dev.submit(&["Echo", "--wait", "--name", "first"]);
    assert_eq!(dev.run(&["submit", "Fail", "--wait"]).code, 1);
    let second = dev.submit(&["Echo", "--wait", "--name", "second"]);
    let events = |arguments: &[&str]| {
        let all = [&["events", "-o", "json"], arguments].concat();
        let ended = dev.run(&all);
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.json()
    };
    let told = events(&["--after", "0", "--message", "Echo", "--limit", "2"]);
    let ids: Vec<_> = told
        .iter()
        .map(|event| text(&event["operation"], "id"))
        .collect();
    assert_eq!(ids, [first, second.clone()]);
    let place = text(&told[0], "event");
    let told = events(&["--after", &place, "--limit", "2"]);
    assert_eq!(told[0]["operation"]["status"], "Failed");
    assert_eq!(told[1]["operation"]["id"], second.as_str());
    let line = dev.run(&["events", "--after", "0", "--status", "Failed", "-n", "1"]);
    assert!(line.out.starts_with("Fail  "), "{line:?}");
}

#[test]
fn a_place_that_there_is_not_is_refused() {
    let dev = Dev::start();
    let ended = dev.run(&["events", "--after", "nowhere"]);
    assert_eq!(ended.code, 64, "{ended:?}");
    assert!(ended.err.contains("--after nowhere: must be"), "{ended:?}");
}

#[test]
fn only_what_has_ended_can_be_asked_for() {
    for arguments in [
        &["events", "--status", "InProgress"] as &[&str],
        &["purge", "--older-than", "1h", "--status", "Waiting"],
    ] {
        let ended = end(drumline().args(arguments));
        assert_eq!(ended.code, 64, "{ended:?}");
        assert!(ended.err.contains("expected one of Succeeded"), "{ended:?}");
    }
}

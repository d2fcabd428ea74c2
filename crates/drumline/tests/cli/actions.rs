//! `drumline actions`, and `--why` of the commands that start one.

use crate::dev::Dev;

/// Operations that wait, so that nothing runs meanwhile.
fn waiting(dev: &Dev, count: usize) -> Vec<String> {
    let submit = ["Echo", "--postpone-until", "2099-01-01T00:00:00Z"];
    (0..count).map(|_| dev.submit(&submit)).collect()
}

#[test]
fn the_service_acts_by_itself_and_the_command_follows() {
    let dev = Dev::start();
    let ids = waiting(&dev, 3);
    let cancel = ["cancel", "--message", "Echo", "--why", "sent by mistake"];
    let unsure = dev.run(&cancel);
    assert_eq!(
        unsure.code, 64,
        "there is no terminal to ask at: {unsure:?}"
    );
    let tried = dev.run(&[&cancel[..], &["--dry-run"]].concat());
    assert_eq!(tried.code, 0, "{tried:?}");
    let expected = "3 match: 3 would be cancelled, 0 would be refused";
    assert_eq!(tried.out.trim(), expected);
    let done = dev.run(&[&cancel[..], &["--yes"]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    let expected = "cancel is done: 3 selected, 3 done, 0 refused";
    assert!(done.out.contains(expected), "{done:?}");
    for id in ids {
        assert_eq!(dev.json(&["get", &id])["status"], "Canceled");
    }
}

#[test]
fn an_action_is_listed_shown_and_aborted() {
    let dev = Dev::start();
    assert_eq!(dev.run(&["actions"]).out.trim(), "there are no actions");
    waiting(&dev, 1);
    let pause = ["resume", "--all", "--yes", "--why", "a test", "--detach"];
    let started = dev.run(&pause);
    assert_eq!(started.code, 0, "{started:?}");
    let id = started.out.trim();
    let hint = format!("drumline actions abort {id}");
    assert!(started.err.contains(&hint), "{started:?}");
    let listed = dev.run(&["actions", "list", "--output", "json"]).json();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["id"], id);
    assert_eq!(listed[0]["reason"], "a test");
    let table = dev.run(&["actions"]);
    assert!(table.out.contains(id), "{table:?}");
    // It may have ended by now; then an abort changes nothing.
    let aborted = dev.json(&["actions", "abort", id]);
    assert_eq!(aborted["id"], id);
    let shown = dev.run(&["actions", "show", id]);
    assert!(shown.out.contains("resume is "), "{shown:?}");
    let none = "01a1ee56-5e7b-7707-800f-070707070707";
    assert_eq!(dev.run(&["actions", "show", none]).code, 4);
}

#[test]
fn what_does_not_go_together_is_refused() {
    let dev = Dev::start();
    for wrong in [
        &["actions", "list", "x"][..],
        &["actions", "abort"],
        &["cancel", "x", "--why", "y"],
        &["cancel", "--all", "--detach"],
        &["run-again", "--all", "--why", "y"],
        &["pause", "--all", "--reason", "x", "--why", "y"],
    ] {
        assert_eq!(dev.run(wrong).code, 64, "{wrong:?}");
    }
}

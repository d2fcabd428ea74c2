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
        &["run-again", "--all", "--why", "y", "--leave-token"],
        &["pause", "--all", "--reason", "x", "--why", "y"],
    ] {
        assert_eq!(dev.run(wrong).code, 64, "{wrong:?}");
    }
}

#[test]
fn the_service_runs_a_kind_of_failure_again() {
    let handlers = r#"
        [[handler]]
        message = "Break"
        command = ["sh", "-c", "echo no such host db$$ >&2; exit 3"]
    "#;
    let handlers = crate::run::file("handlers.toml", handlers);
    let dev = Dev::start_with(&["--handlers", &handlers.display().to_string()]);
    let old = dev.submit(&["Break"]);
    assert_eq!(dev.run(&["wait", &old]).code, 1);
    let is_counted = |_: &u16| dev.run(&["failures"]).out.contains("no such host");
    assert!((0..1_000).any(|look| is_counted(&look)), "it is counted");
    let group = dev.json(&["failures"]);
    let group = group["id"].as_str().expect("an id");
    let listed = dev.json(&["list", "--failure", group]);
    assert_eq!(listed["id"], old.as_str());
    let run_again = [
        "run-again",
        "--failure",
        group,
        "--status",
        "Failed",
        "--why",
        "mended",
    ];
    let tried = dev.run(&[&run_again[..], &["--dry-run"]].concat());
    let expected = "1 match: 1 would run again, 0 would be refused";
    assert_eq!(tried.out.trim(), expected, "{tried:?}");
    let done = dev.run(&[&run_again[..], &["--yes"]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    let expected = "run-again is done: 1 selected, 1 done, 0 refused";
    assert!(done.out.contains(expected), "{done:?}");
    let changed = dev.run(&[&run_again[..], &["--leave-token", "--yes"]].concat());
    assert_eq!(changed.code, 64, "{changed:?}");
    let by_id = dev.run(&["run-again", &old, "--why", "mended"]);
    assert_eq!(by_id.code, 64, "{by_id:?}");
}

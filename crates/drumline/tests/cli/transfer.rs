//! `export` and `import`: from one namespace to another.

use std::collections::BTreeSet;
use std::path::Path;

use crate::run::{Process, drumline, end, end_with_input, file, folder};
use crate::servers::Place;

#[tokio::test]
async fn operations_move_to_another_namespace_and_go_on_there() {
    let (old, new) = (Place::new("export").await, Place::new("import").await);
    let handlers = file(
        "handlers.toml",
        "[[handler]]\nmessage = \"Greet\"\ncommand = [\"sh\", \"-c\", \"cat >/dev/null; echo '{\\\"hello\\\": \\\"you\\\"}'\"]\n",
    );
    let handlers = handlers.display().to_string();
    let unused = end(&mut old.command(&["export"]));
    assert_eq!(unused.code, 4, "{unused:?}");
    let manager = Process::start(&mut old.command(&["queue-manager", "--listen=127.0.0.1:0"]));
    let url = manager.url();
    let ask = |arguments: &[&str]| {
        let ended = end(old.command(arguments).env("DRUMLINE_SERVER", &url));
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended
    };
    let submit = |arguments: &[&str]| {
        let all = [&["submit", "Greet", "-o", "json"], arguments].concat();
        ask(&all).json()[0]["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    let head = submit(&["--token", "t", "--data", "{\"n\": 1}"]);
    ask(&["pause", &head]);
    let behind = [submit(&["--token", "t"]), submit(&["--token", "t"])];
    let due = submit(&["--postpone-until", "2099-01-01T00:00:00Z"]);
    ask(&["pause", "--message", "Later", "--reason", "moving"]);
    let worker = Process::start(&mut old.command(&["worker", "--handlers", &handlers]));
    let done = submit(&["--token", "u", "--wait"]);

    let shared = end(&mut old.command(&["export"]));
    assert_eq!(shared.code, 5, "others work on it: {shared:?}");
    assert_eq!(worker.terminate(), 0);
    assert_eq!(manager.terminate(), 0);
    let exported = end(&mut old.command(&["export", "--history"]));
    assert_eq!(exported.code, 0, "{exported:?}");
    assert!(
        exported.err.contains("5 operations and 1 pause"),
        "{exported:?}"
    );
    let cut = exported
        .out
        .lines()
        .next()
        .expect("a first line")
        .to_owned()
        + "\n";
    let begun = end_with_input(&mut new.command(&["import"]), &cut);
    assert_eq!(begun.code, 65, "{begun:?}");
    let told = end(&mut new.command(&["doctor"]));
    assert!(told.out.contains("has not come to its end"), "{told:?}");
    for arguments in [&["import"][..], &["import", "--again"]] {
        let imported = end_with_input(&mut new.command(arguments), &exported.out);
        assert_eq!(imported.code, 0, "{imported:?}");
        assert!(
            imported.err.contains("imported 5 operations"),
            "{imported:?}"
        );
    }
    // Operations that are removed later must not come back by mistake.
    let repeated = end_with_input(&mut new.command(&["import"]), &exported.out);
    assert_eq!(repeated.code, 5, "{repeated:?}");
    assert!(repeated.err.contains("--again"), "{repeated:?}");
    let told = end(&mut new.command(&["doctor"]));
    assert!(!told.out.contains("has not come to its end"), "{told:?}");
    let again = end(&mut new.command(&["export", "--history"]));
    // Operations of two partitions that were imported in one moment have no order.
    let operations = |text: &str| {
        let lines = text.lines().skip(1).map(str::to_owned);
        lines.collect::<BTreeSet<String>>()
    };
    assert_eq!(operations(&again.out), operations(&exported.out));

    let manager = Process::start(&mut new.command(&["queue-manager", "--listen=127.0.0.1:0"]));
    let url = manager.url();
    let worker = Process::start(&mut new.command(&["worker", "--handlers", &handlers]));
    let ask = |arguments: &[&str]| {
        let ended = end(new.command(arguments).env("DRUMLINE_SERVER", &url));
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended.json().remove(0)
    };
    let get = |id: &str| ask(&["get", id, "-o", "json"]);
    assert_eq!(get(&done)["result"]["hello"], "you");
    assert_eq!(get(&done)["startCount"], 1);
    assert_eq!(get(&due)["status"], "Waiting");
    assert_eq!(get(&behind[0])["status"], "WaitingForResources");
    ask(&["resume", &head, "-o", "json"]);
    let mut before = String::new();
    for id in [&head, &behind[0], &behind[1]] {
        let ended = ask(&["wait", id, "-o", "json"]);
        assert_eq!(ended["status"], "Succeeded", "{ended}");
        let started = ended["startedOn"].as_str().expect("a time").to_owned();
        assert!(started >= before, "in the order of the chain: {ended}");
        before = started;
    }
    assert_eq!(worker.terminate(), 0);
    assert_eq!(manager.terminate(), 0);
    // Operations that have gone on meanwhile are recognised, and not undone.
    let repeated = end_with_input(&mut new.command(&["import", "--again"]), &exported.out);
    assert_eq!(repeated.code, 0, "{repeated:?}");
    assert!(
        repeated.err.contains("3 were there already"),
        "{repeated:?}"
    );
}

/// Moves what waits in a folder to Redis and back to another folder.
#[tokio::test]
async fn operations_move_from_a_folder_to_redis_and_back() {
    let place = Place::new("folder").await;
    let (first, second) = (folder().join("first"), folder().join("second"));
    let in_folder = |arguments: &[&str], data: &Path| {
        let mut command = drumline();
        command.args(arguments).arg("--data").arg(data);
        command
    };
    let flags = ["standalone", "--listen=127.0.0.1:0", "--log=off"];
    let unused = end(&mut in_folder(&["export"], &first));
    assert_eq!(unused.code, 4, "{unused:?}");
    assert!(!first.exists(), "an export makes no store");

    let process = Process::start(&mut in_folder(&flags, &first));
    let url = process.url();
    let ask = |url: &str, arguments: &[&str]| {
        let ended = end(drumline().args(arguments).env("DRUMLINE_SERVER", url));
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended
    };
    ask(&url, &["pause", "--message", "Echo", "--reason", "moving"]);
    let submit = |arguments: &[&str]| {
        let all = [&["submit", "Echo", "-o", "json"], arguments].concat();
        let created = ask(&url, &all).json().remove(0);
        created["id"].as_str().expect("an id").to_owned()
    };
    let chain = ["1", "2", "3"].map(|data| submit(&["--token", "t", "--data", data]));
    let used = end(&mut in_folder(&["export"], &first));
    assert_eq!(used.code, 69, "a process uses it: {used:?}");
    assert_eq!(process.terminate(), 0);

    let checked = end(&mut in_folder(&["check"], &first));
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.out.contains("no faults"), "{checked:?}");
    let exported = end(&mut in_folder(&["export", "--history"], &first));
    assert_eq!(exported.code, 0, "{exported:?}");
    assert!(
        exported.err.contains("3 operations and 1 pause"),
        "{exported:?}"
    );
    let imported = end_with_input(&mut place.command(&["import"]), &exported.out);
    assert_eq!(imported.code, 0, "{imported:?}");
    let moved = end(&mut place.command(&["export", "--history"]));
    assert_eq!(moved.code, 0, "{moved:?}");

    // A part of it: nothing runs before the rest is there, or is given up.
    let (cut, _) = moved.out.trim_end().rsplit_once('\n').expect("many lines");
    let begun = end_with_input(&mut in_folder(&["import"], &second), &format!("{cut}\n"));
    assert_eq!(begun.code, 65, "{begun:?}");
    let refused = end(&mut in_folder(&flags, &second));
    assert_eq!(refused.code, 65, "{refused:?}");
    assert!(refused.err.contains("--give-up"), "{refused:?}");
    let given_up = end(&mut in_folder(&["import", "--give-up"], &second));
    assert!(
        given_up.err.contains("1 import was given up"),
        "{given_up:?}"
    );
    let back = end_with_input(&mut in_folder(&["import", "--again"], &second), &moved.out);
    assert_eq!(back.code, 0, "{back:?}");
    assert!(back.err.contains("imported 3 operations"), "{back:?}");
    let again = end(&mut in_folder(&["export", "--history"], &second));
    let operations = |text: &str| text.split_once('\n').map(|(_, rest)| rest.to_owned());
    assert_eq!(operations(&again.out), operations(&exported.out));

    let process = Process::start(&mut in_folder(&flags, &second));
    let url = process.url();
    let scope = ask(&url, &["pauses", "-o", "json"]).json().remove(0);
    assert_eq!(scope["reason"], "moving", "{scope}");
    ask(&url, &["resume", "--message", "Echo", "--pause"]);
    for (id, data) in chain.iter().zip(["1", "2", "3"]) {
        let ended = ask(&url, &["wait", id, "-o", "json"]).json().remove(0);
        assert_eq!(ended["status"], "Succeeded", "{ended}");
        assert_eq!(ended["result"].to_string(), data, "{ended}");
    }
    assert_eq!(process.terminate(), 0);
}

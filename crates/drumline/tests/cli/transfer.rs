//! `export` and `import`: from one namespace to another.

use crate::run::{Process, end, end_with_input, file};
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
    let operations = |text: &str| text.split_once('\n').map(|(_, rest)| rest.to_owned());
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

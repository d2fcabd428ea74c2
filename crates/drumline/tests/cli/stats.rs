//! `drumline stats` and `drumline failures`.

use crate::dev::Dev;
use crate::run::file;

#[test]
fn failures_of_one_kind_are_shown_together() {
    let handlers = r#"
        [[handler]]
        message = "Break"
        command = ["sh", "-c", "echo no such host db$$ >&2; exit 3"]
    "#;
    let handlers = file("handlers.toml", handlers).display().to_string();
    let dev = Dev::start_with(&["--handlers", &handlers]);
    let nothing = dev.run(&["failures"]);
    assert_eq!(nothing.out, "");
    assert!(nothing.err.contains("nothing has failed"), "{nothing:?}");
    let ids = [dev.submit(&["Break"]), dev.submit(&["Break"])];
    for id in &ids {
        assert_eq!(dev.run(&["wait", id]).code, 1);
    }
    // They are counted a moment after the end.
    let both = |_: &u16| {
        dev.run(&["failures", "-o", "json"])
            .out
            .contains("\"count\":2")
    };
    assert!((0..1_000).any(|look| both(&look)), "they are counted");
    let group = dev.json(&["failures"]);
    assert_eq!(group["count"], 2, "{group}");
    assert_eq!(group["messageName"], "Break");
    assert_eq!(group["pattern"], "no such host db#");
    let sample = group["sample"].as_str().expect("an id");
    assert!(ids.iter().any(|id| id == sample), "{group}");
    let shown = dev.run(&["failures"]).out;
    assert!(shown.contains("no such host db#"), "{shown}");
    assert!(shown.contains("······█"), "{shown}");
    assert_eq!(dev.run(&["failures", "-n", "0"]).code, 64);

    // The kind is known now, so it raises no alarm.
    let kind = group["id"].as_str().expect("an id");
    assert!(shown.contains(kind), "{shown}");
    let top = dev.run(&["top", "--once"]);
    assert!(top.out.contains("no such host db#"), "{top:?}");
    let no_end = dev.run(&["mute", kind, "--reason", "the host moves"]);
    assert_eq!(no_end.code, 64, "{no_end:?}");
    let muted = dev.run(&["mute", kind, "--for", "2h", "--reason", "the host moves"]);
    assert_eq!(muted.code, 0, "{muted:?}");
    let shown = dev.run(&["failures"]).out;
    assert!(shown.contains("muted:"), "{shown}");
    assert!(shown.contains("the host moves"), "{shown}");
    let top = dev.run(&["top", "--once"]);
    assert!(!top.out.contains("within the last hour"), "{top:?}");
    assert_eq!(dev.run(&["unmute", kind]).code, 0);
    assert_eq!(dev.run(&["unmute", kind]).code, 4);
    let shown = dev.run(&["failures"]).out;
    assert!(!shown.contains("muted:"), "{shown}");
}

#[test]
fn without_counts_it_is_said_when_there_will_be_some() {
    let dev = Dev::start();
    let stats = dev.run(&["stats"]);
    assert_eq!(stats.code, 0);
    assert_eq!(stats.out, "");
    assert!(stats.err.contains("last minute"), "{stats:?}");
    let stats = dev.json(&["stats"]);
    assert_eq!(stats["total"]["created"], 0);
}

//! The processes that stay: their start, and their end.

use crate::dev::Dev;
use crate::run::{drumline, end, file, folder};

#[test]
fn a_signal_drains_and_ends_with_success() {
    let dev = Dev::start();
    let id = dev.submit(&["Echo", "--wait"]);
    assert!(!id.is_empty());
    assert_eq!(dev.terminate(), 0);
}

#[test]
fn other_machines_are_not_served_unless_that_is_said() {
    for command in ["dev", "queue-manager"] {
        let ended = end(drumline().args([command, "--listen", "0.0.0.0:0"]));
        assert_eq!(ended.code, 64, "{ended:?}");
        assert!(ended.err.contains("--allow-unauthenticated"), "{ended:?}");
    }
    let open = Dev::start_on("0.0.0.0:0", &["--allow-unauthenticated"]);
    assert!(open.url.starts_with("http://0.0.0.0:"), "{}", open.url);
}

#[test]
fn a_port_that_is_taken_is_told() {
    let dev = Dev::start();
    let address = dev.url.strip_prefix("http://").unwrap();
    let ended = end(drumline().args(["dev", "--listen", address]));
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.err.contains("another process listens there"),
        "{ended:?}"
    );
}

#[test]
fn a_handlers_file_is_obeyed() {
    let handlers = file(
        "handlers.toml",
        "[[handler]]\nmessage = \"Greet\"\ncommand = [\"sh\", \"-c\", \"cat >/dev/null; echo '{\\\"hello\\\": \\\"you\\\"}'\"]\n",
    );
    let dev = Dev::start_with(&["--handlers", &handlers.display().to_string()]);
    let operation = dev.json(&["submit", "Greet", "--wait"]);
    assert_eq!(operation["result"]["hello"], "you", "{operation}");
    // The handlers for trying things out are there all the same.
    assert_eq!(dev.run(&["submit", "Echo", "--wait"]).code, 0);
}

#[test]
fn what_a_handler_submits_is_a_child_in_the_same_trace() {
    // Its only line of JSON, hence its result, is the answer of `submit`: the
    // child. The address to submit to is in its environment.
    let program = env!("CARGO_BIN_EXE_drumline");
    let script = file(
        "handler.sh",
        &format!("cat >/dev/null\nexec {program} submit Echo --output json\n"),
    );
    let handlers = file(
        "handlers.toml",
        &format!("[[handler]]\nmessage = \"Parent\"\ncommand = [\"sh\", {script:?}]\n"),
    );
    let dev = Dev::start_with(&["--handlers", &handlers.display().to_string()]);
    let parent = dev.json(&["submit", "Parent", "--wait"]);
    assert_eq!(parent["status"], "Succeeded", "{parent}");
    let child = &parent["result"];
    assert_eq!(child["parentId"], parent["id"], "{parent}");
    assert_eq!(child["depth"], 1, "{parent}");
    assert_eq!(child["correlationId"], parent["correlationId"]);
}

#[test]
fn mistakes_in_a_handlers_file_are_told_before_anything_starts() {
    let handlers = file(
        "handlers.toml",
        "[[handler]]\nmessage = \"A\"\n\n[[handler]]\ncommand = [\"true\"]\ntimeout = \"soon\"\n",
    );
    let handlers = handlers.display().to_string();
    for command in ["dev", "worker"] {
        let ended = end(drumline().args([command, "--handlers", &handlers]));
        assert_eq!(ended.code, 65, "{ended:?}");
        for place in ["line 1: ", "line 4: ", "line 6: "] {
            assert!(ended.err.contains(place), "{place}: {ended:?}");
        }
    }
    let missing = folder().join("none.toml");
    let ended = end(drumline().args(["dev", "--handlers"]).arg(missing));
    assert_eq!(ended.code, 65, "{ended:?}");
}

#[test]
fn a_worker_without_handlers_is_refused() {
    let ended = end(drumline().arg("worker"));
    assert_eq!(ended.code, 64, "{ended:?}");
    assert!(ended.err.contains("--handlers"), "{ended:?}");
}

#[test]
fn servers_that_stay_away_end_the_start_with_a_code_of_its_own() {
    let ended = end(drumline().args([
        "queue-manager",
        "--listen=127.0.0.1:0",
        "--redis-url=redis://127.0.0.1:1",
        "--start-patience=0s",
    ]));
    assert_eq!(ended.code, 69, "{ended:?}");
    assert!(
        ended.err.contains("Redis at redis://127.0.0.1:1"),
        "{ended:?}"
    );
}

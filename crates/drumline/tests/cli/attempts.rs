//! `drumline attempts`.

use serde_json::json;

use crate::dev::{Dev, UNKNOWN};
use crate::run::file;

#[test]
fn what_a_handler_has_printed_is_shown_with_its_attempt() {
    let handlers = r#"
        [[handler]]
        message = "Shell"
        command = ["sh", "-c", "printf 'one\\n\\033[31mtwo\\n'; echo three >&2; exit 3"]
    "#;
    let handlers = file("handlers.toml", handlers).display().to_string();
    let dev = Dev::start_with(&["--handlers", &handlers]);
    let id = dev.submit(&["Shell"]);
    assert_eq!(dev.run(&["wait", &id]).code, 1);
    let found = dev.json(&["attempts", &id]);
    assert_eq!(found["id"], json!(id));
    assert_eq!(found["omitted"], 0);
    let attempts = found["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 1, "{found}");
    assert_eq!(attempts[0]["outcome"], "failed");
    assert_eq!(attempts[0]["outputCutBytes"], 0);
    let printed = attempts[0]["output"].as_str().expect("an output");
    assert!(printed.contains("one\n\u{1b}[31mtwo\n"), "{printed:?}");
    assert!(printed.contains("three\n"), "{printed:?}");
    let shown = dev.run(&["attempts", "--last", &id]).out;
    assert!(shown.starts_with("attempt 1: failed on "), "{shown}");
    assert!(shown.contains("\n  two\n"), "{shown}");
}

#[test]
fn an_operation_that_is_not_there_has_no_attempts() {
    let dev = Dev::start();
    assert_eq!(dev.run(&["attempts", UNKNOWN]).code, 4);
    let far = dev.submit(&["Echo", "--in", "1h"]);
    let shown = dev.run(&["attempts", &far]).out;
    assert_eq!(shown, "no handler has been started yet\n");
}

//! Texts that came from outside, on a terminal and in pipes; and errors for programs.

use serde_json::{Value, json};

use crate::dev::{Dev, UNKNOWN};
use crate::run::{drumline, end};

/// Characters that a terminal would obey: colours, a new line, another direction.
const EVIL: &str = "a\u{1b}[31m\nb\u{202e}c\u{9b}2Jd";
/// The same, harmless.
const SHOWN: &str = "a\u{fffd}[31m b\u{fffd}c\u{fffd}2Jd";

#[test]
fn no_text_from_outside_reaches_the_terminal_as_it_is() {
    let dev = Dev::start();
    let data = json!({ "message": EVIL }).to_string();
    let submit = ["Fail", "--name", EVIL, "--token", EVIL, "--data", &data];
    let id = dev.submit(&submit);
    assert_eq!(dev.run(&["wait", &id]).code, 1);
    let commands: [&[&str]; 6] = [
        &["list"],
        &["get", &id],
        &["history", &id],
        &["events", "--after", "0", "--limit", "1"],
        &["wait", &id],
        &["cancel", "--name", EVIL, "--dry-run"],
    ];
    for command in commands {
        let ended = dev.run(command);
        for text in [&ended.out, &ended.err] {
            let obeyed = text.chars().find(|character| {
                character.is_control() && *character != '\n' || *character == '\u{202e}'
            });
            assert_eq!(obeyed, None, "{command:?}: {ended:?}");
        }
    }
    for command in [
        &["list"][..],
        &["get", &id],
        &["events", "--after", "0", "--limit", "1"],
    ] {
        let ended = dev.run(command);
        assert!(ended.out.contains(SHOWN), "{command:?}: {ended:?}");
    }
    let list = dev.run(&["list"]);
    assert_eq!(list.out.lines().count(), 2, "{list:?}");
    let events = dev.run(&["events", "--after", "0", "--limit", "1"]);
    assert_eq!(events.out.lines().count(), 1, "{events:?}");
}

#[test]
fn a_json_value_is_one_line_on_every_command() {
    let dev = Dev::start();
    let data = format!("{{\n  \"a\": [1,\r\n 2],\n\t\"text\": {}\n}}", json!(EVIL));
    let id = dev.submit(&["Echo", "--data", &data, "--name", EVIL]);
    let sent: Value = serde_json::from_str(&data).expect("JSON");
    let commands: [&[&str]; 5] = [
        &["wait", &id],
        &["get", &id],
        &["list"],
        &["events", "--after", "0", "--limit", "1"],
        &["history", &id],
    ];
    for command in commands {
        let ended = dev.run(&[command, &["-o", "json"]].concat());
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(ended.out.lines().count(), 1, "{command:?}: {ended:?}");
        assert!(!ended.out.contains(['\u{9b}', '\u{202e}']), "{ended:?}");
        let mut values = ended.json();
        let value = values.remove(0);
        let operation = value.get("operation").unwrap_or(&value);
        if let Some(result) = operation.get("data") {
            assert_eq!(*result, sent, "{command:?}");
        }
    }
}

#[test]
fn errors_are_json_where_the_output_is() {
    let dev = Dev::start();
    let missing = dev.run(&["get", UNKNOWN, "-o", "json"]);
    assert_eq!((missing.code, missing.out.as_str()), (4, ""), "{missing:?}");
    let error: Value = serde_json::from_str(missing.err.trim()).expect("one line of JSON");
    assert_eq!(error["error"]["exitCode"], 4, "{error}");
    assert_eq!(error["error"]["code"], "0x80040217", "{error}");
    assert_eq!(error["error"]["name"], "ObjectDoesNotExist", "{error}");
    assert!(error["error"]["message"].is_string(), "{error}");

    let two = dev.run(&["cancel", UNKNOWN, UNKNOWN, "-o", "json"]);
    let lines: Vec<Value> = two
        .err
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 3, "{two:?}");

    for arguments in [
        &["list", "--colour", "-o", "json"][..],
        &["list", "--output=json", "--limit", "x"],
    ] {
        let usage = end(drumline().args(arguments));
        assert_eq!(usage.code, 64, "{usage:?}");
        let error: Value = serde_json::from_str(usage.err.trim()).expect("one line of JSON");
        assert_eq!(error["error"]["exitCode"], 64, "{error}");
    }
    let unreachable =
        end(drumline().args(["list", "--server", "http://127.0.0.1:1", "-o", "json"]));
    let error: Value = serde_json::from_str(unreachable.err.trim()).expect("one line of JSON");
    assert_eq!(error["error"]["exitCode"], 69, "{error}");
    assert!(error["error"]["hint"].is_string(), "{error}");
}

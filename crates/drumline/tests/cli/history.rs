//! `drumline history`.

use serde_json::{Value, json};

use crate::dev::{Dev, UNKNOWN};

#[test]
fn a_history_names_each_change_and_its_caller() {
    let dev = Dev::start();
    let far = ["Echo", "--in", "1h", "--caller", "ann"];
    let id = dev.submit(&far);
    dev.json(&["resume", &id, "--caller", "bob"]);
    assert_eq!(dev.run(&["wait", &id, "--timeout", "30s"]).code, 0);
    let history = dev.json(&["history", &id]);
    assert_eq!(history["id"], json!(id));
    assert_eq!(history["omitted"], 0);
    let entries = history["entries"].as_array().expect("entries");
    let word = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("").to_owned();
    let told: Vec<String> = entries
        .iter()
        .map(|entry| {
            let actor = &entry["actor"];
            format!("{} {}", word(entry, "event"), word(actor, "kind"))
        })
        .collect();
    assert_eq!(
        told,
        [
            "create caller",
            "resume caller",
            "claim worker",
            "succeed worker"
        ]
    );
    let text = dev.run(&["history", &id]).out;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[0].starts_with("TIME "), "{text}");
    assert!(lines[1].contains("caller ann"), "{text}");
    assert!(
        lines[2].contains("resume") && lines[2].contains("caller bob"),
        "{text}"
    );
}

#[test]
fn an_operation_that_is_not_there_has_no_history() {
    let dev = Dev::start();
    assert_eq!(dev.run(&["history", UNKNOWN]).code, 4);
}

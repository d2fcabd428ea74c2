//! `submit --file`.

use std::collections::HashMap;

use crate::dev::Dev;
use crate::run::{drumline, end, end_with_input, file};

/// `count` requests over `tokens` tokens.
fn requests(count: usize, tokens: usize) -> String {
    (0..count)
        .map(|number| {
            format!(
                "{{\"messageName\":\"Echo\",\"dependencyToken\":\"t{}\",\"data\":{number}}}\n",
                number % tokens
            )
        })
        .collect()
}

#[test]
fn the_lines_of_a_token_keep_their_order() {
    let dev = Dev::start();
    let path = file("operations.jsonl", &requests(120, 7));
    let path = path.display().to_string();
    let ended = dev.run(&["submit", "--file", &path, "--wait", "-o", "json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let listed = dev.run(&["list", "--limit", "0", "-o", "json"]);
    let mut operations = listed.json();
    assert_eq!(operations.len(), 120);
    operations.sort_by_key(|operation| operation["sequence"].as_u64());
    let mut last: HashMap<String, u64> = HashMap::new();
    for operation in operations {
        let token = operation["dependencyToken"].as_str().unwrap().to_owned();
        let number = operation["data"].as_u64().unwrap();
        assert_eq!(operation["status"], "Succeeded");
        let before = last.insert(token, number);
        assert!(
            before.is_none_or(|before| before < number),
            "{number} after {before:?}"
        );
    }
}

#[test]
fn the_same_file_again_creates_nothing_twice() {
    let dev = Dev::start();
    let path = file("operations.jsonl", &requests(20, 3));
    let path = path.display().to_string();
    let first = dev.run(&["submit", "--file", &path]);
    assert!(first.out.contains("20 operations created"), "{first:?}");
    let again = dev.run(&["submit", "--file", &path]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(
        again.out.contains("0 operations created, 20 were there"),
        "{again:?}"
    );
    assert_eq!(
        dev.run(&["list", "--limit", "0", "-o", "json"])
            .json()
            .len(),
        20
    );
}

#[test]
fn more_lines_than_a_batch_has_are_created_in_their_order() {
    let dev = Dev::start();
    let lines: String = (0..1_203)
        .map(|number| format!("{{\"messageName\":\"Echo\",\"name\":\"{number}\",\"postponeUntil\":\"2099-01-01T00:00:00Z\"}}\n"))
        .collect();
    let path = file("operations.jsonl", &lines);
    let path = path.display().to_string();
    let ended = dev.run(&["submit", "--file", &path, "-o", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let answers = ended.json();
    assert_eq!(answers.len(), 1_203);
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer["line"], index + 1);
        assert_eq!(answer["existed"], false);
    }
    let last = answers[1_202]["id"].as_str().unwrap();
    assert_eq!(dev.json(&["get", last])["name"], "1202");
}

#[test]
fn every_bad_line_is_told_and_nothing_is_sent() {
    let dev = Dev::start();
    let lines = "{\"messageName\":\"Echo\"}\nnot json\n{\"messageName\":\"Echo\",\"colour\":1}\n\n{\"name\":\"x\"}\n";
    let path = file("bad.jsonl", lines);
    let path = path.display().to_string();
    let ended = dev.run(&["submit", "--file", &path]);
    assert_eq!(ended.code, 65, "{ended:?}");
    for place in [
        "bad.jsonl:2: ",
        "bad.jsonl:3: colour",
        "bad.jsonl:5: messageName",
    ] {
        assert!(ended.err.contains(place), "{place}: {ended:?}");
    }
    assert_eq!(dev.run(&["list", "-o", "json"]).out, "");
}

#[test]
fn a_single_bad_line_is_not_told_as_several() {
    let path = file("bad.jsonl", "{");
    let ended = end(drumline().args(["submit", "--file"]).arg(path));
    assert_eq!(ended.code, 65, "{ended:?}");
    assert!(ended.err.contains("1 bad line;"), "{ended:?}");
}

#[test]
fn requests_are_read_from_standard_input() {
    let dev = Dev::start();
    let ended = end_with_input(
        &mut dev.command(&["submit", "--file", "-"]),
        &requests(3, 3),
    );
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("3 operations created"), "{ended:?}");
}

#[test]
fn a_line_that_the_service_refuses_stops_the_run_and_says_how_to_go_on() {
    // Small bodies only, so that the second line is refused by the service alone.
    let dev = Dev::start_with(&["--max-body", "1024"]);
    let large = "x".repeat(2000);
    let lines = format!(
        "{{\"messageName\":\"Echo\"}}\n{{\"messageName\":\"Echo\",\"data\":\"{large}\"}}\n"
    );
    let path = file("operations.jsonl", &lines);
    let path = path.display().to_string();
    let ended = dev.run(&["submit", "--file", &path]);
    assert_eq!(ended.code, 64, "{ended:?}");
    assert!(ended.err.contains("line 2: "), "{ended:?}");
    let (_, rest) = ended.err.split_once("--continue-as ").unwrap();
    let key = rest.split_whitespace().next().unwrap();
    std::fs::write(
        &path,
        "{\"messageName\":\"Echo\"}\n{\"messageName\":\"Echo\",\"data\":1}\n",
    )
    .unwrap();
    let corrected = dev.run(&["submit", "--file", &path, "--continue-as", key]);
    assert_eq!(corrected.code, 0, "{corrected:?}");
    assert!(
        corrected.out.contains("1 operation created, 1 was there"),
        "{corrected:?}"
    );
}

#[test]
fn a_file_excludes_the_attributes_of_a_single_operation() {
    for more in [["--token", "t"], ["--name", "n"], ["--data", "1"]] {
        let ended = end(drumline().args(["submit", "--file", "x.jsonl"]).args(more));
        assert_eq!(ended.code, 64, "{ended:?}");
    }
}

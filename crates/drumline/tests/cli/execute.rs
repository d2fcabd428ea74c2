//! `execute`: organization requests from a file.

use serde_json::{Value, json};

use crate::dev::{Dev, UNKNOWN};
use crate::run::{drumline, end, end_with_input, file};

fn create(message: &str) -> Value {
    json!({"requestName": "Create", "parameters": {"target": {"messageName": message}}})
}

fn batch(requests: &[Value]) -> String {
    let settings = json!({"continueOnError": true, "returnResponses": true});
    let parameters = json!({"requests": requests, "settings": settings});
    json!({"requestName": "ExecuteMultiple", "parameters": parameters}).to_string()
}

#[test]
fn a_batch_is_shown_item_by_item_and_a_fault_is_an_exit_code() {
    let dev = Dev::start();
    let delete = json!({"requestName": "Delete", "parameters": {"id": UNKNOWN}});
    let path = file(
        "batch.json",
        &batch(&[create("Echo"), delete, create("Echo")]),
    );
    let path = path.display().to_string();
    let shown = dev.run(&["execute", "--file", &path, "--output", "table"]);
    assert_eq!(shown.code, 6, "{shown:?}");
    let lines: Vec<&str> = shown.out.lines().collect();
    assert_eq!(lines.len(), 4, "{shown:?}");
    assert!(lines[1].starts_with("0      Create   0"), "{shown:?}");
    assert!(
        lines[2].starts_with("1      Delete   0x80040217 ObjectDoesNotExist"),
        "{shown:?}"
    );
    let answered = dev.run(&["execute", "--file", &path, "--output", "json"]);
    assert_eq!(answered.code, 6, "{answered:?}");
    let answer = &answered.json()[0];
    assert_eq!(answer["responseName"], "ExecuteMultiple");
    assert_eq!(answer["results"]["isFaulted"], true);
    let id = answer["results"]["responses"][2]["response"]["results"]["id"]
        .as_str()
        .unwrap();
    assert_eq!(dev.run(&["wait", id]).code, 0);
}

fn transaction(requests: &[Value], return_responses: bool) -> String {
    let parameters = json!({"requests": requests, "returnResponses": return_responses});
    json!({"requestName": "ExecuteTransaction", "parameters": parameters}).to_string()
}

#[test]
fn a_transaction_shows_its_ids_or_says_how_to_see_them() {
    let dev = Dev::start();
    let run = |text: &str| {
        let path = file("transaction.json", text);
        dev.run(&["execute", "--file", &path.display().to_string()])
    };
    let requests = [create("Echo"), create("Echo")];
    let shown = run(&transaction(&requests, true));
    assert_eq!(shown.code, 0, "{shown:?}");
    let ids: Vec<&str> = shown
        .out
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    assert_eq!(ids.len(), 2, "{shown:?}");
    assert_eq!(dev.run(&["wait", ids[0], ids[1]]).code, 0, "{shown:?}");

    let short = run(&transaction(&requests, false));
    assert_eq!(short.out.trim(), "done", "{short:?}");
    assert!(short.err.contains("returnResponses"), "{short:?}");

    let delete = json!({"requestName": "Delete", "parameters": {"id": UNKNOWN}});
    let faulted = run(&transaction(&[create("Echo"), delete], true));
    assert_eq!(faulted.code, 6, "{faulted:?}");
    let said = faulted.err.matches("nothing was done").count();
    assert_eq!(said, 1, "{faulted:?}");
}

#[test]
fn a_request_is_read_from_standard_input() {
    let dev = Dev::start();
    let request = json!({"requestName": "ExecuteAsync", "parameters": {
        "request": {"requestName": "ImportSolution", "parameters": {"file": "crm.zip"}},
    }});
    let ended = end_with_input(
        &mut dev.command(&["execute", "-f", "-"]),
        &request.to_string(),
    );
    assert_eq!(ended.code, 0, "{ended:?}");
    let operation = dev.json(&["get", ended.out.trim()]);
    assert_eq!(operation["messageName"], "ImportSolution");
}

#[test]
fn a_fault_of_the_whole_request_is_an_answer_too() {
    let dev = Dev::start();
    let path = file("batch.json", &batch(&vec![create("Echo"); 1_001]));
    let path = path.display().to_string();
    let faulted = dev.run(&["execute", "--file", &path, "-o", "json"]);
    assert_eq!(faulted.code, 6, "{faulted:?}");
    assert_eq!(
        faulted.json()[0]["fault"]["errorDetails"]["MaxBatchSize"],
        1_000
    );
    assert_eq!(dev.run(&["list", "-o", "json"]).out, "");
}

#[test]
fn what_is_not_json_is_not_sent() {
    let path = file("batch.json", "{");
    let ended = end(drumline().args(["execute", "--file"]).arg(path));
    assert_eq!(ended.code, 65, "{ended:?}");
    assert!(ended.err.contains("is not JSON"), "{ended:?}");
}

//! `ExecuteTransaction`: all or nothing.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::batches::batch;
use super::{create, executed, id, names, request};
use crate::support::client::{Answer, Client};
use crate::support::worker::{Listener, Worker};
use crate::support::{backend, manager};

fn transaction(requests: &[Value]) -> Value {
    let parameters = json!({"requests": requests, "returnResponses": true});
    request("ExecuteTransaction", parameters)
}

fn set_state(id: impl ToString, state: u8) -> Value {
    let target = json!({"id": id.to_string(), "stateCode": state});
    request("Update", json!({"target": target}))
}

fn delete(id: impl ToString) -> Value {
    request("Delete", json!({"id": id.to_string()}))
}

#[tokio::test(start_paused = true)]
async fn everything_is_done_and_answered_in_order() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let done = id(&executed(&client, &create("done")).await);
    Worker::new(&backend).run(done).await;
    let paused = id(&executed(&client, &create("paused")).await);
    executed(&client, &set_state(paused, 1)).await;
    let later = json!({"request": {"requestName": "ImportSolution"}});
    let mut listener = Listener::of_work(&backend).await;
    while !listener.hear(Duration::from_secs(1)).await.is_empty() {}

    let requests = [
        create("new"),
        set_state(paused, 0),
        delete(done),
        request("ExecuteAsync", later),
    ];
    let results = executed(&client, &transaction(&requests)).await;
    let responses = results["responses"].as_array().expect("a list");
    let shown: Vec<_> = responses.iter().map(|one| &one["responseName"]).collect();
    assert_eq!(shown, ["Create", "Update", "Delete", "ExecuteAsync"]);
    assert_eq!(responses[1]["results"], Value::Null);
    let new = id(&responses[0]["results"]);
    assert_eq!(client.status(new).await, "WaitingForResources");
    assert_eq!(client.status(paused).await, "WaitingForResources");
    assert_eq!(names(&client).await, ["ImportSolution", "new", "paused"]);
    // Operations that may run now are offered.
    let mut heard = listener.hear(Duration::from_secs(5)).await;
    heard.extend(listener.hear(Duration::from_secs(5)).await);
    heard.sort();
    let mut ready = vec![new, paused];
    ready.sort();
    assert_eq!(heard, ready);

    let quiet = json!({"requests": [create("quiet")]});
    let quiet = executed(&client, &request("ExecuteTransaction", quiet)).await;
    assert_eq!(quiet, json!({"responses": []}));
    let empty = executed(&client, &transaction(&[])).await;
    assert_eq!(empty, json!({"responses": []}));
}

/// Expects a fault of one request.
fn assert_faulted(answer: &Answer, index: usize, status: u16, code: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(
        answer.json["faultedRequestIndex"],
        json!(index),
        "{answer:?}"
    );
    assert_eq!(answer.json["errorCode"], json!(code), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn one_fault_is_the_fault_of_all_and_nothing_is_done() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let waiting = id(&executed(&client, &create("waiting")).await);
    let mut listener = Listener::of_work(&backend).await;
    listener.hear(Duration::from_secs(1)).await;
    let inner = |name: &str| request(name, json!({"requests": []}));
    let cases = [
        // Requests that cannot be read.
        (request("Create", json!({"target": {}})), 422, "0x80040203"),
        (request("Nonsense", json!({})), 422, "0x80040203"),
        (inner("ExecuteMultiple"), 422, "0x80040203"),
        (inner("ExecuteTransaction"), 422, "0x80040203"),
        (request("RetrieveMultiple", json!({})), 422, "0x80040203"),
        // Requests that cannot be executed.
        (
            delete("7f000000-0000-7000-8000-000000000000"),
            404,
            "0x80040217",
        ),
        (delete(waiting), 422, "0x80040203"),
        (
            set_state("7f000000-0000-7000-8000-000000000000", 1),
            404,
            "0x80040217",
        ),
    ];
    for (bad, status, code) in cases {
        let requests = [create("new"), set_state(waiting, 1), bad, create("last")];
        let answer = client.post("/v1/execute", &transaction(&requests)).await;
        assert_faulted(&answer, 2, status, code);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(names(&client).await, ["waiting"], "{code}");
        assert_eq!(
            client.status(waiting).await,
            "WaitingForResources",
            "{code}"
        );
    }
    // Refused by the state of the operation.
    let requests = [create("new"), delete(waiting)];
    let answer = client.post("/v1/execute", &transaction(&requests)).await;
    assert_faulted(&answer, 1, 409, "0x8004416A");
    assert_eq!(
        answer.json["errorDetails"]["LegalActions"],
        json!(["cancel", "pause", "postpone"])
    );
    let requests = [create("new"), set_state(waiting, 2)];
    let answer = client.post("/v1/execute", &transaction(&requests)).await;
    assert_faulted(&answer, 1, 409, "0x80044162");
    // The first fault in the list is named, of either kind.
    let deep = request(
        "Create",
        json!({"target": {"messageName": "a"}, "idempotencyKey": "k"}),
    );
    executed(&client, &deep).await;
    let reused = request(
        "Create",
        json!({"target": {"messageName": "b"}, "idempotencyKey": "k"}),
    );
    let requests = [delete(waiting), reused];
    let answer = client.post("/v1/execute", &transaction(&requests)).await;
    assert_faulted(&answer, 0, 409, "0x8004416A");
    assert!(listener.hear(Duration::from_secs(1)).await.len() <= 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_cancelled_makes_way_in_the_same_step() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let with_token = |name: &str| {
        let target = json!({"messageName": "a", "name": name, "dependencyToken": "t"});
        request("Create", json!({"target": target}))
    };
    let first = id(&executed(&client, &with_token("1")).await);
    let second = id(&executed(&client, &with_token("2")).await);
    let requests = [set_state(first, 3), with_token("3")];
    let results = executed(&client, &transaction(&requests)).await;
    let third = id(&results["responses"][1]["results"]);
    let worker = Worker::new(&backend);
    worker.run(second).await;
    worker.run(third).await;
    assert_eq!(client.status(first).await, "Canceled");
}

#[tokio::test(start_paused = true)]
async fn one_key_twice_is_one_operation() {
    let client = Client::of(&manager(&backend()));
    let mut item = create("a");
    item["parameters"]["idempotencyKey"] = json!("k");
    let requests = [item.clone(), item.clone(), create("b")];
    let results = executed(&client, &transaction(&requests)).await;
    let id_of = |n: usize| id(&results["responses"][n]["results"]);
    assert_eq!(id_of(0), id_of(1));
    let again = executed(&client, &transaction(&[item])).await;
    assert_eq!(id(&again["responses"][0]["results"]), id_of(0));
    assert_eq!(again["responses"][0]["results"]["existed"], json!(true));
    assert_eq!(names(&client).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn transactions_that_meet_are_done_one_after_the_other_or_not_at_all() {
    let (backend, _faults) = crate::support::faulty::faulty(&backend());
    let clients: Vec<Client> = (0..4).map(|_| Client::of(&manager(&backend))).collect();
    for round in 0..20 {
        let one = id(&executed(&clients[0], &create("one")).await);
        let other = id(&executed(&clients[0], &create("other")).await);
        // All of them cancel both; one succeeds, the others create nothing.
        let name = format!("round {round}");
        let requests = [create(&name), set_state(one, 3), set_state(other, 3)];
        let body = transaction(&requests);
        let asked = clients
            .iter()
            .map(|client| client.post("/v1/execute", &body));
        let answers = futures_util::future::join_all(asked).await;
        let done = answers
            .iter()
            .filter(|answer| answer.status == StatusCode::OK);
        assert_eq!(done.count(), 1);
        for answer in &answers {
            if answer.status != StatusCode::OK {
                assert_faulted(answer, 1, 409, "0x80044F00");
            }
        }
        let created = names(&clients[0]).await;
        assert_eq!(created.iter().filter(|other| **other == name).count(), 1);
    }
    let results = executed(&clients[0], &batch(&[transaction(&[])], false, true)).await;
    assert_eq!(results["isFaulted"], json!(false));
}

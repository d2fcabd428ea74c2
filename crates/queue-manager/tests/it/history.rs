//! Histories: who did what to an operation, and when.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use drumline_protocol::{ErrorCode, Event, Fault, Jitter, OperationId};
use drumline_queue_manager::Maintenance;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::worker::Worker;
use crate::support::{backend, manager, until};

const ANN: (&str, &str) = ("Drumline-Caller", "ann");
const BOB: (&str, &str) = ("Drumline-Caller", "bob");
const JSON: (&str, &str) = ("content-type", "application/json");

async fn history(client: &Client, id: OperationId) -> Vec<Value> {
    let answer = client.get(&format!("/v1/operations/{id}/history")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json["omitted"], 0);
    let entries = answer.json["entries"].as_array().cloned();
    entries.expect("entries")
}

/// The events with their authors, as words.
async fn told(client: &Client, id: OperationId) -> Vec<String> {
    let entries = history(client, id).await.into_iter();
    let word = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("").to_owned();
    entries
        .map(|entry| {
            let actor = &entry["actor"];
            format!(
                "{} → {} by {} {}",
                word(&entry, "event"),
                word(&entry, "status"),
                word(actor, "kind"),
                word(actor, "name"),
            )
        })
        .collect()
}

async fn ask(client: &Client, who: (&str, &str), id: OperationId, action: &str) {
    let path = format!("/v1/operations/{id}/{action}");
    let answer = client.send("POST", &path, &[who], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

async fn create(client: &Client, who: (&str, &str), body: &Value) -> OperationId {
    let headers = [who, JSON];
    let answer = client
        .send("POST", "/v1/operations", &headers, body.to_string())
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer.id()
}

/// The operation names the author of its last change, and its owner beside it.
#[tokio::test(start_paused = true)]
async fn an_operation_names_the_author_of_its_last_change() {
    let backend = backend();
    let manager = manager(&backend);
    let (client, worker) = (Client::of(&manager), Worker::new(&backend));
    let maintenance = Maintenance::start(&manager);
    let id = create(&client, ANN, &json!({"messageName": "a"})).await;
    let path = format!("/v1/operations/{id}");
    let by = async || {
        let shown = client.get(&path).await.json;
        assert_eq!(shown["ownerId"], "ann");
        assert_eq!(shown["createdBy"], "ann");
        shown["modifiedBy"].as_str().unwrap_or("").to_owned()
    };
    assert_eq!(by().await, "ann");
    ask(&client, BOB, id, "pause").await;
    assert_eq!(by().await, "bob");
    let until = json!({"postponeUntil": "2099-01-01T00:00:00Z"}).to_string();
    let path = format!("/v1/operations/{id}/postpone");
    let postponed = client.send("POST", &path, &[ANN, JSON], until).await;
    assert_eq!(postponed.json["modifiedBy"], "ann", "{postponed:?}");
    ask(&client, BOB, id, "resume").await;
    worker.claim(id).await;
    assert_eq!(by().await, "worker test");
    ask(&client, BOB, id, "cancel").await;
    assert_eq!(by().await, "bob");
    until_taken_over(&client, id).await;
    assert_eq!(by().await, "manager lease reaper");
    let list = client.get("/v1/operations").await.json;
    assert_eq!(list["operations"][0]["modifiedBy"], "manager lease reaper");
    let page = client.get(&format!("/operations/{id}")).await.text;
    assert!(page.contains("manager lease reaper"), "{page}");
    maintenance.stop().await;
}

async fn until_taken_over(client: &Client, id: OperationId) {
    until("it is taken over", || async {
        client.status(id).await == "Canceled"
    })
    .await;
}

/// A life with every kind of author in it.
#[tokio::test(start_paused = true)]
async fn every_change_is_told_with_its_author() {
    let backend = backend();
    let manager = manager(&backend);
    let (client, worker) = (Client::of(&manager), Worker::new(&backend));
    let maintenance = Maintenance::start(&manager);
    let id = create(&client, ANN, &json!({"messageName": "a"})).await;
    ask(&client, BOB, id, "pause").await;
    ask(&client, ANN, id, "resume").await;
    let fence = worker.claim(id).await;
    let fault = Fault::new(ErrorCode::NETWORK_ERROR, "", "ECONNREFUSED");
    let retry = Event::Retry {
        fault,
        after: Some(Duration::from_secs(60)),
        jitter: Jitter(0),
    };
    worker.say(id, fence, retry).await;
    until("it is tried again", || async {
        client.status(id).await == "WaitingForResources"
    })
    .await;
    worker.claim(id).await;
    until("it is taken over", || async {
        client.status(id).await == "WaitingForResources"
    })
    .await;
    let fence = worker.claim(id).await;
    ask(&client, BOB, id, "cancel").await;
    worker.say(id, fence, Event::Stopped).await;
    assert_eq!(
        told(&client, id).await,
        [
            "create → WaitingForResources by caller ann",
            "pause → Waiting by caller bob",
            "resume → WaitingForResources by caller ann",
            "claim → InProgress by worker test",
            "retry → Waiting by worker test",
            "due → WaitingForResources by manager scheduler",
            "claim → InProgress by worker test",
            "leaseExpired → WaitingForResources by manager lease reaper",
            "claim → InProgress by worker test",
            "cancel → Canceling by caller bob",
            "stopped → Canceled by worker test",
        ]
    );
    let entries = history(&client, id).await;
    let retried = &entries[4];
    assert_eq!(retried["reason"], "ECONNREFUSED");
    assert_eq!(retried["errorCode"], ErrorCode::NETWORK_ERROR.to_string());
    assert_eq!(retried["attempt"], 1);
    assert_eq!(entries[6]["attempt"], 2);
    assert!(retried["until"].is_string(), "{retried}");
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_series_and_its_occurrences_tell_of_each_other() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let maintenance = Maintenance::start(&manager);
    let body = json!({"messageName": "a", "name": "s", "recurrencePattern": "FREQ=HOURLY"});
    let series = create(&client, ANN, &body).await;
    let path = "/v1/operations?state=Ready";
    until("there is an occurrence", || async {
        !client.get(path).await.names().is_empty()
    })
    .await;
    maintenance.stop().await;
    let listed = client.get(path).await.json;
    let occurrence = listed["operations"][0]["id"]
        .as_str()
        .and_then(|id| id.parse().ok());
    let occurrence: OperationId = occurrence.expect("an id");
    assert_eq!(
        told(&client, occurrence).await,
        [format!("create → WaitingForResources by schedule {series}")]
    );
    assert_eq!(
        told(&client, series).await,
        [
            "create → Waiting by caller ann".to_owned(),
            format!("occur → Waiting by schedule {series}"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn actions_on_many_and_transactions_tell_their_caller() {
    let client = Client::of(&manager(&backend()));
    let id = create(&client, ANN, &json!({"messageName": "a"})).await;
    let path = "/v1/operations/pause?messageName=a";
    let answer = client.send("POST", path, &[BOB], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let update = json!({
        "requestName": "Update",
        "parameters": {"target": {"id": id.to_string(), "stateCode": 0}}
    });
    let transaction = json!({
        "requestName": "ExecuteTransaction",
        "parameters": {"requests": [update]}
    });
    let headers = [ANN, JSON];
    let answer = client
        .send("POST", "/v1/execute", &headers, transaction.to_string())
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(
        told(&client, id).await,
        [
            "create → WaitingForResources by caller ann",
            "pause → Waiting by caller bob",
            "resume → WaitingForResources by caller ann",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_history_says_how_much_is_missing() {
    let client = Client::of(&manager(&backend()));
    let id = create(&client, ANN, &json!({"messageName": "a"})).await;
    for _ in 0..20 {
        ask(&client, ANN, id, "pause").await;
        ask(&client, ANN, id, "resume").await;
    }
    let answer = client.get(&format!("/v1/operations/{id}/history")).await;
    assert_eq!(answer.json["omitted"], 41 - 32);
    let numbers: Vec<u64> = answer.json["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .filter_map(|entry| entry["number"].as_u64())
        .collect();
    let expected: Vec<u64> = (1..=4).chain(14..=41).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_not_there_has_no_history() {
    let client = Client::of(&manager(&backend()));
    let id = create(&client, ANN, &json!({"messageName": "a"})).await;
    ask(&client, ANN, id, "cancel").await;
    let path = format!("/v1/operations/{id}");
    let deleted = client.send("DELETE", &path, &[ANN], Body::empty()).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let answer = client.get(&format!("{path}/history")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
    assert_eq!(answer.json["code"], "0x80040217");
}

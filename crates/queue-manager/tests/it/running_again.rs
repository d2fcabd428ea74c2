//! Running an operation again: as a new one.

use axum::http::StatusCode;
use drumline_backend::Backend;
use drumline_protocol::{ErrorCode, Event, Fault, OperationId};
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::worker::Worker;
use crate::support::{backend, manager};

/// Creates an operation that fails.
async fn failed(client: &Client, backend: &Backend, body: &Value) -> OperationId {
    let id = client.create(body).await;
    let worker = Worker::new(backend);
    let fence = worker.claim(id).await;
    let fault = Fault::new(ErrorCode::SERVER_BUSY, "try later", "HTTP 503");
    worker.say(id, fence, Event::Fail(fault)).await;
    id
}

async fn again(client: &Client, id: OperationId, key: &str, body: &Value) -> Answer {
    let path = format!("/v1/operations/{id}/run-again");
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    client.send("POST", &path, &headers, body.to_string()).await
}

#[tokio::test(start_paused = true)]
async fn a_failed_operation_runs_again_with_all_that_it_was_given() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let given = json!({
        "messageName": "SendMail", "name": "welcome", "dependencyToken": "crm", "queue": "mail",
        "tokenPolicy": "continue", "data": {"to": "a@example.org"}, "atMostOnce": true,
        "retryPolicy": {"maxRetries": 7}, "retainJobHistory": true, "primaryEntityType": "account",
        "regardingObjectId": "7a0c6bb4-6f8b-4c5c-9f4a-3d8b1f4e2d11",
        "notAfter": "2099-01-01T00:00:00.000Z",
        "requestId": "7a0c6bb4-6f8b-4c5c-9f4a-3d8b1f4e2d12",
    });
    let id = failed(&client, &backend, &given).await;
    let old = client.get(&format!("/v1/operations/{id}")).await.json;
    assert_eq!(old["status"], json!("Failed"), "{old}");

    let answer = again(&client, id, "k", &json!({})).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let new = &answer.json;
    assert_ne!(new["id"], old["id"]);
    assert_eq!(new["status"], json!("WaitingForResources"));
    for name in [
        "messageName",
        "name",
        "dependencyToken",
        "queue",
        "tokenPolicy",
        "data",
        "atMostOnce",
        "retryPolicy",
        "retainJobHistory",
        "primaryEntityType",
        "regardingObjectId",
        "correlationId",
        "operationType",
    ] {
        assert_eq!(new[name], old[name], "{name}: {new}");
        assert_ne!(new[name], Value::Null, "{name}: {new}");
    }
    for name in ["notAfter", "requestId", "errorCode", "startedOn"] {
        assert_eq!(new[name], Value::Null, "{name}: {new}");
    }
    // The request is safe to repeat.
    let repeated = again(&client, id, "k", &json!({})).await;
    assert_eq!(repeated.status, StatusCode::OK, "{repeated:?}");
    assert_eq!(repeated.json["id"], new["id"]);
}

#[tokio::test(start_paused = true)]
async fn the_new_operation_differs_where_the_request_says_so() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let given = json!({"messageName": "a", "dependencyToken": "t", "data": 1});
    let id = failed(&client, &backend, &given).await;

    let changes = json!({"data": {"b": 2}, "leaveToken": true, "queue": "other"});
    let new = again(&client, id, "1", &changes).await.json;
    assert_eq!(new["data"], json!({"b": 2}), "{new}");
    assert_eq!(new["dependencyToken"], Value::Null);
    assert_eq!(new["queue"], json!("other"));

    let new = again(&client, id, "2", &json!({"dependencyToken": "u"}))
        .await
        .json;
    assert_eq!(new["dependencyToken"], json!("u"), "{new}");
    assert_eq!(new["data"], json!(1));

    for wrong in [
        json!({"messageName": "b"}),
        json!({"dependencyToken": "u", "leaveToken": true}),
        json!({"leaveToken": "yes"}),
        json!([]),
    ] {
        let answer = again(&client, id, "3", &wrong).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{answer:?}"
        );
    }
    let answer = client
        .send("POST", &format!("/v1/operations/{id}/run-again"), &[], "")
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn only_what_is_completed_runs_again() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let waiting = client.create(&json!({"messageName": "a"})).await;
    let series = json!({"messageName": "a", "recurrencePattern": "FREQ=DAILY"});
    let series = client.create(&series).await;
    let cancel = format!("/v1/operations/{series}/cancel");
    client.send("POST", &cancel, &[], "").await;
    for (id, words) in [
        (waiting, "only a Completed operation runs again"),
        (series, "a series runs by its occurrences"),
    ] {
        let answer = again(&client, id, "k", &json!({})).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{answer:?}");
        assert!(answer.text.contains(words), "{answer:?}");
    }
    let unknown = OperationId::new(backend.store.now(), waiting.partition(), [7; 16]);
    let answer = again(&client, unknown, "k", &json!({})).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
}

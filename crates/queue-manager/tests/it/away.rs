//! The store or the broker away: 503, nothing half-done, nothing lost.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::faulty::{Faults, faulty};
use crate::support::worker::Worker;
use crate::support::{backend, manager};

fn assert_busy(answer: &Answer, about: &str) {
    let about = format!("{about}: {answer:?}");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{about}");
    assert_eq!(answer.json["code"], json!("0x8004A001"), "{about}");
    assert_eq!(answer.header("retry-after"), "2", "{about}");
}

#[tokio::test(start_paused = true)]
async fn without_the_store_everything_is_busy_and_goes_on_afterwards() {
    let (backend, faults) = faulty(&backend());
    let client = Client::of(&manager(&backend));
    let id = client.create(&json!({"messageName": "a"})).await;
    Faults::set(&faults.store_is_away, true);
    let one = format!("/v1/operations/{id}");
    let until = json!({"postponeUntil": "2099-01-01T00:00:00Z"});
    let requests: Vec<(&str, String, Value)> = vec![
        ("POST", "/v1/operations".into(), json!({"messageName": "a"})),
        ("GET", "/v1/operations".into(), json!({})),
        ("GET", one.clone(), json!({})),
        ("GET", format!("{one}?wait=5s"), json!({})),
        ("PATCH", one.clone(), json!({"stateCode": 3})),
        ("PATCH", one.clone(), json!({"stateCode": 2})),
        ("POST", format!("{one}/cancel"), json!({})),
        ("POST", format!("{one}/pause"), json!({})),
        ("POST", format!("{one}/resume"), json!({})),
        ("POST", format!("{one}/postpone"), until),
        ("DELETE", one.clone(), json!({})),
        ("GET", "/v1/workers".into(), json!({})),
        ("GET", "/v1/queues".into(), json!({})),
    ];
    for (method, path, body) in &requests {
        let answer = client.json(method, path, body).await;
        assert_busy(&answer, &format!("{method} {path}"));
    }
    let ready = client.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.json["ready"], json!(false));
    assert_eq!(client.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(client.get("/metrics").await.status, StatusCode::OK);

    Faults::set(&faults.store_is_away, false);
    assert_eq!(client.get("/readyz").await.status, StatusCode::OK);
    let listed = client.get("/v1/operations").await;
    assert_eq!(listed.json["operations"].as_array().map(Vec::len), Some(1));
    assert_eq!(client.status(id).await, "WaitingForResources");
}

#[tokio::test(start_paused = true)]
async fn a_blocked_broker_refuses_creates_and_nothing_is_stored() {
    let (backend, faults) = faulty(&backend());
    let client = Client::of(&manager(&backend));
    Faults::set(&faults.broker_is_blocked, true);
    let answer = client
        .post("/v1/operations", &json!({"messageName": "a"}))
        .await;
    assert_busy(&answer, "create");
    assert_eq!(
        client.get("/readyz").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let listed = client.get("/v1/operations").await;
    assert_eq!(listed.json["operations"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn with_a_blocked_broker_a_repeated_create_is_still_answered() {
    let (backend, faults) = faulty(&backend());
    let client = Client::of(&manager(&backend));
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "k"),
    ];
    let body = r#"{"messageName":"a"}"#;
    let first = client.send("POST", "/v1/operations", &headers, body).await;
    Faults::set(&faults.broker_is_blocked, true);
    let again = client.send("POST", "/v1/operations", &headers, body).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.id(), first.id());
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_fails_leaves_the_operation_to_the_relay() {
    let (backend, faults) = faulty(&backend());
    let client = Client::of(&manager(&backend));
    Faults::set(&faults.publishes_fail, true);
    let id = client.create(&json!({"messageName": "a"})).await;
    let counts = backend.store.counts().await.expect("the store is there");
    assert_eq!((counts.ready, counts.undispatched), (1, 1));
    Worker::new(&backend).run(id).await;
    assert_eq!(client.status(id).await, "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn a_closed_manager_stores_and_leaves_the_rest_to_others() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    manager.close().await;
    client.create(&json!({"messageName": "a"})).await;
    let counts = backend.store.counts().await.expect("the store is there");
    assert_eq!(counts.undispatched, 1);
    let ready = client.get("/readyz").await;
    assert_eq!(ready.json["draining"], json!(true));
}

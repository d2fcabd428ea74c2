//! The store or the broker unavailable: 503, nothing half-done, nothing lost.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::client::{Answer, Client};
use crate::support::faulty::{Faults, STORE_PATIENCE, faulty};
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

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_keeps_nobody_waiting_for_the_others() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    Faults::set(&faults.creates_time_out, true);
    let asked = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..500 {
        let client = Client::of(&manager);
        callers.spawn(async move {
            let body = json!({"messageName": "a"});
            assert_busy(&client.post("/v1/operations", &body).await, "create");
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.expect("a busy store, at once");
    }
    // Two seconds with the others at most, and then each create's own wait.
    let longest = STORE_PATIENCE + Duration::from_secs(3);
    assert!(asked.elapsed() <= longest, "{:?}", asked.elapsed());
    Faults::set(&faults.creates_time_out, false);
    let asked = Instant::now();
    Client::of(&manager)
        .create(&json!({"messageName": "a"}))
        .await;
    assert!(asked.elapsed() <= longest, "{:?}", asked.elapsed());
    manager.close().await;
    let counts = backend.store.counts().await.expect("the store is there");
    assert_eq!(
        counts.ready, 1,
        "nobody's create was made after they had gone"
    );
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_many_is_tried_for_each() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    Faults::set(&faults.next_create_fails, true);
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let client = Client::of(&manager);
        callers.spawn(async move {
            let body = json!({"messageName": "a"});
            client.post("/v1/operations", &body).await.status
        });
    }
    let mut refused = 0;
    while let Some(status) = callers.join_next().await {
        match status.expect("an answer") {
            StatusCode::CREATED => {}
            StatusCode::SERVICE_UNAVAILABLE => refused += 1,
            status => panic!("{status}"),
        }
    }
    // The first create was alone in its batch.
    assert!(refused <= 1, "{refused}");
    let counts = backend.store.counts().await.expect("the store is there");
    assert_eq!(counts.ready, 50 - refused);
}

//! Long-polls and events.

use std::time::Duration;

use axum::http::StatusCode;
use drumline_queue_manager::Actor;
use serde_json::json;
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::worker::Worker;
use crate::support::{backend, manager};

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_completion() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let id = client.create(&json!({"messageName": "a"})).await;
    let begun = Instant::now();
    let path = format!("/v1/operations/{id}?wait=30s");
    let complete = async {
        tokio::time::sleep(Duration::from_millis(4_321)).await;
        Worker::new(&backend).run(id).await;
    };
    let (answer, ()) = tokio::join!(client.get(&path), complete);
    assert_eq!(answer.json["status"], json!("Succeeded"));
    assert_eq!(begun.elapsed(), Duration::from_millis(4_321));
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_after_its_time_with_what_there_is() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    let id = client.create(&json!({"messageName": "a"})).await;
    for (wait, seconds) in [("0", 0), ("3", 3), ("1500ms", 1), ("1h", 60)] {
        let begun = Instant::now();
        let answer = client
            .get(&format!("/v1/operations/{id}?wait={wait}"))
            .await;
        assert_eq!(answer.json["status"], json!("WaitingForResources"));
        assert_eq!(begun.elapsed().as_secs(), seconds, "{wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_completed_operation_does_not_wait() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let id = client.create(&json!({"messageName": "a"})).await;
    Worker::new(&backend).run(id).await;
    let begun = Instant::now();
    client.get(&format!("/v1/operations/{id}?wait=30s")).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_an_operation_that_is_deleted_ends() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let id = client.create(&json!({"messageName": "a"})).await;
    let path = format!("/v1/operations/{id}?wait=30s");
    let anyone = Actor::default();
    let remove = async {
        manager
            .act(&anyone, id, drumline_api::Control::Cancel)
            .await
            .expect("Ready can be cancelled");
        manager
            .delete(&anyone, id)
            .await
            .expect("Completed can be deleted");
    };
    let (answer, ()) = tokio::join!(client.get(&path), remove);
    assert!(
        answer.status == StatusCode::NOT_FOUND || answer.json["status"] == json!("Canceled"),
        "{answer:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn draining_ends_waits() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    let id = client.create(&json!({"messageName": "a"})).await;
    let begun = Instant::now();
    let drain = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        manager.drain();
    };
    let path = format!("/v1/operations/{id}?wait=30s");
    let (answer, ()) = tokio::join!(client.get(&path), drain);
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn events_tell_of_completions_until_the_manager_drains() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let first = client.create(&json!({"messageName": "a"})).await;
    let second = client.create(&json!({"messageName": "a"})).await;
    let complete = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Worker::new(&backend).run(first).await;
        Worker::new(&backend).run(second).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        manager.drain();
    };
    let (answer, ()) = tokio::join!(client.get("/v1/events"), complete);
    assert_eq!(answer.header("content-type"), "text/event-stream");
    let ids = answer.text.lines();
    let told: Vec<_> = ids
        .filter_map(|line| line.strip_prefix("id: ")?.split_once('-'))
        .map(|(_stamp, id)| id.to_owned())
        .collect();
    assert_eq!(told, [first.to_string(), second.to_string()]);
}

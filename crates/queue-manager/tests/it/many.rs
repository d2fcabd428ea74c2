//! Many clients that watch the same: they cost the store what one costs, and are
//! limited.

use std::time::Duration;

use axum::http::StatusCode;
use drumline_backend::Ids;
use drumline_queue_manager::{Options, QueueManager};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::client::Client;
use crate::support::faulty::faulty;
use crate::support::sse::Reader;
use crate::support::worker::Worker;
use crate::support::{backend, manager};

const SOON: Duration = Duration::from_secs(5);

/// The calls of the store while so many requests wait for an operation, and so many
/// streams are told of its end.
async fn calls(waiting: usize, streams: usize) -> usize {
    let inner = backend();
    let (backend, faults) = faulty(&inner);
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let id = client.create(&json!({"messageName": "a"})).await;
    let mut readers = Vec::new();
    for _ in 0..streams {
        readers.push(Reader::connect(&manager, "", None).await);
    }
    tokio::time::sleep(SOON).await;
    faults.take_calls();
    let mut waits = JoinSet::new();
    for _ in 0..waiting {
        let client = client.clone();
        waits.spawn(async move { client.get(&format!("/v1/operations/{id}?wait=60s")).await });
    }
    let end = async {
        // The operations of waiters are read again meanwhile.
        tokio::time::sleep(Duration::from_secs(21)).await;
        Worker::new(&inner).run(id).await;
    };
    let told = async {
        for reader in &mut readers {
            let told = reader.next(Duration::from_secs(60)).await;
            assert_eq!(told.expect("an event").operation, id);
        }
    };
    tokio::join!(end, told);
    while let Some(answer) = waits.join_next().await {
        assert_eq!(answer.expect("no panic").json["status"], "Succeeded");
    }
    faults.take_calls().len()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_requests_and_a_hundred_streams_cost_the_store_little_more_than_one() {
    let one = calls(1, 1).await;
    let many = calls(1000, 100).await;
    assert!(many <= 2 * one, "{many} calls instead of {one}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_too_many_is_refused_until_another_has_ended() {
    let options = Options {
        event_streams: 2,
        ..Options::default()
    };
    let manager = QueueManager::new(backend(), Ids::random(), options);
    let client = Client::of(&manager);
    let first = Reader::connect(&manager, "", None).await;
    let _second = Reader::connect(&manager, "", None).await;
    let refused = client.get("/v1/events").await;
    assert_eq!(
        refused.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{refused:?}"
    );
    assert_eq!(refused.header("retry-after"), "2");
    drop(first);
    let _third = Reader::connect(&manager, "", None).await;
}

#[tokio::test(start_paused = true)]
async fn streams_that_catch_up_take_turns_and_miss_nothing() {
    const ENDS: usize = 40;
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let mut ids = Vec::new();
    for _ in 0..ENDS {
        let id = client.create(&json!({"messageName": "a"})).await;
        worker.run(id).await;
        ids.push(id);
    }
    tokio::time::sleep(SOON).await;
    let mut streams = JoinSet::new();
    for _ in 0..20 {
        let manager = manager.clone();
        streams.spawn(async move {
            let mut reader = Reader::connect(&manager, "?lastEventId=0", None).await;
            let mut told = Vec::new();
            while told.len() < ENDS {
                told.push(reader.next(SOON).await.expect("an event").operation);
            }
            told
        });
    }
    while let Some(told) = streams.join_next().await {
        assert_eq!(told.expect("no panic"), ids);
    }
}

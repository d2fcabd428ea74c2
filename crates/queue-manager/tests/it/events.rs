//! Ends as server-sent events: in order, and resumable.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use drumline_backend::Backend;
use drumline_protocol::{ErrorCode, Event, Fault, OperationId};
use drumline_queue_manager::QueueManager;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::sse::{Reader, Told};
use crate::support::worker::Worker;
use crate::support::{backend, manager};

const SOON: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(60);

async fn next(reader: &mut Reader) -> Told {
    reader.next(SOON).await.expect("an event")
}

#[tokio::test(start_paused = true)]
async fn an_end_is_told_with_the_operation() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    worker
        .run(client.create(&json!({"messageName": "before"})).await)
        .await;
    tokio::time::sleep(SOON).await;

    let mut reader = Reader::connect(&manager, "", None).await;
    let id = client
        .create(&json!({"messageName": "a", "data": {"x": 1}}))
        .await;
    worker.run(id).await;
    let told = next(&mut reader).await;
    assert_eq!(told.operation, id);
    assert_eq!(told.json.get("status"), Some(&json!("Succeeded")));
    assert_eq!(told.json.get("data"), Some(&json!({"x": 1})));
    reader.nothing_for(LONG).await;

    // Draining ends the stream, so that the client comes back to another
    // manager.
    manager.drain();
    assert!(reader.next(LONG).await.is_none());
    manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_ends_survive_reconnects_without_loss_or_repetition() {
    const MANY: usize = 1_000;
    let backend = backend();
    let manager = manager(&backend);
    let other = self::manager(&backend);
    let client = Client::of(&manager);
    let mut reader = Reader::connect(&manager, "", None).await;
    let work = async {
        let worker = Worker::new(&backend);
        let mut order = Vec::new();
        for number in 0..MANY {
            let id = client.create(&json!({"messageName": "a"})).await;
            worker.run(id).await;
            order.push(id);
            // Bursts, with rests of the length of a look between some.
            if number % 37 == 0 {
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }
        order
    };
    let read = async {
        let mut told: Vec<OperationId> = Vec::new();
        let mut connections = 0;
        while told.len() < MANY {
            // Uneven, so that cuts fall inside of batches.
            for _ in 0..=(connections * 7 + told.len()) % 41 {
                if told.len() == MANY {
                    break;
                }
                told.push(next(&mut reader).await.operation);
            }
            // Either manager will do.
            let to = if connections % 2 == 0 {
                &other
            } else {
                &manager
            };
            let last = reader.last_id.clone();
            reader = Reader::connect(to, "", last.as_deref()).await;
            connections += 1;
        }
        reader.nothing_for(LONG).await;
        (told, connections)
    };
    let (order, (told, connections)) = tokio::join!(work, read);
    assert!(connections > 20, "{connections}");
    let all: BTreeSet<_> = told.iter().copied().collect();
    assert_eq!(all.len(), MANY, "something was told twice");
    assert_eq!(all, order.iter().copied().collect::<BTreeSet<_>>());
    manager.close().await;
    other.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_order_is_that_of_the_ends_and_a_late_reader_gets_them_all() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let mut order = Vec::new();
    for _ in 0..30 {
        let id = client.create(&json!({"messageName": "a"})).await;
        order.insert(0, id);
    }
    for id in &order {
        worker.run(*id).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut reader = Reader::connect(&manager, "?lastEventId=0", None).await;
    let mut told = Vec::new();
    for _ in 0..30 {
        told.push(next(&mut reader).await.operation);
    }
    assert_eq!(told, order);

    // Operations that were removed meanwhile are left out.
    let middle = client
        .send("DELETE", &format!("/v1/operations/{}", order[1]), &[], "")
        .await;
    assert_eq!(middle.status, StatusCode::NO_CONTENT);
    let mut reader = Reader::connect(&manager, "?lastEventId=0", None).await;
    assert_eq!(next(&mut reader).await.operation, order[0]);
    assert_eq!(next(&mut reader).await.operation, order[2]);
    // The header wins over the address, which a browser does not change.
    let place = reader.last_id.clone();
    let mut reader = Reader::connect(&manager, "?lastEventId=0", place.as_deref()).await;
    assert_eq!(next(&mut reader).await.operation, order[3]);
    manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_late_reader_tells_all_that_it_has_read_before_it_reads_more() {
    const MANY: usize = 600;
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    end_some(&backend, &manager, MANY).await;
    tokio::time::sleep(SOON).await;

    faults.ends_asked.store(0, Ordering::Relaxed);
    let mut reader = Reader::connect(&manager, "?lastEventId=0", None).await;
    let mut told = BTreeSet::new();
    for _ in 0..MANY {
        told.insert(next(&mut reader).await.operation);
    }
    assert_eq!(told.len(), MANY);
    // Three to read them, the rest for those that follow from now on.
    let asked = faults.ends_asked.load(Ordering::Relaxed);
    assert!(asked < 8, "{asked}");
    // From there on it follows like any other watcher.
    let [id] = end_some(&backend, &manager, 1).await[..] else {
        unreachable!("one has ended")
    };
    assert_eq!(next(&mut reader).await.operation, id);
    reader.nothing_for(LONG).await;
    manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_told_without_rests_in_between() {
    const MANY: usize = 1_500;
    let backend = backend();
    let manager = manager(&backend);
    let mut reader = Reader::connect(&manager, "", None).await;
    tokio::time::sleep(SOON).await;
    let ended = end_some(&backend, &manager, MANY).await;
    let began = Instant::now();
    for _ in &ended {
        next(&mut reader).await;
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{began:?}");
    manager.close().await;
}

/// Creates operations and lets them succeed.
async fn end_some(backend: &Backend, manager: &QueueManager, count: usize) -> Vec<OperationId> {
    let client = Client::of(manager);
    let worker = Worker::new(backend);
    let mut ended = Vec::new();
    for _ in 0..count {
        let id = client.create(&json!({"messageName": "a"})).await;
        worker.run(id).await;
        ended.push(id);
    }
    ended
}

#[tokio::test(start_paused = true)]
async fn filters_select_and_the_place_moves_on_without_events() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let mut failed = Reader::connect(&manager, "?status=Failed&messageName=a", None).await;
    let mut tokens = Reader::connect(&manager, "?dependencyToken=t&name=n", None).await;
    for message in ["a", "b"] {
        worker
            .run(client.create(&json!({"messageName": message})).await)
            .await;
        let id = client.create(&json!({"messageName": message})).await;
        let fence = worker.claim(id).await;
        let fault = Fault::new(ErrorCode::HANDLER_FAILED, "", "");
        worker.say(id, fence, Event::Fail(fault)).await;
    }
    let with_token = json!({"messageName": "c", "dependencyToken": "t", "name": "n"});
    let with_token = client.create(&with_token).await;
    worker.run(with_token).await;

    let told = next(&mut failed).await;
    assert_eq!(told.json.get("messageName"), Some(&json!("a")));
    assert_eq!(told.json.get("status"), Some(&json!("Failed")));
    assert_eq!(next(&mut tokens).await.operation, with_token);

    let before = failed.last_id.clone();
    worker
        .run(client.create(&json!({"messageName": "b"})).await)
        .await;
    failed.nothing_for(LONG).await;
    assert_ne!(
        failed.last_id, before,
        "it would come back with an old place"
    );
    manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn only_the_callers_own_organization_is_told() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let mut reader = Reader::connect(&manager, "", None).await;
    let headers = [
        ("content-type", "application/json"),
        ("drumline-organization", "contoso"),
    ];
    let body = json!({"messageName": "a"}).to_string();
    let theirs = client.send("POST", "/v1/operations", &headers, body).await;
    worker.run(theirs.id()).await;
    let ours = client.create(&json!({"messageName": "a"})).await;
    worker.run(ours).await;
    assert_eq!(next(&mut reader).await.operation, ours);
    reader.nothing_for(LONG).await;
    manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_while_the_store_is_away() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let mut reader = Reader::connect(&manager, "", None).await;
    let mut order = Vec::new();
    let away: [(&AtomicBool, bool); 2] =
        [(&faults.reads_fail, true), (&faults.store_is_away, true)];
    for (fault, on) in away {
        for _ in 0..20 {
            let id = client.create(&json!({"messageName": "a"})).await;
            worker.run(id).await;
            order.push(id);
        }
        Faults::set(fault, on);
        reader.nothing_for(Duration::from_secs(3)).await;
        Faults::set(fault, false);
    }
    let mut told = BTreeSet::new();
    while told.len() < order.len() {
        assert!(told.insert(next(&mut reader).await.operation), "told twice");
    }
    reader.nothing_for(LONG).await;
    manager.close().await;
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_refused() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    for query in [
        "lastEventId=x",
        "lastEventId=-1",
        "lastEventId=1-2",
        "status=Done",
        // A watcher of a status that is no end would wait without end.
        "status=InProgress",
        "status=0",
        "state=Ready",
        "correlationId=1",
    ] {
        let answer = client.get(&format!("/v1/events?{query}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    let header = [("last-event-id", "nonsense")];
    let answer = client.send("GET", "/v1/events", &header, "").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let attributes = answer.json.get("attributes").and_then(Value::as_array);
    let name = attributes.and_then(|all| all.first()?.get("name")?.as_str());
    assert_eq!(name, Some("Last-Event-ID"));
    manager.close().await;
}

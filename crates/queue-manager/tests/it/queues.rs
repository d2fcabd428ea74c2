//! The queues that organizations use: so many each, and none for longer than it is used.

use std::num::{NonZeroU16, NonZeroUsize};
use std::time::Duration;

use axum::http::StatusCode;
use drumline_backend::{Backend, Ids};
use drumline_protocol::QueueName;
use drumline_protocol::message::{Route, Source};
use drumline_queue_manager::maintenance::MaintenanceOptions;
use drumline_queue_manager::{Maintenance, Options, QueueLimit, QueueManager};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::client::{Answer, Client};
use crate::support::{backend, manager, until};

/// A manager whose organizations may use so many queues.
fn manager_with(backend: &Backend, most: usize) -> QueueManager {
    let options = Options {
        queues: QueueLimit(NonZeroUsize::new(most)),
        ..Options::default()
    };
    QueueManager::new(backend.clone(), Ids::random(), options)
}

async fn create_in(client: &Client, queue: &str, organization: &str) -> Answer {
    let body = json!({"messageName": "a", "queue": queue}).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("drumline-organization", organization),
    ];
    client.send("POST", "/v1/operations", &headers, body).await
}

fn route(queue: &str) -> Route {
    Route {
        queue: queue.parse().expect("a name"),
        source: Source::Work,
    }
}

#[tokio::test(start_paused = true)]
async fn an_organization_may_use_so_many_queues() {
    let backend = backend();
    let client = Client::of(&manager_with(&backend, 2));
    for queue in ["a", "b", "a", "default"] {
        let created = create_in(&client, queue, "contoso").await;
        assert_eq!(created.status, StatusCode::CREATED, "{queue}: {created:?}");
    }
    let refused = create_in(&client, "c", "contoso").await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.json["name"], json!("TooManyQueues"), "{refused:?}");
    assert_eq!(refused.json["code"], json!("0x8D00000D"));
    assert_eq!(
        backend.broker.backlog(&route("c")).await.expect("up"),
        None,
        "no queue was declared"
    );
    // Nor by another manager, nor in a batch; the rest of the batch is created.
    let other = Client::of(&manager_with(&backend, 2));
    let target = |queue: &str| {
        json!({
            "requestName": "Create",
            "parameters": {"target": {"messageName": "a", "queue": queue}},
        })
    };
    let batch = json!({
        "requestName": "ExecuteMultiple",
        "parameters": {
            "requests": [target("c"), target("b")],
            "settings": {"continueOnError": true, "returnResponses": true},
        },
    });
    let headers = [
        ("content-type", "application/json"),
        ("drumline-organization", "contoso"),
    ];
    let answer = other
        .send("POST", "/v1/execute", &headers, batch.to_string())
        .await;
    let responses = &answer.json["results"]["responses"];
    assert_eq!(
        responses[0]["fault"]["name"],
        json!("TooManyQueues"),
        "{answer:?}"
    );
    assert_eq!(responses[1]["fault"], Value::Null, "{answer:?}");
    // Others have queues of their own.
    let created = create_in(&other, "c", "fabrikam").await;
    assert_eq!(created.status, StatusCode::CREATED);
    let unlimited = Client::of(&manager_with(&backend, 0));
    let created = create_in(&unlimited, "c", "contoso").await;
    assert_eq!(created.status, StatusCode::CREATED);
}

/// The names of the queues that are listed.
async fn listed(client: &Client) -> Vec<String> {
    let answer = client.get("/v1/queues").await;
    let queues = answer.json["queues"].as_array().expect("queues");
    let names = queues.iter().map(|queue| queue["name"].as_str());
    names.map(|name| name.expect("a name").to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_nobody_uses_is_deleted_in_the_broker() {
    let backend = backend();
    let manager = manager(&backend);
    let options = MaintenanceOptions {
        forget_queues: Some(Duration::from_secs(100)),
        ..MaintenanceOptions::default()
    };
    let maintenance = Maintenance::start_with(&manager, &options);
    let client = Client::of(&manager);
    let created = create_in(&client, "waiting", "default").await;
    assert_eq!(created.status, StatusCode::CREATED);
    // Two organizations have used it, and both uses grow old at the same time.
    let read = create_in(&client, "read", "default").await.id();
    let of_others = create_in(&client, "read", "fabrikam").await.id();
    assert_eq!(listed(&client).await, ["default", "read", "waiting"]);
    let queue: QueueName = "read".parse().expect("a name");
    let one = NonZeroU16::MIN;
    for source in [Source::Work, Source::Spare] {
        let route = Route {
            queue: queue.clone(),
            source,
        };
        let consumer = backend.broker.subscribe(&route, one).await;
        let mut consumer = consumer.expect("a consumer");
        if source == Source::Work {
            for _ in 0..2 {
                let delivery = consumer.next().await.expect("the offer");
                delivery.receipt.acknowledge().await.expect("acknowledged");
            }
        }
    }
    for (id, organization) in [(read, "default"), (of_others, "fabrikam")] {
        let path = format!("/v1/operations/{id}/cancel");
        let headers = [
            ("content-type", "application/json"),
            ("drumline-organization", organization),
        ];
        let cancelled = client.send("POST", &path, &headers, "{}".to_owned()).await;
        assert_eq!(cancelled.status, StatusCode::OK, "{cancelled:?}");
    }
    until("it is deleted", async || {
        let backlog = backend.broker.backlog(&route("read")).await;
        backlog.expect("up").is_none()
    })
    .await;
    until("it is forgotten", async || {
        listed(&client).await == ["default", "waiting"]
    })
    .await;
    // A queue with a message is kept, however long no create has used it.
    sleep(Duration::from_secs(600)).await;
    assert_eq!(listed(&client).await, ["default", "waiting"]);
    let waiting = backend.broker.backlog(&route("waiting")).await.expect("up");
    assert!(waiting.is_some_and(|backlog| backlog.messages > 0));
    let text = manager.metrics().text();
    assert!(text.contains("drumline_queues_removed_total 1"), "{text}");
    // It comes back with its next use.
    let created = create_in(&client, "read", "default").await;
    assert_eq!(created.status, StatusCode::CREATED);
    assert_eq!(listed(&client).await, ["default", "read", "waiting"]);
    maintenance.stop().await;
    manager.close().await;
}

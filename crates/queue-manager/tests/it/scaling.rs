//! The load of a queue, as an autoscaler reads it.

use std::time::Duration;

use axum::http::StatusCode;
use drumline_queue_manager::Maintenance;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::worker::Worker;
use crate::support::{backend, manager, until};

#[tokio::test(start_paused = true)]
async fn the_load_of_a_queue_is_what_workers_could_run_now() {
    let backend = backend();
    let manager = manager(&backend);
    let maintenance = Maintenance::start(&manager);
    let client = Client::of(&manager);
    let create = async |body: Value| {
        let created = client.post("/v1/operations", &body).await;
        assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
        created
    };
    let empty = client.get("/v1/queues/imports/scale").await;
    assert_eq!(
        empty.json,
        json!({"runnable": 0, "running": 0, "capacity": 0, "oldestSeconds": 0, "wanted": 0})
    );
    for body in [
        json!({"messageName": "a", "queue": "imports"}),
        json!({"messageName": "a", "queue": "imports"}),
        // One of a token can run.
        json!({"messageName": "a", "queue": "imports", "dependencyToken": "t"}),
        json!({"messageName": "a", "queue": "imports", "dependencyToken": "t"}),
        json!({"messageName": "a", "queue": "imports", "dependencyToken": "u"}),
        json!({"messageName": "a", "queue": "other"}),
        json!({"messageName": "a", "queue": "imports", "postponeUntil": "2099-01-01T00:00:00Z"}),
    ] {
        create(body).await;
    }
    let paused = create(json!({"messageName": "a", "queue": "imports"})).await;
    let pause = format!("/v1/operations/{}/pause", paused.id());
    let answer = client.post(&pause, &json!({})).await;
    assert!(answer.status.is_success(), "{answer:?}");
    // Published offers leave the outbox a moment later.
    until("all are offered", async || {
        let load = client.get("/v1/queues/imports/scale").await.json;
        load["runnable"] == 4 && load["wanted"] == 4 && load["running"] == 0
    })
    .await;
    let other = client.get("/v1/queues/other/scale").await.json;
    assert_eq!(other["runnable"], 1, "{other}");
    tokio::time::advance(Duration::from_secs(60)).await;
    let later = client.get("/v1/queues/imports/scale").await.json;
    assert!(
        later["oldestSeconds"].as_u64().expect("a number") >= 60,
        "{later}"
    );
    // A backlog of another queue hides nothing.
    for _ in 0..1_000 {
        create(json!({"messageName": "a", "queue": "busy"})).await;
    }
    create(json!({"messageName": "a", "queue": "quiet"})).await;
    let quiet = client.get("/v1/queues/quiet/scale").await.json;
    assert_eq!(quiet["runnable"], 1, "{quiet}");
    let busy = client.get("/v1/queues/busy/scale").await.json;
    assert_eq!(busy["runnable"], 1_000, "{busy}");
    let wrong = client.get("/v1/queues/A_B/scale").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong:?}");
    maintenance.stop().await;
}

/// The seconds that the metric has for a queue.
async fn oldest_of(client: &Client, queue: &str) -> Option<u64> {
    let metrics = client.get("/metrics").await.text;
    let name = format!("drumline_oldest_runnable_seconds{{queue=\"{queue}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name))?;
    Some(line.parse().expect("a number"))
}

#[tokio::test(start_paused = true)]
async fn the_age_of_the_oldest_that_could_run_is_a_metric_of_each_queue() {
    let backend = backend();
    let manager = manager(&backend);
    let maintenance = Maintenance::start(&manager);
    let client = Client::of(&manager);
    let head = json!({"messageName": "a", "queue": "imports", "dependencyToken": "t"});
    let head = client.create(&head).await;
    let alone = client.create(&json!({"messageName": "a"})).await;
    for body in [
        json!({"messageName": "a", "queue": "imports", "dependencyToken": "t"}),
        json!({"messageName": "a", "queue": "later", "postponeUntil": "2099-01-01T00:00:00Z"}),
    ] {
        client.create(&body).await;
    }
    let two_minutes = Duration::from_secs(120);
    tokio::time::sleep(two_minutes).await;
    for queue in ["default", "imports"] {
        let age = oldest_of(&client, queue).await.expect("it waits");
        assert!((85..=120).contains(&age), "{queue}: {age}");
    }
    assert_eq!(oldest_of(&client, "later").await, None);

    // An offer that is made again begins no new time.
    let offer = backend.store.last_offer(alone).await.expect("it is there");
    let stamp = offer.expect("it is offered").stamp;
    let again = backend.store.reoffer(alone, stamp, Duration::ZERO).await;
    assert!(again.expect("it is there").is_some());

    // The next of the token waits since it became the head.
    Worker::new(&backend).run(head).await;
    tokio::time::sleep(Duration::from_secs(35)).await;
    let age = oldest_of(&client, "imports").await.expect("it waits");
    assert!(age <= 35, "{age}");
    let age = oldest_of(&client, "default").await.expect("it waits");
    assert!(age >= 120, "{age}");

    let all = client.get("/v1/operations?state=0").await.json;
    for operation in all["operations"].as_array().expect("a list") {
        let id = operation["id"].as_str().expect("an id");
        Worker::new(&backend).run(id.parse().expect("an id")).await;
    }
    tokio::time::sleep(Duration::from_secs(35)).await;
    for queue in ["default", "imports"] {
        assert_eq!(oldest_of(&client, queue).await, None);
    }
    maintenance.stop().await;
}

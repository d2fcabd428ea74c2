//! The load of a queue, as an autoscaler reads it.

use axum::http::StatusCode;
use drumline_queue_manager::Maintenance;
use serde_json::{Value, json};

use crate::support::client::Client;
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
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
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

//! Why an operation does not run: `?explain=true`.

use drumline_backend::decide::{Decided, decide_open};
use drumline_backend::{Backend, Ids, Member, MemberId, Role};
use drumline_protocol::{Event, OperationId, QueueName};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::worker::Worker;
use crate::support::{backend, manager, stored};

/// Makes a worker of the default queue known, which handles `a`.
async fn beat(backend: &Backend, messages: &[&str], running: u32) {
    let member = Member {
        id: MemberId(Uuid::from_u128(7)),
        role: Role::Worker,
        host: "test".to_owned(),
        queues: vec![QueueName::default()],
        messages: messages.iter().map(|name| (*name).to_owned()).collect(),
        concurrency: 4,
        running,
        draining: false,
        started_on_ms: 0,
    };
    let beaten = backend.membership.beat(&member).await;
    beaten.expect("the membership is there");
}

async fn explained(client: &Client, id: OperationId) -> Value {
    let path = format!("/v1/operations/{id}?explain=true");
    let answer = client.get(&path).await;
    assert_eq!(answer.json["id"], json!(id.to_string()), "{answer:?}");
    answer.json["waitingFor"].clone()
}

async fn assert_reason(client: &Client, id: OperationId, reason: &str) {
    let waiting = explained(client, id).await;
    assert_eq!(waiting["reason"], json!(reason), "{waiting}");
}

#[tokio::test(start_paused = true)]
async fn a_ready_operation_tells_what_is_missing() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let id = client.create(&json!({"messageName": "a"})).await;
    assert_reason(&client, id, "worker").await;
    beat(&backend, &["b"], 0).await;
    assert_reason(&client, id, "handler").await;
    beat(&backend, &["a"], 4).await;
    assert_reason(&client, id, "slot").await;
    beat(&backend, &["*"], 3).await;
    assert_reason(&client, id, "delivery").await;
    Faults::set(&faults.broker_is_blocked, true);
    assert_reason(&client, id, "broker").await;
}

#[tokio::test(start_paused = true)]
async fn a_suspended_or_stopping_operation_tells_what_it_waits_for() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let until = "2099-01-01T00:00:00.000Z";
    let body = json!({"messageName": "a", "postponeUntil": until});
    let id = client.create(&body).await;
    let waiting = explained(&client, id).await;
    assert_eq!(waiting["reason"], json!("time"));
    assert!(waiting["detail"].to_string().contains(until), "{waiting}");
    let path = format!("/v1/operations/{id}");
    for action in ["resume", "pause"] {
        client
            .send("POST", &format!("{path}/{action}"), &[], "")
            .await;
    }
    assert_reason(&client, id, "person").await;
    client
        .send("POST", &format!("{path}/resume"), &[], "")
        .await;
    Worker::new(&backend).claim(id).await;
    assert_eq!(explained(&client, id).await, Value::Null);
    client
        .send("POST", &format!("{path}/cancel"), &[], "")
        .await;
    assert_reason(&client, id, "stop").await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_person_tells_what_that_one_is_to_do() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let plain = json!({"messageName": "a"});
    let paused = client.create(&plain).await;
    let unhandled = client.create(&plain).await;
    let body = json!({"messageName": "a", "recurrencePattern": "FREQ=DAILY"});
    let series = client.create(&body).await;
    for id in [paused, series] {
        let path = format!("/v1/operations/{id}/pause");
        client.send("POST", &path, &[], "").await;
    }
    let operation = stored(&backend, unhandled).await;
    let (store, ids) = (backend.store.as_ref(), Ids::random());
    let decided = decide_open(store, &ids, &operation, Event::Unhandled).await;
    assert!(matches!(decided, Ok(Decided::Done(..))), "{decided:?}");

    for (id, words) in [
        (paused, "it was paused"),
        (unhandled, "start one, then resume it"),
        (series, "the series is paused"),
    ] {
        let waiting = explained(&client, id).await;
        assert_eq!(waiting["reason"], json!("person"), "{waiting}");
        assert!(waiting["detail"].to_string().contains(words), "{waiting}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_parked_operation_names_the_head_of_its_chain() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let body = json!({"messageName": "a", "dependencyToken": "t"});
    let other = json!({"messageName": "a", "dependencyToken": "other"});
    client.create(&other).await;
    let head = client.create(&body).await;
    let next = client.create(&body).await;
    // More than a page of them.
    for _ in 0..600 {
        client.create(&body).await;
    }
    let last = client.create(&body).await;
    let worker = Worker::new(&backend);
    let pause = format!("/v1/operations/{head}/pause");
    let resume = format!("/v1/operations/{head}/resume");
    for status in ["WaitingForResources", "Waiting", "InProgress"] {
        match status {
            "Waiting" => drop(client.send("POST", &pause, &[], "").await),
            "InProgress" => {
                client.send("POST", &resume, &[], "").await;
                worker.claim(head).await;
            }
            _ => {}
        }
        for id in [next, last] {
            let waiting = explained(&client, id).await;
            assert_eq!(waiting["reason"], json!("predecessor"), "{waiting}");
            assert_eq!(waiting["operationId"], json!(head.to_string()), "{waiting}");
            assert!(waiting["detail"].to_string().contains(status), "{waiting}");
        }
    }
    assert_eq!(explained(&client, head).await, Value::Null);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_explained_unasked() {
    let client = Client::of(&manager(&backend()));
    let id = client.create(&json!({"messageName": "a"})).await;
    for parameters in ["", "?wait=0", "?explain=false"] {
        let answer = client
            .get(&format!("/v1/operations/{id}{parameters}"))
            .await;
        assert_eq!(answer.json.get("waitingFor"), None, "{parameters}");
    }
    let answer = client
        .get(&format!("/v1/operations/{id}?explain=why"))
        .await;
    assert_eq!(answer.status.as_u16(), 422);
}

//! Operations that expire because no worker has started them by their
//! `notAfter`.

use std::time::Duration;

use axum::http::StatusCode;
use drumline_backend::Backend;
use drumline_protocol::message::Source;
use drumline_protocol::{Event, OperationId, Timestamp};
use drumline_queue_manager::Maintenance;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::worker::{LEASE, Listener, Worker};
use crate::support::{backend, manager, stored, until};

fn in_a_minute(backend: &Backend) -> Timestamp {
    backend.store.now().saturating_add(Duration::from_secs(60))
}

/// An operation of a token that expires in a minute.
fn expiring(backend: &Backend, token: &str) -> Value {
    let time = in_a_minute(backend).to_string();
    json!({"messageName": "a", "dependencyToken": token, "notAfter": time})
}

async fn until_expired(client: &Client, id: OperationId) {
    until("it expires", || async {
        client.status(id).await == "Failed"
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_starts_ends_with_its_own_code_soon_after_its_time() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let maintenance = Maintenance::start(&manager);
    let time = in_a_minute(&backend);
    let body = json!({"messageName": "a", "notAfter": time.to_string()});
    let created = client.post("/v1/operations", &body).await;
    assert_eq!(created.json["notAfter"], json!(time.to_string()));
    let id = created.id();
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(client.status(id).await, "WaitingForResources");
    until_expired(&client, id).await;
    let late = backend.store.now().since(time);
    assert!(late < Duration::from_millis(500), "{late:?} late");
    let shown = client.get(&format!("/v1/operations/{id}")).await.json;
    assert_eq!(shown["errorCode"], json!("0x8D00000C"));
    assert_eq!(shown["startCount"], json!(0));
    assert_eq!(shown["startedOn"], Value::Null);
    let message = shown["message"].as_str().expect("a message");
    assert!(message.ends_with(&time.to_string()), "{message}");
    let metrics = client.get("/metrics").await.text;
    assert!(
        metrics.contains("drumline_due_expired_total 1"),
        "{metrics}"
    );
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn its_successors_go_on_whatever_it_waited_for() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let maintenance = Maintenance::start(&manager);
    // The head runs for longer than the second has to start. Nothing renews its
    // lease, which is longer than that.
    let token = json!({"messageName": "a", "dependencyToken": "t", "tokenPolicy": "hold"});
    let head = client.create(&token).await;
    let mut middle = token.clone();
    let soon = backend.store.now().saturating_add(LEASE / 4);
    middle["notAfter"] = json!(soon.to_string());
    let middle = client.create(&middle).await;
    let last = client.create(&token).await;
    let fence = worker.claim(head).await;
    until_expired(&client, middle).await;
    assert_eq!(client.status(head).await, "InProgress");
    let mut lane = Listener::of(&backend, Source::Lane(head.partition())).await;
    lane.hear(Duration::from_secs(1)).await;
    worker.succeed(head, fence).await;
    assert_eq!(lane.hear(Duration::from_secs(5)).await, [last]);
    worker.run(last).await;

    // A head that a person has paused expires too, and hands its chain on.
    let paused = client.create(&expiring(&backend, "t")).await;
    let next = client.create(&token).await;
    let path = format!("/v1/operations/{paused}/pause");
    client.send("POST", &path, &[], "").await;
    until_expired(&client, paused).await;
    let mut heard = Vec::new();
    while !heard.contains(&next) {
        let more = lane.hear(Duration::from_secs(5)).await;
        assert!(!more.is_empty(), "{next} is never offered: {heard:?}");
        heard.extend(more);
    }
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_has_started_does_not_expire_any_more() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let worker = Worker::new(&backend);
    let maintenance = Maintenance::start(&manager);
    let body = expiring(&backend, "t");
    let id = client.create(&body).await;
    let fence = worker.claim(id).await;
    worker.say(id, fence, Event::Release).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(client.status(id).await, "WaitingForResources");
    worker.run(id).await;
    assert_eq!(client.status(id).await, "Succeeded");
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_expire_in_batches_and_another_manager_does_what_one_leaves() {
    let backend = backend();
    let managers = [manager(&backend), manager(&backend)];
    let client = Client::of(&managers[0]);
    let [one, other] = managers.each_ref().map(Maintenance::start);
    let body = expiring(&backend, "t");
    let plain = json!({"messageName": "a", "notAfter": body["notAfter"].clone()});
    for number in 0..500 {
        let body = if number % 2 == 0 { &body } else { &plain };
        client.create(body).await;
    }
    // The moment before they expire, one of the managers is gone.
    tokio::time::sleep(Duration::from_secs(55)).await;
    drop(one);
    until("all have expired", || async {
        let counts = backend.store.counts().await.expect("the store is there");
        counts.completed == 500
    })
    .await;
    other.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_time_that_makes_a_start_impossible_is_refused() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let now = backend.store.now();
    let soon = in_a_minute(&backend).to_string();
    for (more, why) in [
        (json!({"notAfter": now.to_string()}), "has passed already"),
        (
            json!({"notAfter": soon, "postponeUntil": soon}),
            "must be later than postponeUntil",
        ),
        (
            json!({"notAfter": soon, "recurrencePattern": "FREQ=DAILY"}),
            "end the series with UNTIL",
        ),
        (json!({"notAfter": "soon"}), "must be a time"),
    ] {
        let mut body = json!({"messageName": "a"});
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let refused = client.post("/v1/operations", &body).await;
        assert_eq!(
            refused.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{refused:?}"
        );
        assert_eq!(refused.json["code"], json!("0x80040203"));
        assert!(refused.text.contains("notAfter"), "{refused:?}");
        assert!(refused.text.contains(why), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_repetition_gets_the_operation_that_has_expired() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let maintenance = Maintenance::start(&manager);
    let body = expiring(&backend, "t");
    let create = async || -> Answer {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", "k"),
        ];
        let body = body.to_string();
        client.send("POST", "/v1/operations", &headers, body).await
    };
    let first = create().await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    until_expired(&client, first.id()).await;
    let again = create().await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    assert_eq!(again.id(), first.id());
    maintenance.stop().await;
}

#[tokio::test(start_paused = true)]
async fn it_is_not_postponed_beyond_its_time_and_the_time_stays() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let body = expiring(&backend, "t");
    let id = client.create(&body).await;
    let path = format!("/v1/operations/{id}");
    let until = json!({"postponeUntil": body["notAfter"].clone()});
    let refused = client.post(&format!("{path}/postpone"), &until).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    assert_eq!(refused.json["code"], json!("0x80044167"));
    assert!(
        refused.text.contains("it would expire first"),
        "{refused:?}"
    );
    let earlier = in_a_minute(&backend).as_millis() - 1;
    let earlier = Timestamp::from_millis(earlier).to_string();
    let until = json!({"postponeUntil": earlier});
    let postponed = client.post(&format!("{path}/postpone"), &until).await;
    assert_eq!(postponed.json["status"], json!("Waiting"), "{postponed:?}");
    let change = json!({"notAfter": "2099-01-01T00:00:00Z"});
    let refused = client.json("PATCH", &path, &change).await;
    assert!(refused.text.contains("is read-only"), "{refused:?}");
    let stored = stored(&backend, id).await.header.rules.not_after;
    assert_eq!(json!(stored.map(|time| time.to_string())), body["notAfter"]);
}

#[tokio::test(start_paused = true)]
async fn the_reason_of_a_wait_says_when_it_ends_in_any_case() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let body = expiring(&backend, "t");
    let id = client.create(&body).await;
    let time = body["notAfter"].as_str().expect("a time");
    let explained = async || {
        let path = format!("/v1/operations/{id}?explain=true");
        let answer = client.get(&path).await.json["waitingFor"].clone();
        answer["detail"].as_str().unwrap_or_default().to_owned()
    };
    let words = format!("; it expires at {time} unless a worker has started it by then");
    let why = explained().await;
    assert!(why.ends_with(&words), "{why}");
    let worker = Worker::new(&backend);
    let fence = worker.claim(id).await;
    worker.say(id, fence, Event::Release).await;
    let why = explained().await;
    assert!(!why.is_empty() && !why.contains("expires"), "{why}");
}

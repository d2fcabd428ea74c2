//! Actions and changes: every arrow that a client may take, and the refusals
//! with the legal actions.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use drumline_protocol::retry::Jitter;
use drumline_protocol::{ErrorCode, Event, Fault, OperationId};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::faulty::faulty;
use crate::support::worker::Worker;
use crate::support::{backend, manager};

const LATER: &str = "2099-01-01T00:00:00.000Z";

/// The status that an operation is brought to before the request.
#[derive(Clone, Copy, Debug)]
enum From {
    Ready,
    Suspended,
    InProgress,
    Pausing,
    Canceling,
    Succeeded,
}

struct Bench {
    client: Client,
    worker: Worker,
}

impl Bench {
    fn new() -> Self {
        let backend = backend();
        Self {
            client: Client::of(&manager(&backend)),
            worker: Worker::new(&backend),
        }
    }

    async fn operation(&self, from: From) -> OperationId {
        let id = self.client.create(&json!({"messageName": "a"})).await;
        match from {
            From::Ready => {}
            From::Suspended => self.ask(id, "pause").await,
            From::InProgress => {
                self.worker.claim(id).await;
            }
            From::Pausing => {
                self.worker.claim(id).await;
                self.ask(id, "pause").await;
            }
            From::Canceling => {
                self.worker.claim(id).await;
                self.ask(id, "cancel").await;
            }
            From::Succeeded => self.worker.run(id).await,
        }
        id
    }

    async fn ask(&self, id: OperationId, action: &str) {
        let path = format!("/v1/operations/{id}/{action}");
        let answer = self.client.send("POST", &path, &[], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
}

/// The result of a request: a status by name, or the name of the error and the
/// legal actions.
type Expected = Result<&'static str, (&'static str, &'static [&'static str])>;

async fn check(from: From, method: &str, action: &str, body: &Value, expected: Expected) {
    let bench = Bench::new();
    let id = bench.operation(from).await;
    let path = format!("/v1/operations/{id}{action}");
    let answer = bench.client.json(method, &path, body).await;
    let about = format!("{method} {action} {body} from {from:?}: {answer:?}");
    match expected {
        Ok(status) => {
            assert_eq!(answer.status, StatusCode::OK, "{about}");
            assert_eq!(answer.json["status"], json!(status), "{about}");
            assert_eq!(bench.client.status(id).await, status, "{about}");
        }
        Err((name, legal)) => {
            assert_eq!(answer.status, StatusCode::CONFLICT, "{about}");
            assert_eq!(answer.json["name"], json!(name), "{about}");
            assert_eq!(answer.json["legalActions"], json!(legal), "{about}");
        }
    }
}

const READY: &[&str] = &["cancel", "pause", "postpone"];
const SUSPENDED: &[&str] = &["cancel", "resume", "postpone"];
const OVER: &[&str] = &["delete"];

#[tokio::test(start_paused = true)]
async fn every_action_from_every_state() {
    let none = json!({});
    let cases: Vec<(From, &str, Expected)> = vec![
        (From::Ready, "cancel", Ok("Canceled")),
        (From::Suspended, "cancel", Ok("Canceled")),
        (From::InProgress, "cancel", Ok("Canceling")),
        (From::Pausing, "cancel", Ok("Canceling")),
        (From::Canceling, "cancel", Ok("Canceling")),
        (From::Succeeded, "cancel", Err(("CannotCancel", OVER))),
        (From::Ready, "pause", Ok("Waiting")),
        (From::Suspended, "pause", Ok("Waiting")),
        (From::InProgress, "pause", Ok("Pausing")),
        (From::Pausing, "pause", Ok("Pausing")),
        (From::Canceling, "pause", Err(("CannotPause", &[]))),
        (From::Succeeded, "pause", Err(("CannotPause", OVER))),
        (From::Ready, "resume", Err(("InvalidChangeToReady", READY))),
        (From::Suspended, "resume", Ok("WaitingForResources")),
        (
            From::InProgress,
            "resume",
            Err(("InvalidChangeToReady", READY)),
        ),
        (
            From::Succeeded,
            "resume",
            Err(("InvalidChangeToReady", OVER)),
        ),
    ];
    for (from, action, expected) in cases {
        check(from, "POST", &format!("/{action}"), &none, expected).await;
    }
    let until = json!({"postponeUntil": LATER});
    let cases: Vec<(From, Expected)> = vec![
        (From::Ready, Ok("Waiting")),
        (From::Suspended, Ok("Waiting")),
        (From::InProgress, Ok("Pausing")),
        (
            From::Pausing,
            Err(("InvalidChangeToSuspended", &["cancel"])),
        ),
        (From::Succeeded, Err(("InvalidChangeToSuspended", OVER))),
    ];
    for (from, expected) in cases {
        check(from, "POST", "/postpone", &until, expected).await;
    }
    for (from, legal) in [
        (From::Ready, READY),
        (From::Suspended, SUSPENDED),
        (From::InProgress, READY),
        (From::Canceling, &[]),
    ] {
        let expected = Err(("CannotDeleteUnlessCompleted", legal));
        check(from, "DELETE", "", &none, expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn changes_of_attributes_are_actions_in_other_words() {
    let cases: Vec<(From, Value, Expected)> = vec![
        (
            From::Suspended,
            json!({"stateCode": 0}),
            Ok("WaitingForResources"),
        ),
        (
            From::Suspended,
            json!({"statusCode": 0}),
            Ok("WaitingForResources"),
        ),
        (From::Ready, json!({"stateCode": 1}), Ok("Waiting")),
        (
            From::Ready,
            json!({"stateCode": 1, "statusCode": 10}),
            Ok("Waiting"),
        ),
        (From::InProgress, json!({"stateCode": 1}), Ok("Pausing")),
        (From::Ready, json!({"stateCode": 3}), Ok("Canceled")),
        (
            From::Ready,
            json!({"stateCode": 3, "statusCode": 32}),
            Ok("Canceled"),
        ),
        (From::InProgress, json!({"stateCode": 3}), Ok("Canceling")),
        (From::Ready, json!({"postponeUntil": LATER}), Ok("Waiting")),
        (
            From::Ready,
            json!({"stateCode": 1, "postponeUntil": LATER}),
            Ok("Waiting"),
        ),
        (
            From::Ready,
            json!({"stateCode": 0}),
            Err(("InvalidChangeToReady", READY)),
        ),
        (From::Suspended, json!({"stateCode": 1}), Ok("Waiting")),
        (
            From::Ready,
            json!({"stateCode": 2}),
            Err(("InvalidStateChange", READY)),
        ),
        (
            From::Suspended,
            json!({"stateCode": 2}),
            Err(("InvalidStateChange", SUSPENDED)),
        ),
        (
            From::Ready,
            json!({"statusCode": 21}),
            Err(("InvalidStateChange", READY)),
        ),
        (
            From::InProgress,
            json!({"statusCode": 30}),
            Err(("InvalidChangeToCompleted", READY)),
        ),
        (
            From::InProgress,
            json!({"stateCode": 3, "statusCode": 31}),
            Err(("InvalidChangeToCompleted", READY)),
        ),
        (
            From::Succeeded,
            json!({"stateCode": 3}),
            Err(("CannotCancel", OVER)),
        ),
    ];
    for (from, body, expected) in cases {
        check(from, "PATCH", "", &body, expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_postponement_is_shown_and_ended_by_a_resume() {
    let bench = Bench::new();
    let id = bench.operation(From::Ready).await;
    let path = format!("/v1/operations/{id}");
    let until = json!({"postponeUntil": "2099-01-01T02:00:00+02:00"});
    let answer = bench.client.json("PATCH", &path, &until).await;
    assert_eq!(answer.json["postponeUntil"], json!(LATER));
    bench.ask(id, "resume").await;
    let answer = bench.client.get(&path).await;
    assert_eq!(answer.json["postponeUntil"], json!(null));
}

#[tokio::test(start_paused = true)]
async fn types_that_cannot_be_controlled_say_so() {
    let bench = Bench::new();
    for kind in [9, 16, 18, 19, 20, 22, 24, 25, 27, 31] {
        let body = json!({"messageName": "a", "operationType": kind});
        let id = bench.client.create(&body).await;
        for action in ["cancel", "pause"] {
            let path = format!("/v1/operations/{id}/{action}");
            let answer = bench.client.send("POST", &path, &[], "").await;
            assert_eq!(answer.status, StatusCode::CONFLICT, "{kind} {action}");
            assert_eq!(answer.json["legalActions"], json!(["postpone"]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_is_gone() {
    let bench = Bench::new();
    let id = bench.operation(From::Succeeded).await;
    let path = format!("/v1/operations/{id}");
    let answer = bench.client.send("DELETE", &path, &[], "").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(bench.client.get(&path).await.status, StatusCode::NOT_FOUND);
    let again = bench.client.send("DELETE", &path, &[], "").await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn an_action_takes_nothing_in_whatever_clients_wrap_it() {
    let bench = Bench::new();
    for (content_type, body) in [
        ("application/json", ""),
        ("application/json", "{}"),
        ("application/json", " null\n"),
        ("application/x-www-form-urlencoded", ""),
    ] {
        let id = bench.operation(From::Ready).await;
        let path = format!("/v1/operations/{id}/pause");
        let headers = [("content-type", content_type)];
        let answer = bench.client.send("POST", &path, &headers, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{content_type} {body:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_head_makes_way_for_the_next() {
    let bench = Bench::new();
    let body = json!({"messageName": "a", "dependencyToken": "t"});
    let head = bench.client.create(&body).await;
    let next = bench.client.create(&body).await;
    bench.ask(head, "cancel").await;
    let fence = bench.worker.claim(next).await;
    bench.worker.say(next, fence, Event::Succeed).await;
    assert_eq!(bench.client.status(next).await, "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn changes_of_one_series_at_the_same_time_are_all_made() {
    let (backend, _faults) = faulty(&backend());
    let client = Client::of(&manager(&backend));
    let body = json!({"messageName": "a", "recurrencePattern": "FREQ=DAILY"});
    let path = format!("/v1/operations/{}", client.create(&body).await);
    let rules: Vec<Value> = (1..=8)
        .map(|days| json!({"recurrencePattern": format!("FREQ=DAILY;INTERVAL={days}")}))
        .collect();
    let changes = rules.iter().map(|rule| client.json("PATCH", &path, rule));
    let mut versions = BTreeSet::new();
    for (rule, answer) in rules.iter().zip(join_all(changes).await) {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.json["recurrencePattern"], rule["recurrencePattern"]);
        versions.insert(answer.json["version"].as_u64());
    }
    assert_eq!(versions.len(), rules.len(), "{versions:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_next_try_can_be_paused() {
    let backend = backend();
    let client = Client::of(&manager(&backend));
    let worker = Worker::new(&backend);
    let postponed = json!({"messageName": "a", "postponeUntil": LATER});
    let postponed = client.create(&postponed).await;
    let retried = client.create(&json!({"messageName": "a"})).await;
    let fence = worker.claim(retried).await;
    let fault = Fault::new(ErrorCode::NETWORK_ERROR, "", "away");
    let retry = Event::Retry {
        fault,
        after: None,
        jitter: Jitter(0),
    };
    worker.say(retried, fence, retry).await;
    for id in [postponed, retried] {
        let path = format!("/v1/operations/{id}");
        let before = client.get(&path).await;
        assert!(before.json["postponeUntil"].is_string(), "{before:?}");
        let legal = json!(["cancel", "pause", "resume", "postpone"]);
        assert_eq!(before.json["legalActions"], legal, "{before:?}");
        // Twice: the answer to the first may have been lost.
        for _ in 0..2 {
            let paused = client.send("POST", &format!("{path}/pause"), &[], "").await;
            assert_eq!(paused.status, StatusCode::OK, "{paused:?}");
            assert_eq!(paused.json["status"], "Waiting", "{paused:?}");
            assert_eq!(paused.json["postponeUntil"], Value::Null, "{paused:?}");
        }
        let resumed = client
            .send("POST", &format!("{path}/resume"), &[], "")
            .await;
        assert_eq!(resumed.json["status"], "WaitingForResources", "{resumed:?}");
    }
    let retried = client.get(&format!("/v1/operations/{retried}")).await;
    assert_eq!(retried.json["retryCount"], 1, "it is still counted");
}

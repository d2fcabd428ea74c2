//! Creates that are called for at the same time.

use std::time::Duration;

use drumline_client::{Client, ErrorCode, NewOperation};
use futures_util::future::{FutureExt as _, join_all};
use serde_json::{Value, json};

use crate::service::{Act, Request, Service, operation, refusal};

/// The creates that are sent before others wait for their answers.
const ALONE: usize = 4;
const SHARED: &str = "POST /v1/operations/create";

fn new(number: usize) -> NewOperation {
    NewOperation::new("Echo").idempotency_key(number.to_string())
}

/// Answers a create that has come alone with its own key as the id.
fn created(request: &Request) -> Act {
    let key = request
        .header("idempotency-key")
        .expect("every create has one");
    Act::Answer(201, "", operation(key, 0))
}

fn is_shared(request: &Request) -> bool {
    request.line == SHARED
}

/// The keys in a shared request.
fn keys(request: &Request) -> Vec<&str> {
    let creates = request.body["creates"].as_array().expect("a list");
    let keys = creates
        .iter()
        .map(|create| create["idempotencyKey"].as_str());
    keys.map(|key| key.expect("every create has one")).collect()
}

async fn create(client: &Client, count: usize) -> Vec<drumline_client::Result<String>> {
    let all = (0..count).map(|number| async move {
        let created = client.create(&new(number)).await?;
        Ok(format!("{} {}", created.operation.id, created.existed))
    });
    join_all(all).await
}

#[tokio::test]
async fn those_that_wait_share_a_request_and_each_has_its_own_answer() {
    // The last of them meets a service that is busy, and is sent again.
    let service = Service::answering(ALONE + 2, |request| {
        if !is_shared(request) {
            return created(request);
        }
        let problem = |status, code| json!({"status": status, "code": code, "name": "Name"});
        let answers = json!([
            {"status": 201, "operation": operation("4", 0)},
            {"status": 200, "operation": operation("5", 30)},
            {"status": 422, "problem": problem(422, "0x80040203")},
            {"status": 503, "problem": problem(503, "0x8004A001"), "retryAfter": 0},
        ]);
        Act::Answer(200, "", json!({"answers": answers}))
    })
    .await;
    let client = service.client();
    let mut answers = create(&client, ALONE + 4).await;
    let requests = service.requests().await;
    let refused = answers.remove(6).unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::INVALID_ARGUMENT));
    assert_eq!(refused.status(), Some(422));
    let answers: Vec<String> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        answers,
        [
            "0 false", "1 false", "2 false", "3 false", "4 false", "5 true", "7 false"
        ]
    );
    let shared: Vec<_> = requests
        .iter()
        .filter(|request| is_shared(request))
        .collect();
    assert_eq!(shared.len(), 1, "{requests:?}");
    assert_eq!(keys(shared[0]), ["4", "5", "6", "7"]);
    let sent = &shared[0].body["creates"][0]["operation"];
    assert_eq!(sent["messageName"], "Echo");
}

#[tokio::test]
async fn a_shared_request_that_is_refused_is_sent_one_by_one() {
    let wrong = json!({"answers": [{"status": 201, "operation": operation("4", 0)}]});
    let count = ALONE + 2;
    for act in [
        refusal(405, "", "0x80044F10"),
        refusal(422, "", "0x80040203"),
        refusal(500, "", "0x80040216"),
        Act::Answer(200, "", Value::Null),
        Act::Answer(200, "", wrong),
    ] {
        let service = Service::answering(count + 1 + count, move |request| {
            if is_shared(request) {
                act.clone()
            } else {
                created(request)
            }
        })
        .await;
        let client = service.client();
        // The service is not asked again soon.
        for _ in 0..2 {
            let answers = create(&client, count).await;
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        }
        let requests = service.requests().await;
        let shared = requests.iter().filter(|request| is_shared(request));
        assert_eq!(shared.count(), 1, "{requests:?}");
    }
}

#[tokio::test]
async fn without_an_answer_each_is_sent_again_alone_after_a_pause() {
    let service = Service::answering(ALONE + 1 + 2, |request| {
        if is_shared(request) {
            Act::HangUp
        } else {
            created(request)
        }
    })
    .await;
    let answers = create(&service.client(), ALONE + 2).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    service.requests().await;
    // Without patience nothing is sent twice.
    let service = Service::answering(ALONE + 1, |request| {
        if is_shared(request) {
            Act::HangUp
        } else {
            created(request)
        }
    })
    .await;
    let client = service.builder().patience(Duration::ZERO).build().unwrap();
    let answers = create(&client, ALONE + 2).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 2);
    service.requests().await;
}

#[tokio::test]
async fn a_create_depends_on_no_future_that_nobody_polls() {
    let service = Service::answering(ALONE + 1, created).await;
    let client = service.client();
    let first = create(&client, ALONE);
    tokio::pin!(first);
    assert!(first.as_mut().now_or_never().is_none());
    let last = client.create(&new(4)).await.unwrap();
    assert_eq!(last.operation.id, "4");
    let first = first.await;
    assert!(first.iter().all(Result::is_ok), "{first:?}");
    service.requests().await;
}

#[tokio::test]
async fn a_pause_that_the_service_asks_for_is_for_all_that_shared() {
    let service = Service::answering(ALONE + 1, |request| {
        if is_shared(request) {
            refusal(503, "retry-after: 60\r\n", "0x8004A001")
        } else {
            created(request)
        }
    })
    .await;
    // Its patience is shorter.
    let answers = create(&service.client(), ALONE + 2).await;
    let requests = service.requests().await;
    assert_eq!(requests.len(), ALONE + 1);
    for answer in &answers[ALONE..] {
        let error = answer.as_ref().unwrap_err();
        assert_eq!(error.status(), Some(503));
        assert_eq!(error.retry_after().unwrap().as_secs(), 60);
    }
}

#[tokio::test]
async fn a_large_create_and_one_that_is_no_json_are_sent_alone() {
    let service = Service::answering(ALONE + 2, created).await;
    let client = service.client();
    let large = NewOperation::new("Echo").idempotency_key("large");
    let large = large.data(&"x".repeat(100_000)).unwrap();
    let others = create(&client, ALONE);
    let (others, large, broken) = tokio::join!(
        others,
        client.create(&large),
        client.create_json("{", Some("broken")),
    );
    assert!(others.iter().all(Result::is_ok), "{others:?}");
    assert_eq!(large.unwrap().operation.id, "large");
    assert_eq!(broken.unwrap().operation.id, "broken");
    let requests = service.requests().await;
    assert!(!requests.iter().any(is_shared), "{requests:?}");
}

#[tokio::test]
async fn slow_answers_keep_nobody_back() {
    // Nothing is answered before the request of the one that waited has come.
    let service = Service::holding(ALONE + 1, created).await;
    let answers = create(&service.client(), ALONE + 1).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let requests = service.requests().await;
    assert!(!requests.iter().any(is_shared), "{requests:?}");
}

#[tokio::test]
async fn a_create_that_nobody_waits_for_is_not_sent() {
    let service = Service::answering(ALONE + 1, |request| {
        if !is_shared(request) {
            return created(request);
        }
        let created = |id| json!({"status": 201, "operation": operation(id, 0)});
        Act::Answer(200, "", json!({"answers": [created("5"), created("6")]}))
    })
    .await;
    let client = service.client();
    let first = create(&client, ALONE);
    tokio::pin!(first);
    // Each is called, in this order, and none is answered yet.
    assert!(first.as_mut().now_or_never().is_none());
    let news = [new(4), new(5), new(6)];
    let mut calls: Vec<_> = news
        .iter()
        .map(|new| Box::pin(client.create(new)))
        .collect();
    for call in &mut calls {
        assert!(call.as_mut().now_or_never().is_none());
    }
    drop(calls.remove(0));
    let (first, kept) = tokio::join!(first, join_all(calls));
    assert!(first.iter().all(Result::is_ok), "{first:?}");
    assert!(kept.iter().all(Result::is_ok), "{kept:?}");
    let requests = service.requests().await;
    let shared = requests.iter().find(|request| is_shared(request)).unwrap();
    assert_eq!(keys(shared), ["5", "6"]);
}

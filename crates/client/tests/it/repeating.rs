//! The requests that are sent again, and the requests that are not.

use std::time::Duration;

use drumline_client::{Error, ErrorCode, NewOperation};
use serde_json::Value;
use tokio::time::Instant;

use crate::service::{Act, Service, operation, refusal};

const BUSY: &str = "0x8004A001";

fn created() -> Act {
    Act::Answer(201, "", operation("a", 0))
}

#[tokio::test]
async fn a_create_without_an_answer_is_repeated_with_the_same_key() {
    let service = Service::start([Act::HangUp, refusal(503, "", BUSY), created()]).await;
    let new = NewOperation::new("Echo");
    let answer = service.client().create(&new).await.unwrap();
    assert_eq!(answer.operation.id, "a");
    assert!(!answer.existed);
    let requests = service.requests().await;
    let keys: Vec<_> = requests
        .iter()
        .map(|request| request.header("idempotency-key").unwrap())
        .collect();
    assert!(
        keys.iter().all(|key| *key == keys[0] && key.len() == 36),
        "{keys:?}"
    );
    assert!(
        requests
            .iter()
            .all(|request| request.body["messageName"] == "Echo")
    );
}

#[tokio::test]
async fn a_key_of_the_callers_is_used_and_an_old_answer_is_told() {
    let service = Service::start([Act::Answer(200, "", operation("a", 0))]).await;
    let new = NewOperation::new("Echo").idempotency_key("mine");
    assert!(service.client().create(&new).await.unwrap().existed);
    let requests = service.requests().await;
    assert_eq!(requests[0].header("idempotency-key"), Some("mine"));
}

#[tokio::test]
async fn nothing_is_repeated_before_the_service_wants_it() {
    let service = Service::start([refusal(429, "retry-after: 1\r\n", BUSY), created()]).await;
    let asked = Instant::now();
    service
        .client()
        .create(&NewOperation::new("Echo"))
        .await
        .unwrap();
    assert!(asked.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_refusal_that_stays_is_told_with_its_code_and_way_out() {
    let service = Service::start([refusal(404, "", "0x80040217")]).await;
    let error = service.client().get("a").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NOT_FOUND));
    assert_eq!(error.status(), Some(404));
    assert!(error.hint().unwrap().contains("drumline list"));
    assert!(!error.is_transient());
}

#[tokio::test]
async fn an_action_is_repeated_only_where_nothing_was_done() {
    let done = Act::Answer(200, "", operation("a", 32));
    let service = Service::start([refusal(429, "", BUSY), done]).await;
    assert_eq!(service.client().cancel("a").await.unwrap().status_code, 32);
    assert_eq!(service.requests().await.len(), 2);

    for act in [Act::HangUp, refusal(503, "", BUSY)] {
        let service = Service::start([act]).await;
        let error = service.client().cancel("a").await.unwrap_err();
        assert!(error.is_transient() && !error.nothing_was_done(), "{error}");
        assert_eq!(service.requests().await.len(), 1);
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_away_and_has_done_nothing() {
    let service = Service::start([]).await;
    let client = service.builder().patience(Duration::ZERO).build().unwrap();
    service.requests().await;
    let error = client.cancel("a").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    assert!(error.nothing_was_done());
}

#[tokio::test]
async fn an_answer_of_somebody_else_is_told_as_such() {
    let service = Service::start([Act::Answer(200, "", Value::from("hello"))]).await;
    let error = service.client().queues().await.unwrap_err();
    assert!(
        matches!(error, Error::UnexpectedResponse { status: 200, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_service_hears_who_asks_and_in_which_trace() {
    let service = Service::start([Act::Answer(200, "", operation("a", 0))]).await;
    let client = service
        .builder()
        .organization("contoso")
        .caller("nightly")
        .traceparent("00-1-2-01")
        .build()
        .unwrap();
    client.get("a/b").await.unwrap();
    let request = &service.requests().await[0];
    assert_eq!(request.header("drumline-organization"), Some("contoso"));
    assert_eq!(request.header("drumline-caller"), Some("nightly"));
    assert_eq!(request.header("traceparent"), Some("00-1-2-01"));
    assert_eq!(request.line, "GET /v1/operations/a%2Fb");
}

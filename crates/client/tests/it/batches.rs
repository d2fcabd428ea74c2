//! Many requests in one.

use drumline_client::{Error, ErrorCode, NewOperation, OrganizationRequest};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use crate::service::{Act, Request, Service};

fn operations(count: usize) -> impl Iterator<Item = NewOperation> {
    (0..count).map(|number| NewOperation::new(format!("m{number}")))
}

/// The message names of a batch.
fn messages(request: &Request) -> Vec<String> {
    let items = request.body["parameters"]["requests"]
        .as_array()
        .expect("items");
    let name = |item: &Value| {
        item["parameters"]["target"]["messageName"]
            .as_str()
            .expect("a name")
            .to_owned()
    };
    items.iter().map(name).collect()
}

fn created(index: usize, id: &str) -> Value {
    json!({"requestIndex": index, "fault": null,
           "response": {"responseName": "Create", "results": {"id": id}}})
}

fn faulted(index: usize, code: &str) -> Value {
    json!({"requestIndex": index, "response": null,
           "fault": {"errorCode": code, "name": "N", "message": "no", "errorDetails": {}, "timestamp": ""}})
}

fn answer(responses: &[Value]) -> Act {
    let results = json!({"isFaulted": false, "responses": responses});
    Act::Answer(
        200,
        "",
        json!({"responseName": "ExecuteMultiple", "results": results}),
    )
}

#[tokio::test]
async fn a_refused_one_does_not_keep_the_others_from_being_created() {
    let service = Service::start([
        answer(&[created(0, "a"), faulted(1, "0x80040203")]),
        answer(&[created(0, "c")]),
    ])
    .await;
    let answers = service.client().create_all(operations(3)).await.unwrap();
    assert_eq!(answers[0].as_deref().ok(), Some("a"));
    let fault = answers[1].as_ref().unwrap_err();
    assert_eq!(fault.error_code, ErrorCode::INVALID_ARGUMENT);
    assert_eq!(answers[2].as_deref().ok(), Some("c"));
    let requests = service.requests().await;
    assert_eq!(messages(&requests[0]), ["m0", "m1", "m2"]);
    assert_eq!(messages(&requests[1]), ["m2"]);
}

#[tokio::test]
async fn one_that_the_service_was_too_busy_for_is_sent_again_before_those_behind_it() {
    let service = Service::start([
        answer(&[created(0, "a"), faulted(1, "0x8004A001")]),
        answer(&[faulted(0, "0x8004A001")]),
        answer(&[created(0, "b"), created(1, "c")]),
    ])
    .await;
    let answers = service.client().create_all(operations(3)).await.unwrap();
    let ids: Vec<_> = answers.iter().flatten().collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let requests = service.requests().await;
    assert_eq!(messages(&requests[1]), ["m1", "m2"]);
    let key = |request: &Request, index: usize| {
        request.body["parameters"]["requests"][index]["parameters"]["idempotencyKey"].clone()
    };
    assert!(key(&requests[0], 1).is_string());
    assert_eq!(key(&requests[0], 1), key(&requests[2], 0));
}

#[tokio::test]
async fn what_was_executed_is_told_before_patience_ends() {
    let mut busy = faulted(1, "0x8004A001");
    busy["fault"]["errorDetails"] = json!({"Retry-After": 1_000});
    let service = Service::start([answer(&[created(0, "a"), busy])]).await;
    let creates = ["a", "b"].map(|id| OrganizationRequest::Delete { id: id.to_owned() });
    let mut outcomes = service.client().execute_all(creates);
    let first = outcomes.try_next().await.unwrap();
    assert_eq!(first.map(|outcomes| outcomes.len()), Some(1));
    let error = outcomes.try_next().await.unwrap_err();
    assert!(matches!(error, Error::Busy(_)), "{error:?}");
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_cut() {
    let too_many = json!({"code": "0x80040203", "name": "InvalidArgument", "detail": "too many",
                          "errorDetails": {"MaxBatchSize": 2}});
    let too_large = json!({"code": "0x8D000005", "name": "RequestTooLarge", "detail": "too large"});
    let service = Service::start([
        Act::Answer(422, "", too_many),
        Act::Answer(413, "", too_large),
        answer(&[created(0, "a")]),
        answer(&[created(0, "b")]),
        answer(&[created(0, "c")]),
    ])
    .await;
    let answers = service.client().create_all(operations(3)).await.unwrap();
    let ids: Vec<_> = answers.iter().flatten().collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let sizes: Vec<_> = service
        .requests()
        .await
        .iter()
        .map(|r| messages(r).len())
        .collect();
    assert_eq!(sizes, [3, 2, 1, 1, 1]);
}

#[tokio::test]
async fn answers_that_do_not_fit_the_batch_are_not_believed() {
    for wrong in [
        vec![],
        vec![created(1, "a")],
        vec![created(0, "a"), created(1, "b")],
    ] {
        let service = Service::start([answer(&wrong)]).await;
        assert!(
            service.client().create_all(operations(1)).await.is_err(),
            "{wrong:?}"
        );
    }
}

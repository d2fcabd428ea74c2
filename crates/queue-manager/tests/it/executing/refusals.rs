//! Every way to ask wrongly: each wrong attribute is named, and no input from
//! the network is a fault of the service.

use axum::http::StatusCode;
use drumline_backend::Ids;
use drumline_queue_manager::options::Limits;
use drumline_queue_manager::{Options, QueueManager};
use serde_json::{Value, json};

use super::request;
use crate::support::client::Client;
use crate::support::{backend, manager};

#[tokio::test(start_paused = true)]
async fn every_attribute_that_is_wrong_is_named() {
    let cases: Vec<(Value, &[&str])> = vec![
        (json!([]), &["body"]),
        (json!({}), &["requestName"]),
        (json!({"requestName": null}), &["requestName"]),
        (
            json!({"requestName": 1, "requestId": 2, "parameters": 3, "x": 4}),
            &["requestName", "requestId", "parameters", "x"],
        ),
        (request("Create", json!({})), &["parameters.target"]),
        (
            request("Create", json!({"target": []})),
            &["parameters.target"],
        ),
        (
            request("Create", json!({"target": {"name": 1, "id": "x"}, "y": 1})),
            &[
                "parameters.target.messageName",
                "parameters.target.name",
                "parameters.target.id",
                "parameters.y",
            ],
        ),
        (
            request(
                "Create",
                json!({"target": {"messageName": "a", "retryPolicy": {"factor": "x"}}}),
            ),
            &["parameters.target.retryPolicy.factor"],
        ),
        (
            request(
                "Create",
                json!({"target": {"messageName": "a"}, "idempotencyKey": ""}),
            ),
            &["parameters.idempotencyKey"],
        ),
        (request("Retrieve", json!({})), &["parameters.id"]),
        (request("Retrieve", json!({"id": 1})), &["parameters.id"]),
        (
            request("Retrieve", json!({"name": "a", "id": "b"})),
            &["parameters.name"],
        ),
        (
            request("Retrieve", json!({"name": "a", "columnSet": ["colour"]})),
            &["parameters.columnSet"],
        ),
        (
            request("Retrieve", json!({"name": "a", "columnSet": "name"})),
            &["parameters.columnSet"],
        ),
        (
            request(
                "RetrieveMultiple",
                json!({"filter": {
            "name": 1, "state": "x", "status": {}, "messageName": [], "operationType": -1,
            "dependencyToken": 1, "createdAfter": "soon", "correlationId": "x", "colour": 1}}),
            ),
            &[
                "parameters.filter.name",
                "parameters.filter.state",
                "parameters.filter.status",
                "parameters.filter.messageName",
                "parameters.filter.operationType",
                "parameters.filter.dependencyToken",
                "parameters.filter.createdAfter",
                "parameters.filter.correlationId",
                "parameters.filter.colour",
            ],
        ),
        (
            request(
                "RetrieveMultiple",
                json!({"filter": 1, "limit": 0, "cursor": "x"}),
            ),
            &["parameters.filter", "parameters.limit", "parameters.cursor"],
        ),
        (request("Update", json!({})), &["parameters.target"]),
        (
            request("Update", json!({"target": {"stateCode": 1}})),
            &["parameters.target.id"],
        ),
        (
            request(
                "Update",
                json!({"target": {"id": "x", "name": "b", "depth": 2}}),
            ),
            &["parameters.target.name", "parameters.target.depth"],
        ),
        (request("Delete", json!({})), &["parameters.id"]),
        (
            request("Delete", json!({"id": "x", "y": 1})),
            &["parameters.y"],
        ),
        (request("ExecuteAsync", json!({})), &["parameters.request"]),
        (
            request(
                "ExecuteAsync",
                json!({"request": {"parameters": [], "x": 1}}),
            ),
            &[
                "parameters.request.requestName",
                "parameters.request.parameters",
                "parameters.request.x",
            ],
        ),
        (
            request("ExecuteMultiple", json!({})),
            &["parameters.requests"],
        ),
        (
            request(
                "ExecuteMultiple",
                json!({"requests": {}, "settings": {"continueOnError": 1, "x": 1}}),
            ),
            &[
                "parameters.requests",
                "parameters.settings.continueOnError",
                "parameters.settings.x",
            ],
        ),
        (
            request(
                "ExecuteMultiple",
                json!({"requests": [], "settings": 1, "x": 1}),
            ),
            &["parameters.settings", "parameters.x"],
        ),
        (
            request(
                "ExecuteTransaction",
                json!({"requests": 1, "returnResponses": 1, "x": 1}),
            ),
            &[
                "parameters.requests",
                "parameters.returnResponses",
                "parameters.x",
            ],
        ),
    ];
    let client = Client::of(&manager(&backend()));
    for (body, expected) in cases {
        let answer = client.post("/v1/execute", &body).await;
        let about = format!("{body}: {answer:?}");
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{about}");
        let attributes = answer.json["attributes"].as_array().expect("attributes");
        let mut named: Vec<_> = attributes
            .iter()
            .filter_map(|one| one["name"].as_str())
            .collect();
        let mut expected = expected.to_vec();
        named.sort_unstable();
        expected.sort_unstable();
        assert_eq!(named, expected, "{about}");
        assert_eq!(answer.json["errorCode"], answer.json["code"], "{about}");
        assert_eq!(
            answer.json["errorDetails"]["Attributes"], answer.json["attributes"],
            "{about}"
        );
    }
    assert!(super::names(&client).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_names_no_operation_has_a_code_of_its_own() {
    let client = Client::of(&manager(&backend()));
    let answer = client
        .post("/v1/execute", &request("Retrieve", json!({})))
        .await;
    assert_eq!(answer.json["errorCode"], json!("0x80044164"));
    let answer = client
        .post("/v1/execute", &request("Delete", json!({"id": "x"})))
        .await;
    assert_eq!(answer.json["errorCode"], json!("0x80040217"));
}

#[tokio::test(start_paused = true)]
async fn a_batch_may_be_large_and_its_items_may_not() {
    let options = Options {
        limits: Limits {
            body_bytes: 10_000,
            batch_bytes: 50_000,
            ..Limits::default()
        },
        ..Options::default()
    };
    let client = Client::of(&QueueManager::new(backend(), Ids::random(), options));
    let of_bytes = |bytes: usize| {
        let target = json!({"messageName": "a", "data": "x".repeat(bytes)});
        request("Create", json!({"target": target}))
    };
    let alone = client.post("/v1/execute", &of_bytes(10_000)).await;
    assert_eq!(alone.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(alone.json["errorDetails"], json!({"MaxBytes": 10_000}));
    let items = [of_bytes(10_000), of_bytes(9_000), of_bytes(9_000)];
    let results = super::executed(&client, &super::batches::batch(&items, true, false)).await;
    let responses = results["responses"].as_array().expect("a list");
    assert_eq!(responses.len(), 1);
    assert_eq!(responses[0]["fault"]["errorCode"], json!("0x8D000005"));
    let whole = client.post("/v1/execute", &json!("x".repeat(50_000))).await;
    assert_eq!(whole.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(whole.json["errorCode"], json!("0x8D000005"));
    assert_eq!(whole.json["errorDetails"], json!({"MaxBytes": 50_000}));
    // Only on `/v1/execute`: everywhere else a problem is no fault.
    let other = json!({"messageName": "a", "data": "x".repeat(10_000)});
    let other = client.post("/v1/operations", &other).await;
    assert_eq!(other.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(other.json.get("errorDetails"), None);
}

/// Any JSON made of the words that requests are made of.
fn any_json(random: &mut fastrand::Rng, depth: usize) -> Value {
    const NAMES: [&str; 24] = [
        "requestName",
        "parameters",
        "target",
        "requests",
        "settings",
        "request",
        "id",
        "name",
        "filter",
        "limit",
        "cursor",
        "columnSet",
        "continueOnError",
        "returnResponses",
        "requestId",
        "messageName",
        "dependencyToken",
        "data",
        "stateCode",
        "statusCode",
        "postponeUntil",
        "idempotencyKey",
        "retryPolicy",
        "state",
    ];
    const TEXTS: [&str; 16] = [
        "Create",
        "Retrieve",
        "RetrieveMultiple",
        "Update",
        "Delete",
        "ExecuteAsync",
        "ExecuteMultiple",
        "ExecuteTransaction",
        "ImportSolution",
        "a",
        "",
        "Ready",
        "2099-01-01T00:00:00Z",
        "67e55044-10b1-426f-9247-bb680e5fe0c8",
        "\u{0}",
        "name",
    ];
    match random.u8(0..if depth == 0 { 5 } else { 10 }) {
        0 => Value::Null,
        1 => json!(random.bool()),
        2 => json!(random.i64(-3..40)),
        3 | 4 => json!(TEXTS[random.usize(0..TEXTS.len())]),
        5 => {
            let count = random.usize(0..4);
            (0..count).map(|_| any_json(random, depth - 1)).collect()
        }
        6 | 7 => {
            let name = TEXTS[random.usize(0..8)];
            request(name, any_json(random, depth - 1))
        }
        _ => {
            let count = random.usize(0..5);
            let members = (0..count).map(|_| {
                let name = NAMES[random.usize(0..NAMES.len())].to_owned();
                (name, any_json(random, depth - 1))
            });
            Value::Object(members.collect())
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_asked_is_a_fault_of_ours() {
    let client = Client::of(&manager(&backend()));
    let mut random = fastrand::Rng::with_seed(7);
    let mut answered = 0;
    for _ in 0..3000 {
        let body = if random.bool() {
            any_json(&mut random, 6)
        } else {
            let name = [
                "Create",
                "Retrieve",
                "Update",
                "ExecuteMultiple",
                "ExecuteTransaction",
            ];
            request(name[random.usize(0..name.len())], any_json(&mut random, 5))
        };
        let answer = client.post("/v1/execute", &body).await;
        assert!(answer.status.as_u16() < 500, "{body}: {answer:?}");
        answered += usize::from(answer.status == StatusCode::OK);
        let faults = answer.json["results"]["responses"].as_array();
        for item in faults.into_iter().flatten() {
            assert_ne!(item["fault"]["name"], json!("InternalError"), "{body}");
        }
    }
    assert!(answered > 0, "the words are the wrong ones");
}

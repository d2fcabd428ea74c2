//! Addresses, their parameters, and changes that are not there or not possible.

use serde_json::{Value, json};

use super::{Body, Case, check, check_all};
use crate::support::client::Client;
use crate::support::{backend, manager};

#[tokio::test(start_paused = true)]
async fn operations_that_are_not_there() {
    let mut cases = Vec::new();
    for id in [
        "nonsense",
        "67e55044-10b1-426f-9247-bb680e5fe0c8",
        "01a1ee56-5e7b-7707-800f-070707070707",
        "%F0%9F%92%A5",
        "%FF",
    ] {
        for (method, action) in [
            ("GET", ""),
            ("GET", "?wait=1s"),
            ("DELETE", ""),
            ("POST", "/cancel"),
            ("POST", "/pause"),
            ("POST", "/resume"),
        ] {
            cases.push((method, format!("/v1/operations/{id}{action}"), Body::None));
        }
        let until = json!({"postponeUntil": "2027-01-01T00:00:00Z"});
        cases.push((
            "POST",
            format!("/v1/operations/{id}/postpone"),
            Body::Json(until),
        ));
        let state = Body::Json(json!({"stateCode": 3}));
        cases.push(("PATCH", format!("/v1/operations/{id}"), state));
        let state = Body::Json(json!({"stateCode": 2}));
        cases.push(("PATCH", format!("/v1/operations/{id}"), state));
    }
    let manager = manager(&backend());
    let client = Client::of(&manager);
    for (method, path, body) in cases {
        let case = Case {
            ask: (method, &path),
            body,
            status: 404,
            name: "ObjectDoesNotExist",
            attributes: &[],
        };
        check(&client, case).await;
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_and_methods_that_are_not_there() {
    let bad = |method, path, status| Case {
        ask: (method, path),
        body: Body::None,
        status,
        name: "NoSuchResource",
        attributes: &[],
    };
    check_all(vec![
        bad("GET", "/nowhere", 404),
        bad("GET", "/v1", 404),
        bad("GET", "/v2/operations", 404),
        bad("POST", "/v1/operations/x/explode", 404),
        bad("GET", "/docs/errors/Nothing.md", 404),
        bad("GET", "/docs/errors/%FF", 404),
        bad("PUT", "/v1/operations", 405),
        bad("DELETE", "/v1/operations", 405),
        bad("GET", "/v1/operations/x/cancel", 405),
        bad("POST", "/healthz", 405),
    ])
    .await;
    let manager = manager(&backend());
    let answer = Client::of(&manager)
        .send("PUT", "/v1/operations", &[], "")
        .await;
    assert_eq!(answer.header("allow"), "GET,HEAD,POST");
}

#[tokio::test(start_paused = true)]
async fn parameters_of_addresses() {
    let bad = |path, attributes| Case {
        ask: ("GET", path),
        body: Body::None,
        status: 422,
        name: "InvalidArgument",
        attributes,
    };
    check_all(vec![
        bad(
            "/v1/operations/01a1ee56-5e7b-7707-800f-070707070707?wait=long",
            &["wait"],
        ),
        bad(
            "/v1/operations/01a1ee56-5e7b-7707-800f-070707070707?wait=1s&colour=red",
            &["colour"],
        ),
        bad("/v1/operations?colour=red&limit=0", &["colour", "limit"]),
        bad("/v1/operations?limit=501", &["limit"]),
        bad("/v1/operations?limit=-1", &["limit"]),
        bad("/v1/operations?state=4", &["state"]),
        bad("/v1/operations?status=Done", &["status"]),
        bad("/v1/operations?operationType=x", &["operationType"]),
        bad("/v1/operations?createdAfter=yesterday", &["createdAfter"]),
        bad("/v1/operations?correlationId=x", &["correlationId"]),
        bad("/v1/operations?parentId=x", &["parentId"]),
        bad("/v1/operations?regardingObjectId=x", &["regardingObjectId"]),
        bad("/v1/operations?queue=No%20Queue", &["queue"]),
        bad("/v1/operations?cursor=x", &["cursor"]),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn changes_that_are_none() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    let id = client.create(&json!({"messageName": "a"})).await;
    let path = format!("/v1/operations/{id}");
    let cases: Vec<(Value, &str, &[&str])> = vec![
        (json!({}), "InvalidArgument", &["stateCode"]),
        (json!({"stateCode": 7}), "InvalidArgument", &["stateCode"]),
        (
            json!({"stateCode": "Ready"}),
            "InvalidArgument",
            &["stateCode"],
        ),
        (
            json!({"statusCode": 11}),
            "InvalidArgument",
            &["statusCode"],
        ),
        (
            json!({"postponeUntil": "soon"}),
            "InvalidArgument",
            &["postponeUntil"],
        ),
        (
            json!({"postponeUntil": null}),
            "InvalidArgument",
            &["postponeUntil"],
        ),
        (
            json!({"stateCode": 3, "statusCode": 10}),
            "InvalidArgument",
            &["statusCode"],
        ),
        (
            json!({"stateCode": 3, "postponeUntil": "2027-01-01T00:00:00Z"}),
            "InvalidArgument",
            &["postponeUntil"],
        ),
        (
            json!({"stateCode": 3, "colour": 1}),
            "InvalidArgument",
            &["colour"],
        ),
        (json!({"name": "other"}), "AttributeIsReadOnly", &["name"]),
        (
            json!({"stateCode": 3, "data": {}, "retryCount": 0, "dependencyToken": null}),
            "AttributeIsReadOnly",
            &["data", "retryCount", "dependencyToken"],
        ),
        (
            json!({"recurrencePattern": "FREQ=DAILY;"}),
            "CannotUpdateNonrecurring",
            &["recurrencePattern"],
        ),
    ];
    for (body, name, attributes) in cases {
        let case = Case {
            ask: ("PATCH", &path),
            body: Body::Json(body),
            status: 422,
            name,
            attributes,
        };
        check(&client, case).await;
    }
    for (action, body, attribute) in [
        ("postpone", json!({}), "postponeUntil"),
        ("postpone", json!({"until": 1}), "until"),
        ("cancel", json!({"why": "x"}), "why"),
    ] {
        let case = Case {
            ask: ("POST", &format!("{path}/{action}")),
            body: Body::Json(body),
            status: 422,
            name: "InvalidArgument",
            attributes: &[attribute],
        };
        check(&client, case).await;
    }
    for headers in [&[][..], &[("content-type", "application/json")]] {
        let path = format!("{path}/postpone");
        let answer = client.send("POST", &path, headers, "").await;
        assert_eq!(answer.status.as_u16(), 422, "{answer:?}");
        assert_eq!(answer.json["detail"], json!("postponeUntil is required"));
    }
    assert_eq!(client.status(id).await, "WaitingForResources");
}

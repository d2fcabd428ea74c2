//! Every way to ask wrongly, and its answer.
//!
//! Cases are data; [`check`] asserts the common part of every error: a problem
//! document whose members agree with the status and with its page.

mod addresses;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::{backend, manager};

/// A request and the error that it gets.
struct Case<'a> {
    ask: (&'a str, &'a str),
    body: Body<'a>,
    status: u16,
    name: &'a str,
    /// The attributes that are named, exactly these.
    attributes: &'a [&'a str],
}

/// The body of the request.
enum Body<'a> {
    None,
    Json(Value),
    Text(&'a str),
    Typed(&'a str, &'a str),
}

async fn check(client: &Client, case: Case<'_>) -> Answer {
    let (method, path) = case.ask;
    let json = ("content-type", "application/json");
    let answer = match &case.body {
        Body::None => client.send(method, path, &[], "").await,
        Body::Json(value) => client.send(method, path, &[json], value.to_string()).await,
        Body::Text(text) => client.send(method, path, &[json], (*text).to_owned()).await,
        Body::Typed(media, text) => {
            let media = ("content-type", *media);
            client
                .send(method, path, &[media], (*text).to_owned())
                .await
        }
    };
    let about = format!("{method} {path}: {answer:?}");
    assert_eq!(answer.status.as_u16(), case.status, "{about}");
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{about}"
    );
    let member = |name: &str| answer.json.get(name).cloned().unwrap_or_default();
    assert_eq!(member("status"), json!(case.status), "{about}");
    assert_eq!(member("name"), json!(case.name), "{about}");
    assert_eq!(member("instance"), json!(path.split('?').next()), "{about}");
    assert_eq!(
        member("type"),
        json!(format!("/docs/errors/{}.md", case.name)),
        "{about}"
    );
    for name in ["title", "detail", "code"] {
        assert!(
            member(name).as_str().is_some_and(|text| !text.is_empty()),
            "{name}: {about}"
        );
    }
    let page = client.get(&format!("/docs/errors/{}.md", case.name)).await;
    assert!(
        page.text.contains(member("code").as_str().unwrap_or("?")),
        "{about}"
    );
    let mut named: Vec<String> = member("attributes")
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|attribute| Some(attribute.get("name")?.as_str()?.to_owned()))
        .collect();
    let mut expected: Vec<String> = case.attributes.iter().map(ToString::to_string).collect();
    named.sort_unstable();
    expected.sort_unstable();
    assert_eq!(named, expected, "{about}");
    answer
}

const CREATE: (&str, &str) = ("POST", "/v1/operations");

fn refused(body: Value, attributes: &'static [&'static str]) -> Case<'static> {
    Case {
        ask: CREATE,
        body: Body::Json(body),
        status: 422,
        name: "InvalidArgument",
        attributes,
    }
}

async fn check_all(cases: Vec<Case<'_>>) {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    for case in cases {
        check(&client, case).await;
    }
    let left = client.get("/v1/operations").await;
    assert_eq!(left.json, json!({"operations": [], "nextCursor": null}));
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_not_json_objects() {
    let bad = |body, status, name| Case {
        ask: CREATE,
        body,
        status,
        name,
        attributes: &[],
    };
    let whole = |text| Case {
        attributes: &["body"],
        ..bad(Body::Text(text), 422, "InvalidArgument")
    };
    let good = r#"{"messageName":"a"}"#;
    check_all(vec![
        bad(Body::Text(""), 400, "MalformedJson"),
        bad(Body::Text("{"), 400, "MalformedJson"),
        bad(Body::Text("{'messageName':'a'}"), 400, "MalformedJson"),
        bad(
            Body::Text(r#"{"messageName":"a"} {}"#),
            400,
            "MalformedJson",
        ),
        bad(Body::Text(r#"{"messageName":"a",}"#), 400, "MalformedJson"),
        whole("[]"),
        whole("null"),
        whole("\"text\""),
        bad(Body::None, 415, "MalformedJson"),
        bad(Body::Typed("text/plain", good), 415, "MalformedJson"),
        bad(
            Body::Typed("application/x-www-form-urlencoded", good),
            415,
            "MalformedJson",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_packed_or_marked() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    let json = ("content-type", "application/json");
    let plain = br#"{"messageName":"a"}"#;
    let with = |mark: &[u8]| [mark, plain].concat();
    let cases = [
        (
            Some("gzip"),
            plain.to_vec(),
            415,
            "\"gzip\" is not understood",
        ),
        (Some("identity, br"), plain.to_vec(), 415, "send it plain"),
        (None, with(b"\xef\xbb\xbf"), 400, "byte order mark (BOM)"),
        (None, with(b"\xff\xfe"), 400, "UTF-16"),
        (None, with(b"\x1f\x8b"), 400, "gzip"),
    ];
    for (encoding, body, status, says) in cases {
        let encoding = encoding.map(|encoding| ("content-encoding", encoding));
        let headers: Vec<_> = [Some(json), encoding].into_iter().flatten().collect();
        let answer = client.send("POST", "/v1/operations", &headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        assert_eq!(answer.json["name"], "MalformedJson", "{answer:?}");
        let detail = answer.json["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(says), "{detail}");
    }
    let headers = [json, ("content-encoding", "identity")];
    let answer = client.send("POST", "/v1/operations", &headers, plain.to_vec());
    assert_eq!(answer.await.status, StatusCode::CREATED);
}

#[tokio::test(start_paused = true)]
async fn headers_and_parameters_that_are_given_twice() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    let json = ("content-type", "application/json");
    let body = r#"{"messageName":"a"}"#;
    for name in [
        "idempotency-key",
        "drumline-organization",
        "drumline-caller",
        "content-type",
    ] {
        let mut headers = vec![json];
        headers.extend([(name, "application/json"); 2]);
        let answer = client.send("POST", "/v1/operations", &headers, body).await;
        assert_eq!(answer.status.as_u16(), 422, "{name}: {answer:?}");
        let named = answer.json["attributes"][0]["name"].as_str();
        assert!(
            named.is_some_and(|named| named.eq_ignore_ascii_case(name)),
            "{answer:?}"
        );
    }
    let headers = [("last-event-id", "0"); 2];
    let answer = client.send("GET", "/v1/events", &headers, "").await;
    assert_eq!(answer.status.as_u16(), 422, "{answer:?}");
    let id = "01a1f9dc-5cfa-7000-80ef-5fc7104f4284";
    for path in [
        "/v1/operations?status=Failed&status=Succeeded".to_owned(),
        "/v1/operations?limit=1&limit=1".to_owned(),
        "/v1/events?name=a&name=b".to_owned(),
        format!("/v1/operations/{id}?wait=1s&wait=2s"),
    ] {
        let answer = client.get(&path).await;
        assert_eq!(answer.status.as_u16(), 422, "{path}: {answer:?}");
        assert_eq!(
            answer.json["attributes"][0]["detail"], "is given twice",
            "{path}"
        );
    }
    let left = client.get("/v1/operations").await;
    assert_eq!(left.json["operations"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn bodies_over_the_limit() {
    let large = json!({"messageName": "a", "data": "x".repeat(1 << 20)});
    check_all(vec![Case {
        ask: CREATE,
        body: Body::Json(large),
        status: 413,
        name: "RequestTooLarge",
        attributes: &[],
    }])
    .await;
}

#[tokio::test(start_paused = true)]
async fn attributes_of_a_create() {
    let with = |name: &str, value: Value| {
        let mut body = json!({"messageName": "a"});
        body[name] = value;
        body
    };
    let long = |length: usize| json!("ü".repeat(length));
    check_all(vec![
        refused(json!({}), &["messageName"]),
        refused(json!({"messageName": null}), &["messageName"]),
        refused(json!({"messageName": ""}), &["messageName"]),
        refused(json!({"messageName": 7}), &["messageName"]),
        refused(json!({"messageName": "ü".repeat(161)}), &["messageName"]),
        refused(with("name", long(257)), &["name"]),
        refused(with("name", json!(["a"])), &["name"]),
        refused(with("dependencyToken", long(257)), &["dependencyToken"]),
        refused(with("dependencyToken", json!(1)), &["dependencyToken"]),
        refused(with("primaryEntityType", long(257)), &["primaryEntityType"]),
        refused(with("operationType", json!("54")), &["operationType"]),
        refused(with("operationType", json!(-1)), &["operationType"]),
        refused(with("operationType", json!(1.5)), &["operationType"]),
        refused(with("operationType", json!(4_294_967_296_u64)), &["operationType"]),
        refused(with("queue", json!("Upper")), &["queue"]),
        refused(with("queue", json!("")), &["queue"]),
        refused(with("queue", json!("a".repeat(65))), &["queue"]),
        refused(with("postponeUntil", json!("tomorrow")), &["postponeUntil"]),
        refused(with("postponeUntil", json!(1_795_000_000)), &["postponeUntil"]),
        refused(with("correlationId", json!("4711")), &["correlationId"]),
        refused(with("requestId", json!({})), &["requestId"]),
        refused(with("parentId", json!("x")), &["parentId"]),
        refused(with("regardingObjectId", json!(true)), &["regardingObjectId"]),
        refused(with("retainJobHistory", json!("yes")), &["retainJobHistory"]),
        refused(with("atMostOnce", json!(1)), &["atMostOnce"]),
        refused(with("recurrencePattern", json!("FREQ=OFTEN;")), &["recurrencePattern"]),
        refused(with("recurrenceStartTime", json!("2027-01-01T00:00:00Z")), &["recurrenceStartTime"]),
        refused(with("retryPolicy", json!(3)), &["retryPolicy"]),
        refused(
            with("retryPolicy", json!({"maxRetries": -1, "jitterPercent": 101, "exhausted": "explode", "colour": 1})),
            &["retryPolicy.maxRetries", "retryPolicy.jitterPercent", "retryPolicy.exhausted", "retryPolicy.colour"],
        ),
        refused(with("colour", json!("red")), &["colour"]),
        refused(with("MessageName", json!("red")), &["MessageName"]),
        refused(with("stateCode", json!(3)), &["stateCode"]),
        refused(with("id", json!("x")), &["id"]),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn everything_that_is_wrong_is_named_at_once() {
    check_all(vec![
        refused(
            json!({"name": 1, "operationType": "x", "queue": "Ü", "data": null, "depth": 2, "colour": 1}),
            &["messageName", "name", "operationType", "queue", "depth", "colour"],
        ),
        Case {
            body: Body::Text(r#"{"messageName":"a","name":"b","name":"c"}"#),
            ..refused(json!({}), &["name"])
        },
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_unknown_attributes_are_refused_briefly() {
    let members: Vec<String> = (0..100_000).map(|n| format!(r#""{n}":0"#)).collect();
    let body = format!("{{{}}}", members.join(","));
    let manager = manager(&backend());
    let json = [("content-type", "application/json")];
    let client = Client::of(&manager);
    let answer = client.send("POST", "/v1/operations", &json, body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.len() < 10_000, "{}", answer.text.len());
}

#[tokio::test(start_paused = true)]
async fn bulk_operations_with_a_token() {
    let bulk =
        |kind: u32| json!({"messageName": "a", "operationType": kind, "dependencyToken": "t"});
    let cases = [2, 3, 4, 5, 13, 17, 23].map(|kind| refused(bulk(kind), &["dependencyToken"]));
    check_all(cases.into()).await;
}

#[tokio::test(start_paused = true)]
async fn payloads_that_others_could_not_read() {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let deep = format!(r#"{{"messageName":"a","data":{deep}}}"#);
    let payload = |text| Case {
        body: Body::Text(text),
        ..refused(json!({}), &["data"])
    };
    check_all(vec![
        payload(&deep),
        payload(r#"{"messageName":"a","data":"\ud800"}"#),
        payload(r#"{"messageName":"a","data":1e999}"#),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_none() {
    let manager = manager(&backend());
    let client = Client::of(&manager);
    let long = "k".repeat(256);
    for key in ["", long.as_str()] {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        let body = r#"{"messageName":"a"}"#;
        let answer = client.send("POST", "/v1/operations", &headers, body).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{answer:?}"
        );
        assert_eq!(
            answer.json["attributes"][0]["name"],
            json!("Idempotency-Key")
        );
    }
}

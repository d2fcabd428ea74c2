//! The requests of the table: one function for each group.

use drumline_api::wire;
use drumline_backend::intake::Envelope;
use drumline_protocol::codec;
use drumline_queue_manager::{Actor, QueueManager};
use serde_json::{Value, json};

use super::Table;

const BINCODE: &str = "application/x-drumline-bincode";
/// The id of no operation.
const MISSING: &str = "01890a5d-ac96-7000-81d0-000000000000";

/// A JSON request of a kind, with an address for the answer and no id.
fn json_of(kind: &str) -> Envelope {
    Envelope {
        kind: kind.to_owned(),
        content_type: Some("application/json".to_owned()),
        reply_to: Some("answers".to_owned()),
        ..Envelope::default()
    }
}

fn of_type(kind: &str, content_type: Option<&str>) -> Envelope {
    Envelope {
        content_type: content_type.map(str::to_owned),
        ..json_of(kind)
    }
}

fn with(kind: &str, headers: &[(&str, &str)]) -> Envelope {
    let headers = headers.iter();
    let headers = headers.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Envelope {
        headers: headers.collect(),
        ..json_of(kind)
    }
}

fn named(kind: &str, message_id: &str) -> Envelope {
    Envelope {
        message_id: Some(message_id.to_owned()),
        ..json_of(kind)
    }
}

fn request(name: &str, parameters: &Value) -> String {
    json!({"requestName": name, "parameters": parameters}).to_string()
}

fn create(message_name: &str) -> Value {
    json!({"requestName": "Create", "parameters": {"target": {"messageName": message_name}}})
}

fn bincode(request: &wire::Request) -> Vec<u8> {
    codec::encode(request).expect("it can be written")
}

fn bincode_create(attributes: wire::Attributes, data: Option<&str>) -> Vec<u8> {
    let data = data.map(str::to_owned);
    bincode(&wire::Request::Create(Box::new(wire::Create {
        attributes,
        data,
    })))
}

fn echo() -> wire::Attributes {
    wire::Attributes {
        message_name: "Echo".to_owned(),
        ..wire::Attributes::default()
    }
}

const GOOD: &str = r#"{"messageName":"Echo"}"#;

pub(super) async fn messages_that_are_no_request(table: &mut Table) {
    let packed = Envelope {
        content_encoding: Some("gzip".to_owned()),
        ..json_of("create")
    };
    table.case("packed", packed, GOOD).await;
    table.case("unknown kind", json_of("delete"), "{}").await;
    let headers = [
        ("Drumline-Organization", "a\nb"),
        ("Drumline-Caller", "a\u{7f}"),
        ("Idempotency-Key", "\u{1}"),
        ("traceparent", "\r"),
        ("tracestate", "\0"),
        ("anything", "\0"),
    ];
    let all = with("create", &headers);
    table
        .case("headers with control characters", all, GOOD)
        .await;
    let bincode = || of_type("", Some(BINCODE));
    table.case("empty bincode", bincode(), "").await;
    table
        .case("broken bincode", bincode(), "\u{51}garbage")
        .await;
    let bad_data = bincode_create(echo(), Some("{"));
    table.case("bincode, data", bincode(), bad_data).await;
    let large = vec![b'x'; (16 << 20) + 1];
    table.case("large bincode", bincode(), large).await;
    let strange = of_type("delete", Some(BINCODE));
    let good = bincode_create(echo(), None);
    table
        .case("bincode has a kind of its own", strange, good)
        .await;
}

pub(super) async fn creates(table: &mut Table) {
    for (name, payload) in [
        ("create: not JSON", "not JSON"),
        ("create: empty", ""),
        ("create: a list", "[]"),
        ("create: nothing in it", "{}"),
        (
            "create: many faults",
            r#"{"messageName":"","name":7,"stateCode":0,"surprise":1,"queue":"Ü","tokenPolicy":"x","name":"again"}"#,
        ),
        (
            "create: unreadable data",
            r#"{"messageName":"a","data":1e999}"#,
        ),
        (
            "create: never due",
            r#"{"messageName":"a","recurrencePattern":"FREQ=DAILY;COUNT=1","recurrenceStartTime":"2000-01-01T00:00:00Z"}"#,
        ),
        (
            "create: webhook",
            r#"{"messageName":"a","webhookUrl":"ftp://example.org"}"#,
        ),
    ] {
        table.case(name, json_of("create"), payload).await;
    }
    let large = format!("{{\"messageName\":\"{}\"}}", "x".repeat(1 << 20));
    table.case("create: large", json_of("create"), large).await;
    for (name, content_type) in [
        ("create: no content type", None),
        ("create: empty content type", Some("")),
        ("create: text", Some("text/plain")),
        ("create: strange content type", Some("application/jsön")),
        ("create: broken content type", Some("text/\u{1}")),
        (
            "create: JSON of a kind",
            Some("application/vnd.x+json; charset=utf-8"),
        ),
    ] {
        let envelope = of_type("create", content_type);
        table.case(name, envelope, GOOD).await;
    }
}

pub(super) async fn creates_in_bincode(table: &mut Table) {
    let bincode = || of_type("create", Some(BINCODE));
    let faulty = wire::Attributes {
        message_name: "x".repeat(161),
        name: Some("x".repeat(257)),
        operation_type: Some(2),
        dependency_token: Some("x".repeat(257)),
        token_policy: Some("drop".to_owned()),
        queue: Some("Ü".to_owned()),
        recurrence_pattern: Some("never".to_owned()),
        primary_entity_type: Some("x".repeat(257)),
        webhook_url: Some("nowhere".to_owned()),
        retry_policy: Some(wire::Retry {
            jitter_percent: Some(101),
            exhausted: Some("panic".to_owned()),
            ..wire::Retry::default()
        }),
        ..wire::Attributes::default()
    };
    let faulty = bincode_create(faulty, Some("1e999"));
    table.case("bincode: many faults", bincode(), faulty).await;
    let nameless = bincode_create(wire::Attributes::default(), None);
    table.case("bincode: no name", bincode(), nameless).await;
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let large = bincode_create(echo(), Some(&large));
    table.case("bincode: large", bincode(), large).await;
    let good = bincode_create(echo(), Some(" [1.0,  2] "));
    table.case("bincode: good", bincode(), good).await;
    let retrieve = wire::Request::Execute(request("Retrieve", &json!({"id": MISSING})));
    let retrieve = self::bincode(&retrieve);
    table.case("bincode: an execute", bincode(), retrieve).await;
    let garbage = self::bincode(&wire::Request::Execute("garbage".to_owned()));
    table.case("bincode: no execute", bincode(), garbage).await;
}

pub(super) async fn headers(table: &mut Table) {
    let long = "x".repeat(257);
    for kind in ["create", "execute"] {
        for (name, headers) in [
            (
                "empty names",
                &[("Drumline-Organization", ""), ("drumline-caller", "")][..],
            ),
            (
                "long names",
                &[
                    ("Drumline-Organization", long.as_str()),
                    ("Drumline-Caller", &long),
                ],
            ),
            (
                "names beyond ASCII",
                &[("Drumline-Organization", "ü"), ("Drumline-Caller", "a\tb")],
            ),
            ("an empty key", &[("Idempotency-Key", "")]),
            ("a key beyond ASCII", &[("Idempotency-Key", "ü")]),
            ("a long key", &[("idempotency-key", &long)]),
            (
                "a strange trace",
                &[("traceparent", "ü"), ("tracestate", "x")],
            ),
        ] {
            let name = format!("{kind}: {name}");
            let payload = match kind {
                "create" => GOOD.to_owned(),
                _ => create("Echo").to_string(),
            };
            table.case(&name, with(kind, headers), payload).await;
        }
    }
    let both = with("create", &[("Drumline-Caller", ""), ("content-type", "x")]);
    table
        .case(
            "create: the caller is read before the body",
            both,
            "garbage",
        )
        .await;
    let both = Envelope {
        content_type: Some("text/plain".to_owned()),
        ..with("execute", &[("Idempotency-Key", "ü")])
    };
    table
        .case("execute: the key is read before the body", both, "garbage")
        .await;
}

pub(super) async fn keys(table: &mut Table) {
    let first = named("create", "m1");
    table.case("key: first", first.clone(), GOOD).await;
    table.case("key: again", first.clone(), GOOD).await;
    let other = r#"{"messageName":"Other"}"#;
    table.case("key: other content", first, other).await;
    let item = create("Item");
    let items = json!({"requests": [item, item], "settings": {"returnResponses": true}});
    let items = request("ExecuteMultiple", &items);
    let batch = named("execute", "m2");
    table
        .case("key: a batch", batch.clone(), items.clone())
        .await;
    table.case("key: a batch again", batch, items).await;
    let key = with("execute", &[("Idempotency-Key", "k")]);
    let changed = request(
        "Update",
        &json!({"target": {"id": MISSING, "stateCode": 1}}),
    );
    table.case("key: of no create", key.clone(), changed).await;
    let mut other = create("a");
    other["parameters"]["idempotencyKey"] = json!("other");
    table
        .case("key: two keys", key.clone(), other.to_string())
        .await;
    table
        .case("key: execute", key.clone(), create("a").to_string())
        .await;
    table
        .case("key: execute again", key, create("a").to_string())
        .await;
}

pub(super) async fn executes(table: &mut Table) {
    let execute = || json_of("execute");
    for (name, payload) in [
        ("execute: not JSON", "not JSON".to_owned()),
        ("execute: empty", String::new()),
        ("execute: nothing in it", "{}".to_owned()),
        ("execute: unknown name", request("Explode", &json!({}))),
        ("execute: no id", request("Retrieve", &json!({}))),
        ("execute: a fault inside", {
            request("Create", &json!({"target": {"messageName": ""}, "more": 1}))
        }),
        (
            "execute: no such operation",
            request("Delete", &json!({"id": MISSING})),
        ),
        ("execute: later", {
            let later = json!({"request": {"requestName": "ImportSolution", "parameters": {}}});
            request("ExecuteAsync", &later)
        }),
        ("execute: not later", {
            request("ExecuteAsync", &json!({"request": {"requestName": "x"}}))
        }),
        ("execute: a large batch", {
            request("ExecuteMultiple", &json!({"requests": vec![1; 1001]}))
        }),
        ("execute: a batch of faults", {
            let items = json!([{}, create(""), 7, {"requestName": "Delete", "parameters": {"id": MISSING}}]);
            let settings = json!({"continueOnError": true});
            request(
                "ExecuteMultiple",
                &json!({"requests": items, "settings": settings}),
            )
        }),
        ("execute: an unreadable transaction", {
            request(
                "ExecuteTransaction",
                &json!({"requests": [create("a"), create("")]}),
            )
        }),
        ("execute: a transaction fails", {
            let delete = json!({"requestName": "Delete", "parameters": {"id": MISSING}});
            request(
                "ExecuteTransaction",
                &json!({"requests": [create("a"), delete]}),
            )
        }),
    ] {
        table.case(name, execute(), payload).await;
    }
    let large = vec![b' '; (16 << 20) + 1];
    table.case("execute: large", execute(), large).await;
    let text = of_type("execute", Some("text/plain"));
    table.case("execute: text", text, "{}").await;
    let none = of_type("execute", None);
    table.case("execute: no content type", none, "{}").await;
    let created = create("Echo").to_string();
    let created = table.case("execute: created", execute(), created).await;
    let created: Value = serde_json::from_slice(&created.payload).expect("JSON");
    let id = &created["results"]["id"];
    let delete = request("Delete", &json!({"id": id}));
    table
        .case("execute: not Completed", execute(), delete)
        .await;
    let cancel = request("Update", &json!({"target": {"id": id, "stateCode": 3}}));
    table
        .case("execute: nothing to answer", execute(), cancel)
        .await;
}

pub(super) async fn limits(table: &mut Table, manager: &QueueManager) {
    let mut passes = Vec::new();
    for _ in 0..2 {
        let pass = manager.admit_batch(&Actor::default()).await;
        passes.push(pass.expect("there is room"));
    }
    let batch = request("ExecuteMultiple", &json!({"requests": []}));
    table
        .case("limits: batches", json_of("execute"), batch)
        .await;
    drop(passes);
}

pub(super) async fn callers(table: &mut Table) {
    let ada = |kind| with(kind, &[("Drumline-Caller", "ada")]);
    table.case("limits: the first", ada("create"), GOOD).await;
    table
        .case("limits: the second", ada("create"), "garbage")
        .await;
    table
        .case("limits: an execute", ada("execute"), "garbage")
        .await;
}

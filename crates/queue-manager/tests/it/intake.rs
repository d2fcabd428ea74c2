//! Requests over AMQP: done in their order, once, answered or quarantined, and
//! never lost.

mod outages;
mod replies;

use std::sync::Arc;

use drumline_api::wire;
use drumline_backend::Backend;
use drumline_backend::intake::{Envelope, Reply};
use drumline_backend::store::Filter;
use drumline_protocol::{Operation, codec};
use drumline_queue_manager::{AmqpIngress, QueueManager};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::post::Post;
use crate::support::{backend, manager, until};

const JSON: &str = "application/json";

/// A JSON request with an address for the answer, and a number for both ids.
fn envelope(kind: &str, number: u32) -> Envelope {
    Envelope {
        kind: kind.to_owned(),
        content_type: Some(JSON.to_owned()),
        reply_to: Some("answers".to_owned()),
        correlation_id: Some(format!("c{number}")),
        message_id: Some(format!("m{number}")),
        ..Envelope::default()
    }
}

/// A post office, and a manager that works for it.
struct Scene {
    post: Post,
    manager: QueueManager,
    reception: AmqpIngress,
}

impl Scene {
    fn over(backend: &Backend) -> Self {
        let (post, manager) = (Post::default(), manager(backend));
        let reception = AmqpIngress::start(&manager, Arc::new(post.clone()));
        Self {
            post,
            manager,
            reception,
        }
    }

    fn create(&self, number: u32, body: &Value) {
        let envelope = envelope("create", number);
        self.post.publish(envelope, body.to_string());
    }

    /// Waits until nothing is left to do.
    async fn done(&self) {
        until("all requests are done", async || self.post.waiting() == 0).await;
    }

    fn metrics(&self) -> String {
        self.manager.metrics().text()
    }
}

fn body(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.payload).expect("answers are JSON")
}

/// The answer to a number.
fn reply(post: &Post, number: u32) -> Reply {
    let id = format!("c{number}");
    let replies = post.replies().into_iter();
    let mut replies = replies.filter(|reply| reply.correlation_id.as_ref() == Some(&id));
    replies.next().expect("it is answered")
}

/// All operations, in the order in which they were created.
async fn created(backend: &Backend) -> Vec<Operation> {
    let store = &backend.store;
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.list(&Filter::default(), cursor, 500).await;
        let page = page.expect("the store is there");
        all.extend(page.operations);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    all.sort_by_key(|operation| operation.sequence);
    all
}

#[tokio::test(start_paused = true)]
async fn a_create_is_answered_as_http_would_answer_it() {
    let backend = backend();
    let scene = Scene::over(&backend);
    scene.create(1, &json!({"messageName": "Echo", "data": {"x": 1}}));
    scene.done().await;
    let reply = reply(&scene.post, 1);
    assert_eq!((reply.to.as_str(), reply.status), ("answers", 201));
    assert_eq!(reply.content_type, JSON);
    let id = body(&reply)["id"].as_str().expect("an id").to_owned();
    let over_http = Client::of(&scene.manager);
    let over_http = over_http.get(&format!("/v1/operations/{id}")).await;
    assert_eq!(body(&reply), over_http.json);
    let metrics = scene.metrics();
    for line in [
        "drumline_intake_received_total 1",
        "drumline_intake_answered_total{status=\"201\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test(start_paused = true)]
async fn bincode_says_the_same_as_json() {
    let backend = backend();
    let scene = Scene::over(&backend);
    let mut create = wire::Create::default();
    create.attributes.message_name = "Echo".to_owned();
    create.attributes.name = Some("from Rust".to_owned());
    create.data = Some("[1,2]".to_owned());
    let request = wire::Request::Create(Box::new(create));
    let envelope = Envelope {
        content_type: Some("application/x-drumline-bincode".to_owned()),
        ..envelope("", 1)
    };
    let payload = codec::encode(&request).expect("it can be written");
    scene.post.publish(envelope, payload);
    scene.done().await;
    let answer = body(&reply(&scene.post, 1));
    assert_eq!(answer["name"], "from Rust");
    assert_eq!(answer["data"], json!([1, 2]));
}

#[tokio::test(start_paused = true)]
async fn each_token_keeps_the_order_of_publishing() {
    let backend = backend();
    let scene = Scene::over(&backend);
    for number in 0..300 {
        let token = format!("t{}", number % 3);
        let name = number.to_string();
        let body = json!({"messageName": "a", "name": name, "dependencyToken": token});
        scene.create(number, &body);
    }
    scene.done().await;
    let created = created(&backend).await;
    assert_eq!(created.len(), 300);
    for token in 0..3 {
        let numbers = created.iter().map(|operation| &operation.body.name);
        let numbers = numbers.map(|name| name.parse::<u32>().expect("a number"));
        let numbers: Vec<u32> = numbers.filter(|number| number % 3 == token).collect();
        assert!(numbers.is_sorted(), "t{token}: {numbers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn asynchronous_requests_keep_the_order_of_publishing() {
    let backend = backend();
    let scene = Scene::over(&backend);
    for number in 0..50 {
        let body = json!({"messageName": "ImportSolution", "name": number.to_string()});
        scene.create(number, &body);
    }
    scene.done().await;
    let created = created(&backend).await;
    let numbers = created.iter().map(|operation| &operation.body.name);
    let numbers: Vec<u32> = numbers
        .map(|name| name.parse().expect("a number"))
        .collect();
    assert_eq!(numbers.len(), 50);
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[tokio::test(start_paused = true)]
async fn an_execute_finds_what_was_published_before_it() {
    let backend = backend();
    let scene = Scene::over(&backend);
    for number in 0..20 {
        scene.create(number, &json!({"messageName": "a", "name": "before"}));
    }
    let list =
        json!({"requestName": "RetrieveMultiple", "parameters": {"filter": {"name": "before"}}});
    let execute = envelope("execute", 100);
    scene.post.publish(execute, list.to_string());
    scene.create(101, &json!({"messageName": "a", "name": "before"}));
    scene.done().await;
    let reply = reply(&scene.post, 100);
    assert_eq!(reply.status, 200);
    let answer = body(&reply);
    let found = answer["results"]["operations"].as_array().map(Vec::len);
    assert_eq!(found, Some(20), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_again_creates_nothing_twice() {
    let backend = backend();
    let scene = Scene::over(&backend);
    let create = json!({"messageName": "a"});
    let batch = json!({"requestName": "ExecuteMultiple", "parameters": {}});
    let mut batch = batch;
    let item = json!({"requestName": "Create", "parameters": {"target": {"messageName": "a"}}});
    batch["parameters"]["requests"] = json!([item, item]);
    batch["parameters"]["settings"] = json!({"returnResponses": true});
    for _ in 0..3 {
        scene.create(1, &create);
        let execute = envelope("execute", 2);
        scene.post.publish(execute, batch.to_string());
        // It may be answered and not acknowledged when the connection goes.
        scene.done().await;
        scene.post.cut();
    }
    assert_eq!(created(&backend).await.len(), 3);
    let replies = scene.post.replies();
    let statuses: Vec<u16> = replies
        .iter()
        .filter(|reply| reply.correlation_id.as_deref() == Some("c1"))
        .map(|reply| reply.status)
        .collect();
    assert_eq!(statuses, [201, 200, 200]);
    let batches: Vec<Value> = replies
        .iter()
        .filter(|reply| reply.correlation_id.as_deref() == Some("c2"))
        .map(body)
        .collect();
    let ids = |batch: &Value| -> Vec<Value> {
        let responses = batch["results"]["responses"].as_array();
        let responses = responses.expect("a list").iter();
        let ids = responses.map(|one| one["response"]["results"]["id"].clone());
        ids.collect()
    };
    assert_eq!(ids(&batches[0]).len(), 2);
    assert!(batches.iter().all(|batch| ids(batch) == ids(&batches[0])));
    assert_eq!(batches[0]["results"]["isFaulted"], json!(false));
}

#[tokio::test(start_paused = true)]
async fn the_same_message_id_with_other_content_is_told_and_put_aside() {
    let backend = backend();
    let scene = Scene::over(&backend);
    scene.create(1, &json!({"messageName": "a"}));
    scene.done().await;
    scene.create(1, &json!({"messageName": "b"}));
    scene.done().await;
    let last = scene.post.replies().pop().expect("an answer");
    assert_eq!(last.status, 422);
    assert_eq!(body(&last)["name"], "IdempotencyKeyReused");
    assert_eq!(scene.post.refused().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_answered_and_put_aside_with_the_reason() {
    let backend = backend();
    let scene = Scene::over(&backend);
    let large = format!("{{\"messageName\":\"{}\"}}", "x".repeat(2 << 20));
    let other = |content_type: Option<&str>| Envelope {
        content_type: content_type.map(str::to_owned),
        ..envelope("create", 1)
    };
    let cases: Vec<(Envelope, Vec<u8>, u16, &str)> = vec![
        (
            envelope("create", 1),
            b"not JSON".into(),
            400,
            "MalformedJson",
        ),
        (
            envelope("create", 1),
            br#"{"messageName":"a","surprise":1}"#.into(),
            422,
            "InvalidArgument",
        ),
        (envelope("create", 1), large.into(), 413, "RequestTooLarge"),
        (
            other(Some("text/plain")),
            b"{}".into(),
            415,
            "MalformedJson",
        ),
        (other(None), b"{}".into(), 415, "MalformedJson"),
        (
            other(Some("application/x-drumline-bincode")),
            b"\x51garbage".into(),
            400,
            "MalformedJson",
        ),
        (envelope("delete", 1), b"{}".into(), 404, "NoSuchResource"),
        (envelope("execute", 1), b"{}".into(), 422, "InvalidArgument"),
    ];
    for (number, (envelope, payload, status, name)) in cases.into_iter().enumerate() {
        let (kind, bytes) = (envelope.kind.clone(), payload.len());
        scene.post.publish(envelope, payload.clone());
        scene.done().await;
        let reply = scene.post.replies().pop().expect("it is answered");
        let about = format!("{number}: {}", body(&reply));
        assert_eq!(reply.status, status, "{about}");
        assert_eq!(reply.content_type, "application/problem+json", "{about}");
        assert_eq!(body(&reply)["name"], name, "{about}");
        let refused = scene.post.refused();
        assert_eq!(refused.len(), number + 1, "{about}");
        let refused = &refused[number];
        assert_eq!(json!(refused.code), body(&reply)["code"], "{about}");
        assert_eq!(json!(refused.reason), body(&reply)["detail"], "{about}");
        assert_eq!((&refused.envelope.kind, refused.bytes), (&kind, bytes));
        assert_eq!(refused.payload, payload, "{about}");
    }
    assert_eq!(scene.post.opened(), 1, "nothing came again");
    assert!(created(&backend).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_answer_where_somebody_hears_it() {
    let backend = backend();
    let scene = Scene::over(&backend);
    let missing = "01890a5d-ac96-7000-81d0-000000000000";
    let delete = json!({"requestName": "Delete", "parameters": {"id": missing}}).to_string();
    scene.post.publish(envelope("execute", 1), delete.clone());
    scene.done().await;
    assert_eq!(reply(&scene.post, 1).status, 404);
    assert!(scene.post.refused().is_empty());
    let deaf = Envelope {
        reply_to: None,
        ..envelope("execute", 2)
    };
    scene.post.publish(deaf, delete);
    scene.done().await;
    assert_eq!(scene.post.replies().len(), 1);
    assert_eq!(scene.post.refused().len(), 1);
    let metrics = scene.metrics();
    let line = "drumline_intake_quarantined_total{code=\"0x80040217\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn headers_say_who_asks_and_in_which_trace() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let backend = backend();
    let _logs = tracing::subscriber::set_default(tracing_subscriber::registry());
    let scene = Scene::over(&backend);
    let mut message = envelope("create", 1);
    for (name, value) in [
        ("Drumline-Organization", "contoso"),
        ("drumline-caller", "ada"),
        ("traceparent", PARENT),
        ("x-anything", "else"),
    ] {
        message.headers.insert(name.to_owned(), value.to_owned());
    }
    scene.post.publish(message, r#"{"messageName":"a"}"#);
    scene.done().await;
    let created = created(&backend).await;
    let body = &created[0].body;
    assert_eq!(body.organization.0, "contoso");
    assert_eq!(body.owner, "ada");
    assert_eq!(body.trace.traceparent, PARENT);
}

#[tokio::test(start_paused = true)]
async fn what_a_request_creates_is_of_one_trace() {
    let backend = backend();
    let _logs = tracing::subscriber::set_default(tracing_subscriber::registry());
    let scene = Scene::over(&backend);
    let create = json!({"requestName": "Create", "parameters": {"target": {"messageName": "a"}}});
    let retrieve = json!({"requestName": "RetrieveMultiple"});
    let items = json!({"requests": [create, retrieve, create]});
    let batch = json!({"requestName": "ExecuteMultiple", "parameters": items});
    for number in 0..2 {
        let envelope = envelope("execute", number);
        scene.post.publish(envelope, batch.to_string());
    }
    scene.done().await;
    let created = created(&backend).await;
    let traces = created.iter().map(|operation| {
        let parent = &operation.body.trace.traceparent;
        parent.split('-').nth(1).expect("a trace id")
    });
    let mut traces: Vec<&str> = traces.collect();
    // The requests are handled at the same time, and their creates may be of several partitions.
    traces.sort_unstable();
    assert_eq!(traces.len(), 4);
    assert!(traces[0] == traces[1] && traces[2] == traces[3]);
    assert_ne!(traces[0], traces[2]);
}

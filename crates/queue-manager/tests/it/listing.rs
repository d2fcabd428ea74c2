//! Lists: every filter, and cursors that stay where they are.

use std::collections::BTreeSet;
use std::time::Duration;

use drumline_api::CreateOperation;
use drumline_backend::Ids;
use drumline_queue_manager::options::Limits;
use drumline_queue_manager::{Actor, Options, QueueManager};
use serde_json::json;

use crate::support::client::Client;
use crate::support::worker::Worker;
use crate::support::{backend, manager};

#[tokio::test(start_paused = true)]
async fn every_filter_selects_what_it_says() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let correlation = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    client
        .create(&json!({"name": "plain", "messageName": "a"}))
        .await;
    let done = client
        .create(&json!({"name": "done", "messageName": "a", "operationType": 203}))
        .await;
    Worker::new(&backend).run(done).await;
    let held = client
        .create(
            &json!({"name": "held", "messageName": "b", "correlationId": correlation,
            "parentId": correlation, "primaryEntityType": "account",
            "regardingObjectId": correlation, "queue": "mail"}),
        )
        .await;
    Worker::new(&backend).claim(held).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let between = backend.store.now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    client
        .create(&json!({"name": "late", "messageName": "b", "dependencyToken": "t 1+2"}))
        .await;
    client
        .create(
            &json!({"name": "waits", "messageName": "b", "dependencyToken": "t 1+2",
            "postponeUntil": "2099-01-01T00:00:00Z"}),
        )
        .await;

    let cases: Vec<(String, &[&str])> = vec![
        (String::new(), &["done", "held", "late", "plain", "waits"]),
        ("name=held".into(), &["held"]),
        ("name=nobody".into(), &[]),
        ("state=Ready".into(), &["late", "plain"]),
        ("state=0".into(), &["late", "plain"]),
        ("state=suspended".into(), &["waits"]),
        ("state=2".into(), &["held"]),
        ("state=Completed".into(), &["done"]),
        ("status=30".into(), &["done"]),
        ("status=InProgress".into(), &["held"]),
        ("status=Failed".into(), &[]),
        ("state=Ready&status=30".into(), &[]),
        ("messageName=a".into(), &["done", "plain"]),
        ("operationType=203".into(), &["done"]),
        ("dependencyToken=t%201%2B2".into(), &["late", "waits"]),
        ("dependencyToken=other".into(), &[]),
        (format!("correlationId={correlation}"), &["held"]),
        (format!("parentId={correlation}"), &["held"]),
        ("primaryEntityType=account".into(), &["held"]),
        ("primaryEntityType=contact".into(), &[]),
        (format!("regardingObjectId={correlation}"), &["held"]),
        (
            format!("regardingObjectId={correlation}&primaryEntityType=contact"),
            &[],
        ),
        ("ownerId=anonymous&messageName=a".into(), &["done", "plain"]),
        ("ownerId=anna".into(), &[]),
        ("queue=mail".into(), &["held"]),
        ("queue=default&messageName=a".into(), &["done", "plain"]),
        (format!("createdAfter={between}"), &["late", "waits"]),
        ("messageName=b&state=Ready&name=".into(), &[]),
        (
            "messageName=b&state=Ready&status=&cursor=".into(),
            &["late"],
        ),
    ];
    for (query, expected) in cases {
        let answer = client.get(&format!("/v1/operations?{query}")).await;
        let mut names = answer.names();
        names.sort_unstable();
        assert_eq!(names, expected, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn cursors_stay_where_they_are_while_operations_come_and_go() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let mut expected = Vec::new();
    for n in 0..60 {
        let name = format!("{n:03}");
        client
            .create(&json!({"messageName": "a", "name": name}))
            .await;
        expected.push(name);
    }
    expected.reverse();
    let mut seen = Vec::new();
    let mut path = "/v1/operations?limit=7".to_owned();
    loop {
        let answer = client.get(&path).await;
        assert!(answer.names().len() <= 7);
        seen.extend(answer.names().into_iter().map(str::to_owned));
        client
            .create(&json!({"messageName": "a", "name": "new"}))
            .await;
        let Some(next) = answer.json["nextCursor"].as_str() else {
            break;
        };
        path = format!("/v1/operations?limit=7&cursor={next}");
    }
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_listed_in_its_order_though_it_was_created_within_a_millisecond() {
    let manager = manager(&backend());
    let requests = (0..300).map(|n| CreateOperation {
        name: n.to_string(),
        ..CreateOperation::new("a")
    });
    let actor = Actor::default();
    let created = manager.create_many(&actor, requests.collect()).await;
    assert!(created.iter().all(Result::is_ok));
    let answer = Client::of(&manager).get("/v1/operations?limit=300").await;
    let expected: Vec<_> = (0..300).rev().map(|n| n.to_string()).collect();
    assert_eq!(answer.names(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_page_ends_early_when_its_operations_are_large() {
    let options = Options {
        limits: Limits {
            page_bytes: 10_000,
            ..Limits::default()
        },
        ..Options::default()
    };
    let manager = QueueManager::new(backend(), Ids::random(), options);
    let client = Client::of(&manager);
    let large = "x".repeat(1_000);
    let mut ids = BTreeSet::new();
    for _ in 0..200 {
        let body = json!({"messageName": "a", "data": large});
        ids.insert(client.create(&body).await.to_string());
    }
    let mut path = "/v1/operations?limit=200".to_owned();
    loop {
        let answer = client.get(&path).await;
        let listed = answer.json["operations"].as_array().expect("a list");
        assert!(listed.len() < 100, "{}", listed.len());
        for operation in listed {
            assert!(ids.remove(operation["id"].as_str().unwrap_or_default()));
        }
        let Some(next) = answer.json["nextCursor"].as_str() else {
            break;
        };
        path = format!("/v1/operations?limit=200&cursor={next}");
    }
    assert!(ids.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_listing_in_short_has_no_data() {
    let client = Client::of(&manager(&backend()));
    let body = json!({"messageName": "a", "name": "large", "data": {"text": "x"}});
    client.create(&body).await;
    for (query, data) in [
        ("", json!({"text": "x"})),
        ("?summary=false", json!({"text": "x"})),
        ("?summary=true&state=Ready", json!(null)),
    ] {
        let page = client.get(&format!("/v1/operations{query}")).await;
        assert_eq!(page.names(), ["large"], "{query}: {page:?}");
        assert_eq!(page.json["operations"][0]["data"], data, "{query}");
    }
    let wrong = client.get("/v1/operations?summary=perhaps").await;
    assert_eq!(wrong.status, 422, "{wrong:?}");
    assert_eq!(wrong.json["attributes"][0]["name"], "summary");
}

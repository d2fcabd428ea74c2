//! The changes of the operations on a page, as they happen.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use drumline_queue_manager::QueueManager;
use drumline_queue_manager::ingress::http;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::support::client::Client;
use crate::support::faulty::{Faults, faulty};
use crate::support::worker::Worker;
use crate::support::{backend, manager};

/// A browser that looks at a page.
struct Looker {
    stream: BodyDataStream,
    text: String,
}

impl Looker {
    async fn at(manager: &QueueManager, query: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = Request::builder().uri(format!("/live?{query}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let answered = http::router(manager.clone()).oneshot(request).await;
        let response = answered.unwrap_or_else(|never| match never {});
        assert_eq!(response.status(), StatusCode::OK, "{response:?}");
        let media = response.headers()["content-type"].to_str();
        assert_eq!(media.expect("text"), "text/event-stream");
        Self {
            stream: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }

    /// The next event: its name and its data. Signs of life are passed over.
    async fn next(&mut self) -> Option<(String, String)> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = block.lines();
                    let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    found.unwrap_or_default().to_owned()
                };
                let event = (field("event"), field("data"));
                self.text = rest.to_owned();
                if !matches!(event.0.as_str(), "" | "alive") {
                    return Some(event);
                }
            }
            let frame = self.stream.next().await?.expect("an open stream");
            self.text
                .push_str(std::str::from_utf8(&frame).expect("UTF-8"));
        }
    }

    async fn soon(&mut self) -> (String, String) {
        let next = timeout(Duration::from_secs(5), self.next()).await;
        next.expect("an event").expect("an open stream")
    }

    async fn nothing(&mut self) {
        let next = timeout(Duration::from_secs(60), self.next()).await;
        assert!(next.is_err(), "{next:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_is_told_what_has_changed_and_what_is_new() {
    let backend = backend();
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let first = client.create(&json!({"messageName": "a"})).await;
    let second = client.create(&json!({"messageName": "a"})).await;
    let query = format!("rows={first}.1,{second}.1&newest={second}&messageName=a");
    let mut page = Looker::at(&manager, &query, &[]).await;
    page.nothing().await;

    let worker = Worker::new(&backend);
    let fence = worker.claim(first).await;
    let (name, data) = page.soon().await;
    assert_eq!(name, "row");
    let row: Value = serde_json::from_str(&data).unwrap();
    assert_eq!(row["id"], json!(first.to_string()));
    assert_eq!(row["label"], "In progress");
    assert_eq!(row["host"], "test");
    worker.succeed(first, fence).await;
    let (_, data) = page.soon().await;
    assert!(data.contains("Succeeded"), "{data}");

    client.create(&json!({"messageName": "b"})).await;
    page.nothing().await;
    client.create(&json!({"messageName": "a"})).await;
    assert_eq!(page.soon().await, ("new".to_owned(), "1".to_owned()));
    let path = format!("/v1/operations/{first}");
    client.send("DELETE", &path, &[], "").await;
    assert_eq!(page.soon().await, ("gone".to_owned(), first.to_string()));

    // This page shows an older version.
    let query = format!("rows={second}.0");
    let mut late = Looker::at(&manager, &query, &[]).await;
    assert_eq!(late.soon().await.0, "row");
    // The stream ends, so that the key is looked at again, and when the manager is to end.
    tokio::time::sleep(Duration::from_secs(301)).await;
    while timeout(Duration::from_secs(1), late.next())
        .await
        .expect("the end")
        .is_some()
    {}
    let mut drained = Looker::at(&manager, &query, &[]).await;
    manager.drain();
    while timeout(Duration::from_secs(5), drained.next())
        .await
        .expect("the end")
        .is_some()
    {}
}

#[tokio::test(start_paused = true)]
async fn a_page_is_told_nothing_of_other_organizations_and_that_the_store_is_away() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let id = client.create(&json!({"messageName": "a"})).await;
    let query = format!("rows={id}.0");
    let other = [("drumline-organization", "other")];
    let mut page = Looker::at(&manager, &query, &other).await;
    assert_eq!(page.soon().await, ("gone".to_owned(), id.to_string()));
    Worker::new(&backend).run(id).await;
    page.nothing().await;
    Faults::set(&faults.store_is_away, true);
    assert_eq!(page.soon().await.0, "away");
    let bad = client.get("/live?rows=x&state=9").await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad:?}");
}

#[tokio::test(start_paused = true)]
async fn many_lookers_cost_the_store_what_one_costs_and_none_cost_nothing() {
    let (backend, faults) = faulty(&backend());
    let manager = manager(&backend);
    let client = Client::of(&manager);
    let mut rows = Vec::new();
    for _ in 0..50 {
        rows.push(format!(
            "{}.1",
            client.create(&json!({"messageName": "a"})).await
        ));
    }
    let newest = rows.last().unwrap().trim_end_matches(".1").to_owned();
    let query = format!("rows={}&newest={newest}", rows.join(","));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let reads = |calls: Vec<&'static str>| {
        let mut reads = calls.into_iter();
        let looks = ["summaries", "list_summaries", "get", "list"];
        reads.by_ref().filter(|call| looks.contains(call)).count()
    };
    let mut costs = Vec::new();
    for lookers in [0_usize, 1, 20] {
        let mut pages = Vec::new();
        for _ in 0..lookers {
            pages.push(Looker::at(&manager, &query, &[]).await);
        }
        faults.take_calls();
        let looking = pages
            .iter_mut()
            .map(|page| timeout(Duration::from_secs(30), page.next()));
        futures_util::future::join_all(looking).await;
        if lookers == 0 {
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        costs.push(reads(faults.take_calls()));
    }
    assert_eq!(costs[0], 0, "{costs:?}");
    assert!(
        (50..=70).contains(&costs[1]),
        "two calls a second: {costs:?}"
    );
    assert!(costs[2] <= 2 * costs[1], "{costs:?}");
}

//! Series: one occurrence for each time, and the actions of clients.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::StatusCode;
use drumline_backend::Backend;
use drumline_backend::store::Filter;
use drumline_protocol::{Operation, OperationId};
use drumline_queue_manager::{Maintenance, QueueManager};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::client::Client;
use crate::support::worker::{Listener, Worker};
use crate::support::{backend, manager};

mod clients;
mod refusals;
mod times;

const MINUTE: Duration = Duration::from_secs(60);
const A_WHILE: Duration = Duration::from_secs(5);

/// A backend with one manager that maintains it.
struct Fixture {
    backend: Backend,
    manager: QueueManager,
    client: Client,
    worker: Worker,
    listener: Listener,
    maintenance: Maintenance,
}

impl Fixture {
    async fn new() -> Self {
        let backend = backend();
        let manager = manager(&backend);
        Self {
            client: Client::of(&manager),
            worker: Worker::new(&backend),
            listener: Listener::of_work(&backend).await,
            maintenance: Maintenance::start(&manager),
            manager,
            backend,
        }
    }

    /// Creates a series of message `a` with this rule.
    async fn series(&self, rule: &str) -> OperationId {
        let body = json!({"messageName": "a", "recurrencePattern": rule});
        self.client.create(&body).await
    }

    async fn view(&self, id: OperationId) -> Value {
        self.client.get(&format!("/v1/operations/{id}")).await.json
    }

    async fn ask(&self, id: OperationId, action: &str) {
        let path = format!("/v1/operations/{id}/{action}");
        let answer = self.client.send("POST", &path, &[], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }

    async fn patch(&self, id: OperationId, body: &Value) -> (StatusCode, Value) {
        let path = format!("/v1/operations/{id}");
        let answer = self.client.json("PATCH", &path, body).await;
        (answer.status, answer.json)
    }

    /// The occurrence that comes within a time, if one does; it is run.
    async fn occurrence(&mut self, wait: Duration) -> Option<OperationId> {
        let heard = self.listener.hear(wait).await;
        assert!(heard.len() < 2, "several at once: {heard:?}");
        let id = heard.into_iter().next()?;
        self.worker.run(id).await;
        Some(id)
    }

    async fn metric(&self, name: &str) -> String {
        let text = self.client.get("/metrics").await.text;
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(&format!("drumline_{name} ")));
        line.expect("a metric").to_owned()
    }
}

/// Every occurrence in a store, by its series.
async fn occurrences(backend: &Backend) -> HashMap<Uuid, Vec<Operation>> {
    let mut found: HashMap<Uuid, Vec<Operation>> = HashMap::new();
    let mut before = None;
    loop {
        let listed = backend.store.list(&Filter::default(), before, 500).await;
        let page = listed.expect("the store is there");
        for operation in page.operations {
            if let Some(series) = operation.body.parent_id {
                found.entry(series).or_default().push(operation);
            }
        }
        before = page.next;
        if before.is_none() {
            return found;
        }
    }
}

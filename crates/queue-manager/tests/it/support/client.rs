//! A client of the HTTP face without a network in between.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use drumline_protocol::OperationId;
use drumline_queue_manager::QueueManager;
use drumline_queue_manager::ingress::http;
use serde_json::Value;
use tower::ServiceExt;

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The body, if it is JSON; else `null`.
    pub(crate) json: Value,
    pub(crate) text: String,
}

impl Answer {
    /// A header as text; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// The id of the operation that was answered.
    pub(crate) fn id(&self) -> OperationId {
        let id = self.json.get("id").and_then(Value::as_str);
        id.and_then(|id| id.parse().ok()).expect("an operation")
    }

    /// The names of the operations that were listed.
    pub(crate) fn names(&self) -> Vec<&str> {
        let listed = self.json.get("operations").and_then(Value::as_array);
        let names = listed.into_iter().flatten();
        names
            .filter_map(|operation| operation.get("name")?.as_str())
            .collect()
    }
}

/// A client of one manager.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    router: Router,
}

impl Client {
    pub(crate) fn of(manager: &QueueManager) -> Self {
        Self {
            router: http::router(manager.clone()),
        }
    }

    /// Any request.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let method: Method = method.parse().expect("a method");
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("a request");
        let answered = self.router.clone().oneshot(request).await;
        let response = answered.unwrap_or_else(|never| match never {});
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("a whole answer");
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Answer {
            status: parts.status,
            headers: parts.headers,
            json: serde_json::from_str(&text).unwrap_or_default(),
            text,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.json("POST", path, body).await
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        let json = ("content-type", "application/json");
        self.send(method, path, &[json], body.to_string()).await
    }

    /// Creates an operation and expects that it was created.
    pub(crate) async fn create(&self, body: &Value) -> OperationId {
        let answer = self.post("/v1/operations", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.id()
    }

    /// The operation's status, as the API shows it.
    pub(crate) async fn status(&self, id: OperationId) -> String {
        let answer = self.get(&format!("/v1/operations/{id}")).await;
        let status = answer.json.get("status").and_then(Value::as_str);
        status.expect("an operation").to_owned()
    }
}

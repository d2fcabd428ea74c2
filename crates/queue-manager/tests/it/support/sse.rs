//! A reader of server-sent events, without a network in between.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use drumline_protocol::OperationId;
use drumline_queue_manager::QueueManager;
use drumline_queue_manager::ingress::http;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::timeout;
use tower::ServiceExt;

/// One event, as a browser would see it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Its id.
    pub(crate) place: String,
    pub(crate) operation: OperationId,
    pub(crate) json: Value,
}

/// One connection.
pub(crate) struct Reader {
    stream: BodyDataStream,
    text: String,
    events: VecDeque<Told>,
    /// The id of the last block that had one, event or not.
    pub(crate) last_id: Option<String>,
}

impl Reader {
    /// Connects; `last_id` is what a browser sends when it comes back.
    pub(crate) async fn connect(
        manager: &QueueManager,
        query: &str,
        last_id: Option<&str>,
    ) -> Self {
        let mut request = Request::builder().uri(format!("/v1/events{query}"));
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let request = request.body(Body::empty()).expect("a request");
        let answered = http::router(manager.clone()).oneshot(request).await;
        let response = answered.unwrap_or_else(|never| match never {});
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            stream: response.into_body().into_data_stream(),
            text: String::new(),
            events: VecDeque::new(),
            last_id: last_id.map(str::to_owned),
        }
    }

    /// The next event; `None` when none comes for `wait`, or at the end.
    pub(crate) async fn next(&mut self, wait: Duration) -> Option<Told> {
        let read = async {
            loop {
                if let Some(event) = self.events.pop_front() {
                    self.last_id = Some(event.place.clone());
                    return Some(event);
                }
                let frame = self.stream.next().await?.expect("an open stream");
                let frame = std::str::from_utf8(&frame).expect("UTF-8");
                self.text.push_str(frame);
                self.split();
            }
        };
        timeout(wait, read).await.ok().flatten()
    }

    /// Reads without wanting events until nothing comes for `wait`.
    pub(crate) async fn nothing_for(&mut self, wait: Duration) {
        let event = self.next(wait).await;
        assert!(event.is_none(), "{event:?}");
    }

    fn split(&mut self) {
        while let Some((block, rest)) = self.text.split_once("\n\n") {
            let field = |name: &str| {
                let mut lines = block.lines();
                lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            match (field("event"), field("data")) {
                (Some("completed"), Some(data)) => {
                    let json: Value = serde_json::from_str(data).expect("JSON");
                    let id = json.get("id").and_then(Value::as_str);
                    self.events.push_back(Told {
                        place: field("id").expect("an id").to_owned(),
                        operation: id.and_then(|id| id.parse().ok()).expect("an operation"),
                        json,
                    });
                }
                (None, None) => {
                    if let Some(id) = field("id") {
                        self.last_id = Some(id.to_owned());
                    }
                }
                _ => unreachable!("no event of ours: {block}"),
            }
            self.text = rest.to_owned();
        }
    }
}

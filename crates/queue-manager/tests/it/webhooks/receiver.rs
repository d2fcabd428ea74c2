//! A receiver of notices on a real port, which answers as a test wants.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use drumline_protocol::OperationId;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::PATIENCE;

/// A received notice.
#[derive(Clone, Debug)]
pub(super) struct Came {
    headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Came {
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    pub(super) fn id(&self) -> OperationId {
        self.header("webhook-id").parse().expect("an id")
    }
}

/// A receiver of notices. Answers as written down, then with 204.
pub(super) struct Receiver {
    pub(super) url: String,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    came: Mutex<Vec<Came>>,
    heard: Notify,
    answers: Mutex<Vec<Answer>>,
}

/// The reaction of a receiver to a notice.
pub(super) enum Answer {
    Status(u16),
    /// Sends the client somewhere else.
    Redirect(String),
    /// Says nothing, for ever.
    Silence,
}

impl Receiver {
    pub(super) async fn start(answers: Vec<Answer>) -> Self {
        let shared = Arc::new(Shared::default());
        *lock(&shared.answers) = answers;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let router = Router::new()
            .route("/hook", post(receive))
            .with_state(Arc::clone(&shared));
        let mut server = JoinSet::new();
        server.spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            url: format!("http://127.0.0.1:{port}/hook"),
            shared,
            _server: server,
        }
    }

    /// The number of notices that have come.
    pub(super) fn count(&self) -> usize {
        lock(&self.shared.came).len()
    }

    /// Waits until so many notices have come.
    pub(super) async fn came(&self, count: usize) -> Vec<Came> {
        let enough = async {
            loop {
                let heard = self.shared.heard.notified();
                let came = lock(&self.shared.came).clone();
                if came.len() >= count {
                    return came;
                }
                heard.await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, enough).await;
        came.unwrap_or_else(|_elapsed| unreachable!("{:?}", lock(&self.shared.came)))
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = {
        let mut answers = lock(&shared.answers);
        (!answers.is_empty()).then(|| answers.remove(0))
    };
    lock(&shared.came).push(Came { headers, body });
    shared.heard.notify_one();
    match answer.unwrap_or(Answer::Status(204)) {
        Answer::Status(status) => StatusCode::from_u16(status)
            .expect("a status")
            .into_response(),
        Answer::Redirect(to) => (StatusCode::FOUND, [("location", to)]).into_response(),
        Answer::Silence => std::future::pending().await,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

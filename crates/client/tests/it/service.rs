//! A service with a script: one answer per request, in order.

use std::time::Duration;

use drumline_client::{Builder, Client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The service's reaction to one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answers with this status, these further headers and this JSON.
    Answer(u16, &'static str, Value),
    /// Reads the request and hangs up.
    HangUp,
    /// Sends this stream of events and hangs up.
    Events(String),
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `POST /v1/operations`.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, `null` if it is empty.
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }
}

/// The service.
pub(crate) struct Service {
    /// Its address.
    pub(crate) url: String,
    task: JoinHandle<Vec<Request>>,
}

impl Service {
    /// Starts a service that acts by the script, request by request, and then
    /// ends.
    pub(crate) async fn start(script: impl IntoIterator<Item = Act>) -> Self {
        let script: Vec<Act> = script.into_iter().collect();
        let count = script.len();
        let mut script = script.into_iter();
        Self::answering(count, move |_request| script.next().expect("an act")).await
    }

    /// Starts a service that chooses its act by the request, and ends after so many
    /// requests.
    #[expect(clippy::disallowed_methods, reason = "`requests` waits for it")]
    pub(crate) async fn answering(
        count: usize,
        mut act: impl FnMut(&Request) -> Act + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let task = tokio::spawn(async move {
            let mut requests = Vec::new();
            for _ in 0..count {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let request = read(&mut stream).await;
                let act = act(&request);
                requests.push(request);
                answer(&mut stream, act).await;
            }
            requests
        });
        Self { url, task }
    }

    /// Starts a service that answers nothing before so many requests have come.
    #[expect(clippy::disallowed_methods, reason = "`requests` waits for it")]
    pub(crate) async fn holding(
        count: usize,
        act: impl Fn(&Request) -> Act + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let task = tokio::spawn(async move {
            let (mut requests, mut streams) = (Vec::new(), Vec::new());
            for _ in 0..count {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                requests.push(read(&mut stream).await);
                streams.push(stream);
            }
            for (mut stream, request) in streams.into_iter().zip(&requests) {
                answer(&mut stream, act(request)).await;
            }
            requests
        });
        Self { url, task }
    }

    /// A client of it.
    pub(crate) fn client(&self) -> Client {
        self.builder().build().expect("a client")
    }

    /// The same client, to be set up further.
    pub(crate) fn builder(&self) -> Builder {
        Client::builder(&self.url).patience(Duration::from_secs(5))
    }

    /// The requests that came, when the script is through.
    pub(crate) async fn requests(self) -> Vec<Request> {
        let patience = Duration::from_secs(60);
        let ended = tokio::time::timeout(patience, self.task).await;
        ended.expect("the script is through").expect("no panic")
    }
}

async fn read(stream: &mut TcpStream) -> Request {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        stream.read_buf(&mut bytes).await.expect("a request");
    };
    let text = String::from_utf8(bytes[..head].to_vec()).expect("text");
    let mut lines = text.lines();
    let line = lines.next().expect("a request line");
    let line = line.trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().expect("a number"));
    while bytes.len() < head + length {
        stream.read_buf(&mut bytes).await.expect("a body");
    }
    let body = serde_json::from_slice(&bytes[head..]).unwrap_or(Value::Null);
    Request {
        line,
        headers,
        body,
    }
}

async fn answer(stream: &mut TcpStream, act: Act) {
    let text = match act {
        Act::HangUp => return,
        Act::Answer(status, headers, body) => {
            let body = body.to_string();
            format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
                body.len()
            )
        }
        Act::Events(events) => {
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{events}")
        }
    };
    stream
        .write_all(text.as_bytes())
        .await
        .expect("somebody reads");
    stream.shutdown().await.expect("somebody reads");
}

/// A refusal.
pub(crate) fn refusal(status: u16, headers: &'static str, code: &str) -> Act {
    let body =
        json!({"status": status, "title": "No", "detail": "no", "code": code, "name": "Name"});
    Act::Answer(status, headers, body)
}

/// An operation as the service shows it.
pub(crate) fn operation(id: &str, status: u8) -> Value {
    let mut operation: Value =
        serde_json::from_str(include_str!("operation.json")).expect("it is JSON");
    operation["id"] = json!(id);
    operation["stateCode"] = json!(status / 10);
    operation["statusCode"] = json!(status);
    operation
}

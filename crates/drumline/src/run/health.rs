//! `/healthz`, `/readyz` and `/metrics` of a worker, for an orchestrator and for
//! Prometheus.
//!
//! Three answers to requests without a body need no HTTP library: the first line of a request is read,
//! answered, and the connection closed.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use drumline_worker::MetricsReader;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::listen;
use crate::exit::Result;

/// The time that a probe may take to ask.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest request that is read.
const REQUEST: usize = 4096;
/// Probes at the same time; more is not a probe.
const PROBES: usize = 16;

/// The type of the text that `/metrics` answers.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A listener, if there is an address.
#[derive(Debug)]
pub(crate) struct Listener(Option<TcpListener>);

/// A served listener; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Health {
    draining: watch::Sender<bool>,
    _task: JoinSet<()>,
}

impl Listener {
    /// Listens, if there is an address.
    pub(crate) async fn bind(address: Option<SocketAddr>) -> Result<Self> {
        let Some(address) = address else {
            return Ok(Self(None));
        };
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| listen::cannot_listen(address, error))?;
        tracing::info!(%address, "serving health probes");
        Ok(Self(Some(listener)))
    }

    /// Serves: `/readyz` answers with `ready`, until the worker drains.
    pub(crate) fn serve(self, ready: watch::Receiver<bool>, metrics: MetricsReader) -> Health {
        let (draining, is_draining) = watch::channel(false);
        let mut task = JoinSet::new();
        if let Some(listener) = self.0 {
            task.spawn(accept(listener, ready, is_draining, metrics));
        }
        Health {
            draining,
            _task: task,
        }
    }
}

impl Health {
    /// Reports the worker as not ready from now on.
    pub(crate) fn draining(&self) {
        self.draining.send_replace(true);
    }
}

async fn accept(
    listener: TcpListener,
    ready: watch::Receiver<bool>,
    draining: watch::Receiver<bool>,
    metrics: MetricsReader,
) {
    let mut probes = JoinSet::new();
    loop {
        if probes.len() >= PROBES {
            probes.join_next().await;
        }
        // Finished probes are removed.
        while probes.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let is_ready = *ready.borrow() && !*draining.borrow();
                let metrics = metrics.clone();
                probes.spawn(async move {
                    // A probe that goes away needs no answer.
                    let answer = answer(stream, is_ready, &metrics);
                    let _gone = tokio::time::timeout(PATIENCE, answer).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a probe could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, ready: bool, metrics: &MetricsReader) -> io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 512];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST {
        match stream.read(&mut buffer).await? {
            0 => break,
            read => request.extend(buffer.iter().take(read)),
        }
    }
    let text = String::from_utf8_lossy(&request);
    let path = text.split_whitespace().nth(1).unwrap_or_default();
    let (status, content_type, body) = respond(path, ready, metrics);
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

fn respond(
    path: &str,
    ready: bool,
    metrics: &MetricsReader,
) -> (&'static str, &'static str, Cow<'static, str>) {
    let (status, body) = match (path, ready) {
        ("/metrics", _) => return ("200 OK", OPEN_METRICS, metrics.text().into()),
        ("/healthz", _) => ("200 OK", "ok\n"),
        ("/readyz", true) => ("200 OK", "ready\n"),
        ("/readyz", false) => ("503 Service Unavailable", "not ready\n"),
        _ => (
            "404 Not Found",
            "only /healthz, /readyz and /metrics are served here\n",
        ),
    };
    (status, "text/plain", body.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn a_probe_hears_whether_the_worker_takes_work() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (say, ready) = watch::channel(false);
        let health = Listener(Some(listener)).serve(ready, MetricsReader::default());
        assert_eq!(ask(address, "/healthz").await, "HTTP/1.1 200 OK");
        assert!(ask(address, "/readyz").await.contains("503"));
        say.send_replace(true);
        assert!(ask(address, "/readyz").await.contains("200"));
        health.draining();
        assert!(ask(address, "/readyz").await.contains("503"));
        assert!(ask(address, "/metrics").await.contains("200"));
        assert!(ask(address, "/").await.contains("404"));
    }
}

//! The server: listens, serves, and ends in order.
//!
//! ```text
//! accept, while there is room ──→ TLS, if there is a certificate
//!                                  │
//!                                  ▼
//!                                 connection: headers in time ──→ router ──→ answer
//!                                      ▲                                        │
//!                                      └──────────── the next request ◄─────────┘
//! ```
//!
//! A connection costs memory and a file, so each has to earn its place: the headers
//! of its next request must come in time, and a peer that is gone is noticed. A
//! connection counts from its first byte on, hence during its handshake, too. The
//! time that a body may take is the business of [`bodies`](super::bodies).

mod encryption;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use drumline_tls::ServerTls;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use self::encryption::Peer;
use self::encryption::{Begun, begin};
use super::router;
use crate::options::Http;
use crate::service::QueueManager;

/// The silence after which the system asks whether the peer is still there, the
/// pause between two questions, and their number: a peer that has vanished is gone
/// after two minutes.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(15), 4);
/// The time for which sent data may stay unacknowledged. A client that reads
/// nothing of its answer would keep the answer in memory.
const UNACKNOWLEDGED: Duration = Duration::from_secs(120);
/// The pause after a failed accept: most of the time, the process has no file left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A manager on the network.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    manager: QueueManager,
    /// Cancelled when no more connections are accepted.
    stop: CancellationToken,
    /// Cancelled when connections are cut.
    cut: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Listens on an address and serves in the background. Must be called on a
    /// tokio runtime. A failure of the task is reported by
    /// [`QueueManager::failed`].
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(listen: SocketAddr, manager: QueueManager) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let server = Self {
            address: listener.local_addr()?,
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
            manager,
        };
        let options = server.manager.options().http;
        let tls = server.manager.options().tls.clone();
        let acceptor = Acceptor {
            listener,
            router: router(server.manager.clone()),
            tls: tls.clone(),
            manager: server.manager.clone(),
            connections: Arc::new(Semaphore::new(options.connections)),
            options,
            stop: server.stop.clone(),
            cut: server.cut.clone(),
            tasks: server.tasks.clone(),
        };
        let critical = server.manager.critical();
        let accepting = critical.guard("http", &server.stop, acceptor.run());
        server.tasks.spawn(accepting);
        let is_encrypted = tls.is_some();
        if let Some(tls) = tls {
            let stop = server.stop.clone();
            let following = encryption::follow(tls, server.manager.clone());
            let following = async move {
                stop.run_until_cancelled(following).await;
            };
            let following = critical.guard("certificate", &server.stop, following);
            server.tasks.spawn(following);
        }
        tracing::info!(address = %server.address, tls = is_encrypted, "listening");
        Ok(server)
    }

    /// The address that it listens on, with the chosen port if the option was
    /// any.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of that address: `https://…` if the port has TLS.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = match self.manager.options().tls {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}", self.address)
    }

    /// Drains the manager, accepts nothing new, and lets the requests in
    /// progress end, for `grace` at most. Connections without a request are closed
    /// at once.
    pub async fn shutdown(self, grace: Duration) {
        self.manager.drain();
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("some requests were still running when the server ended");
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.cut.cancel();
    }
}

/// The task that accepts connections.
struct Acceptor {
    listener: TcpListener,
    router: Router,
    /// The certificate, if the port has TLS.
    tls: Option<Arc<ServerTls>>,
    manager: QueueManager,
    options: Http,
    /// One permit per connection that may be open.
    connections: Arc<Semaphore>,
    stop: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
}

impl Acceptor {
    async fn run(self) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.accept()).await;
    }

    async fn accept(&self) {
        let mut is_full = false;
        loop {
            if self.connections.available_permits() > 0 {
                is_full = false;
            } else if !is_full {
                is_full = true;
                let limit = self.options.connections;
                tracing::warn!(limit, "as many connections as are allowed; others wait");
            }
            let Ok(permit) = Arc::clone(&self.connections).acquire_owned().await else {
                // The semaphore is never closed.
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _peer)) => self.serve(stream, permit),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves a connection on a task of its own.
    fn serve(&self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        if let Err(error) = tune(&stream) {
            tracing::debug!(%error, "a connection may be slow, or outlive its peer");
        }
        let speaker = Speaker {
            header_timeout: self.options.header_timeout,
            stop: self.stop.clone(),
        };
        let (tls, router, manager) = (self.tls.clone(), self.router.clone(), self.manager.clone());
        let patience = self.options.handshake_timeout;
        let unknown = Peer {
            address: stream.peer_addr().ok(),
            ..Peer::default()
        };
        // A future holds the place of all that it may wait for. What one connection does
        // not need is not allocated: 10,000 of them do nothing most of the time.
        let serving = async move {
            let Some(tls) = tls else {
                return Box::pin(speaker.speak(stream, router, unknown)).await;
            };
            let beginning = Box::pin(begin(stream, &tls, patience));
            let Some(begun) = speaker.stop.run_until_cancelled(beginning).await else {
                return;
            };
            match begun {
                Ok(Begun::Encrypted(stream, peer)) => {
                    if let Some(certificate) = &peer.certificate {
                        tracing::debug!(%certificate, "a client has shown its certificate");
                    }
                    let address = unknown.address;
                    let peer = Peer { address, ..peer };
                    Box::pin(speaker.speak(stream, router, peer)).await;
                }
                Ok(Begun::Plain(stream)) => {
                    manager.metrics().handshake_failed("plain_http");
                    let router = encryption::plain();
                    Box::pin(speaker.speak(stream, router, unknown)).await;
                }
                Err(failed) => failed.note(manager.metrics()),
            }
        };
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            cut.run_until_cancelled(serving).await;
            drop(permit);
        });
    }
}

/// Speaks HTTP on a connection.
struct Speaker {
    header_timeout: Duration,
    /// Cancelled when the request in progress is the last one.
    stop: CancellationToken,
}

impl Speaker {
    async fn speak(&self, stream: impl AsyncRead + AsyncWrite + Unpin, router: Router, peer: Peer) {
        let router = TowerToHyperService::new(router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            router.call(request)
        });
        let mut speaking = http1::Builder::new();
        speaking
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout);
        let mut connection = pin!(speaking.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection has ended");
        }
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    // Answers are small and each is written at once: waiting for more data would
    // only delay them.
    stream.set_nodelay(true)?;
    let (time, interval, retries) = KEEPALIVE;
    let keepalive = TcpKeepalive::new()
        .with_time(time)
        .with_interval(interval)
        .with_retries(retries);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}

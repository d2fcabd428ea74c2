//! The start of a connection to a port with TLS: the handshake, in bounded time,
//! and an answer in plain HTTP for clients that have taken the wrong scheme.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use drumline_protocol::ErrorCode;
use drumline_tls::{Reload, ServerTls, Trouble, certificate_name};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::ingress::http::layers::with_instance;
use crate::ingress::problem::Problem;
use crate::metrics::Metrics;
use crate::service::QueueManager;

/// The interval at which the files of the certificate are looked at. A renewed
/// certificate is shown two seconds later.
const LOOK: Duration = Duration::from_secs(2);

/// The bytes that a refused client may have sent already.
const UNREAD: u64 = 64 << 10;

/// The other end of a connection, among the extensions of its requests.
#[derive(Clone, Debug, Default)]
pub(in crate::ingress::http) struct Peer {
    /// Its address, if the system knows it.
    pub(in crate::ingress::http) address: Option<SocketAddr>,
    /// True if no third party can read along.
    pub(in crate::ingress::http) is_encrypted: bool,
    /// The name in the certificate that it has shown.
    pub(in crate::ingress::http) certificate: Option<Arc<str>>,
}

/// A connection that has begun.
pub(super) enum Begun {
    /// With TLS.
    Encrypted(Box<TlsStream<TcpStream>>, Peer),
    /// A client that speaks plain HTTP.
    Plain(TcpStream),
}

/// Makes the handshake. Not cancel-safe: the connection is lost.
///
/// # Errors
/// When it fails, or takes too long.
pub(super) async fn begin(
    stream: TcpStream,
    tls: &ServerTls,
    patience: Duration,
) -> Result<Begun, Failed> {
    let beginning = async {
        if is_http(&stream).await? {
            return Ok(Begun::Plain(stream));
        }
        let accepting = TlsAcceptor::from(tls.config()).accept(stream);
        let stream = match accepting.into_fallible().await {
            Ok(stream) => stream,
            Err((error, stream)) => {
                linger(stream).await;
                return Err(error);
            }
        };
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let certificate = shown.map(|shown| {
            let name = certificate_name(shown);
            Arc::from(name.as_deref().unwrap_or("a certificate without a name"))
        });
        let peer = Peer {
            address: None,
            is_encrypted: true,
            certificate,
        };
        Ok(Begun::Encrypted(Box::new(stream), peer))
    };
    match timeout(patience, beginning).await {
        Ok(begun) => begun.map_err(Failed::Handshake),
        Err(_elapsed) => Err(Failed::Timeout),
    }
}

/// Returns true if the first byte is one of a method of HTTP. TLS begins with 22.
async fn is_http(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let peeked = stream.peek(&mut first).await?;
    Ok(peeked == 1 && first.iter().all(u8::is_ascii_alphabetic))
}

/// Lets the client read why its handshake was refused: it may have sent a request
/// already, and closing on unread data would take the answer from it.
async fn linger(mut stream: TcpStream) {
    // A client that has gone needs no answer.
    let _gone = async {
        stream.shutdown().await?;
        let mut rest = stream.take(UNREAD);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    }
    .await;
}

/// The reason why a connection has not begun.
#[derive(Debug)]
pub(super) enum Failed {
    Timeout,
    Handshake(io::Error),
}

impl Failed {
    /// Counts and logs it. A client that goes away costs a line at debug only:
    /// port scanners would fill the log.
    pub(super) fn note(&self, metrics: &Metrics) {
        match self {
            Self::Timeout => {
                metrics.handshake_failed("timeout");
                tracing::debug!("a TLS handshake took too long");
            }
            Self::Handshake(error) => {
                let is_of_client = matches!(
                    Trouble::find(error),
                    Some(
                        Trouble::NoClientCertificate
                            | Trouble::UnknownIssuer
                            | Trouble::Expired
                            | Trouble::NotYetValid
                            | Trouble::Certificate(_)
                    )
                );
                metrics.handshake_failed(if is_of_client {
                    "client_certificate"
                } else {
                    "handshake"
                });
                tracing::debug!(%error, "a TLS handshake failed");
            }
        }
    }
}

/// Answers every request over plain HTTP with the way out.
pub(super) fn plain() -> Router {
    Router::new()
        .fallback(https_required)
        .layer(from_fn(with_instance))
}

async fn https_required() -> Problem {
    let detail =
        "this address takes HTTPS only, and the request came over plain HTTP: use https://";
    Problem::new(StatusCode::BAD_REQUEST, ErrorCode::HTTPS_REQUIRED, detail)
}

/// Looks at the files of the certificate again and again, and says what it has
/// found. Never ends.
pub(super) async fn follow(tls: Arc<ServerTls>, manager: QueueManager) {
    loop {
        sleep(LOOK).await;
        let files = Arc::clone(&tls);
        match tokio::task::spawn_blocking(move || files.reload()).await {
            Ok(Reload::Unchanged) => {}
            Ok(Reload::Changed) => tracing::info!("the TLS certificate has changed"),
            Ok(Reload::Broken(error)) => tracing::error!(
                %error,
                "the files of the TLS certificate cannot be used; the certificate of before stays in force"
            ),
            Err(error) => tracing::error!(%error, "the files of the TLS certificate were not read"),
        }
        manager
            .metrics()
            .certificate_is_broken(tls.broken().is_some());
    }
}

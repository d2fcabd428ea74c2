//! Sockets to a broker, encrypted or not, and the runtime through which lapin uses
//! them.
//!
//! lapin has TLS of its own. It reads client certificates with a library that brings
//! 35 crates, verifies with the CAs of the system only, and its errors do not say what to
//! change. So this module opens the sockets, and lapin is built without TLS.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use async_rs::Tokio;
use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use drumline_tls::{Encrypted, HandshakeError, Names, Trouble};
use futures_util::Stream as Items;
use futures_util::io::{AsyncRead, AsyncWrite};
use lapin::uri::{AMQPScheme, AMQPUri};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};
use tokio_util::either::Either;

use crate::options::Options;

/// The settings that a failed handshake names.
const NAMES: Names = Names {
    ca: "--amqp-ca-file",
    cert: "--amqp-cert and --amqp-key",
    plain: "amqp://",
};

/// A socket to a broker.
pub(crate) type Stream = Either<TcpStream, Encrypted>;

/// Connects to one node of the broker. `keep` sees the socket before the handshake.
pub(crate) async fn open(
    options: &Options,
    uri: &AMQPUri,
    keep: impl FnOnce(&TcpStream) -> io::Result<()>,
) -> io::Result<Stream> {
    let host = uri.authority.host.as_str();
    let is_plain = matches!(uri.scheme, AMQPScheme::AMQP);
    if is_plain && !options.encryption.is_default() {
        return Err(io::Error::other(unencrypted(host)));
    }
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((address, uri.authority.port)).await?;
    stream.set_nodelay(true)?;
    keep(&stream)?;
    match uri.scheme {
        AMQPScheme::AMQP => Ok(Either::Left(stream)),
        AMQPScheme::AMQPS => {
            let encryption = options.encryption.clone();
            let encrypted = encryption.encrypt(stream, host, NAMES).await?;
            Ok(Either::Right(encrypted))
        }
    }
}

/// The error of an address without TLS, for which TLS is set up.
fn unencrypted(host: &str) -> HandshakeError {
    HandshakeError {
        server: host.to_owned(),
        trouble: Trouble::Files(
            "the address is without TLS, and settings of TLS are made".to_owned(),
        ),
        hint: "use amqps:// in --amqp-url".to_owned(),
    }
}

/// Tokio as lapin sees it, with sockets that may be encrypted.
#[derive(Clone, Debug)]
pub(crate) struct Sockets(Tokio);

impl Sockets {
    /// The sockets of the runtime that the caller is on.
    pub(crate) fn here() -> Self {
        Self(Tokio::current())
    }
}

impl RuntimeKit for Sockets {}

impl Executor for Sockets {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for Sockets {
    type TcpStream = Compat<Stream>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, span: Duration) -> Self::Sleep {
        self.0.sleep(span)
    }

    fn interval(&self, span: Duration) -> impl Items<Item = Instant> + Send + 'static {
        self.0.interval(span)
    }

    /// Connects without TLS. lapin is given its sockets, and does not call this.
    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = TcpStream::connect(address);
        async move { Ok(Either::Left(connecting.await?).compat()) }
    }
}

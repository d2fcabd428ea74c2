//! Makes one connection, in bounded time, and can always get rid of it.
//!
//! lapin gives every connection a thread of its own, and a thread that waits
//! for a silent broker's handshake waits for ever, timeout or not. So the socket
//! is opened here, and a second handle to it is kept: shutting it down ends the
//! thread.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use drumline_backend::broker;
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use parking_lot::Mutex;
use tokio::time::timeout;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use crate::error::{failed, silent};
use crate::options::Options;
use crate::sockets::{self, Sockets};
use crate::url::shown;

/// A connection, and the means to end it at once.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) connection: Connection,
    pub(crate) socket: Socket,
    /// The URL of the node, without its password.
    pub(crate) node_url: String,
}

/// Connects to the first node that can be reached. `purpose` is added to the
/// connection's name.
pub(crate) async fn connect(options: &Options, purpose: &str) -> broker::Result<Connected> {
    let mut turns = options.url.turns();
    loop {
        match connect_to(options, turns.node(), purpose).await {
            Ok(connected) => return Ok(connected),
            Err(error) => turns.leave(error)?,
        }
    }
}

async fn connect_to(options: &Options, node: &AMQPUri, purpose: &str) -> broker::Result<Connected> {
    let socket = Socket::default();
    let attempt = AbortOnDrop(socket.clone());
    let node_url = shown(node);
    let doing = format!("connecting to {node_url}");
    let patience = options.node_timeout();
    match timeout(patience, open(options, node, purpose, &socket)).await {
        Ok(Ok(connection)) => {
            attempt.succeeded();
            Ok(Connected {
                connection,
                socket,
                node_url,
            })
        }
        Ok(Err(error)) => Err(failed(&doing, error)),
        Err(_elapsed) => Err(silent(&doing, patience)),
    }
}

async fn open(
    options: &Options,
    node: &AMQPUri,
    purpose: &str,
    socket: &Socket,
) -> lapin::Result<Connection> {
    let mut uri = node.clone();
    if uri.query.heartbeat.is_none() {
        uri.query.heartbeat = Some(options.heartbeat_seconds.get());
    }
    let name = format!("{} {purpose}", options.connection_name);
    // No auto-recovery: after a channel that the broker has closed, its
    // consumers hang for ever. No retries either: the supervisor has its own.
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let (slot, options) = (socket.clone(), options.clone());
    let connect = async move |uri: AMQPUri, _| {
        let keep =
            |stream: &tokio::net::TcpStream| slot.keep(stream.as_fd().try_clone_to_owned()?.into());
        let stream = sockets::open(&options, &uri, keep).await?;
        // lapin has a name for streams that it need not encrypt.
        Ok(AsyncTcpStream::Plain(stream.compat()))
    };
    Connection::connector(uri, Sockets::here().into(), connect, properties).await
}

/// Ends the socket of an attempt that fails, takes too long or is given up.
struct AbortOnDrop(Socket);

impl AbortOnDrop {
    fn succeeded(mut self) {
        self.0 = Socket::default();
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A second handle to the connection's socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Socket(Arc<Mutex<Slot>>);

#[derive(Debug, Default)]
enum Slot {
    /// Not connected yet.
    #[default]
    Empty,
    /// Connected.
    Open(TcpStream),
    /// Aborted: a connection that is made from now on is ended at once.
    Aborted,
}

impl Socket {
    /// Ends the connection, whatever it is doing. Nothing more is sent.
    pub(crate) fn abort(&self) {
        let mut slot = self.0.lock();
        match std::mem::replace(&mut *slot, Slot::Aborted) {
            // An error means that it is not connected any more, which is fine.
            Slot::Open(stream) => drop(stream.shutdown(Shutdown::Both)),
            Slot::Empty | Slot::Aborted => {}
        }
    }

    fn keep(&self, stream: TcpStream) -> io::Result<()> {
        let mut slot = self.0.lock();
        if matches!(*slot, Slot::Aborted) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        *slot = Slot::Open(stream);
        Ok(())
    }
}

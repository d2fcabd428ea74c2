//! A bad network: a TCP proxy that cuts, delays, slows and swallows on demand.
//!
//! ```text
//! client ── socket ── to-server pump ──► socket ── server
//!                ◄── to-client pump ──
//! ```
//!
//! Each connection has two pumps. All obey one [`NetworkFault`], which the owner of
//! the proxy changes. A connection that has lost bytes can never be sane
//! again, so it is cut when the fault clears.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// The most bytes that one read takes.
const CHUNK: usize = 64 << 10;

/// Chunks that are under way in a delayed direction; over it the reader waits.
const UNDER_WAY: usize = 1024;

/// The most that a slow line makes up for a late timer.
const LATE: Duration = Duration::from_millis(5);

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// The present state of the network.
#[derive(Clone, Copy, Debug, Default)]
struct NetworkFault {
    /// Nothing that the client sends arrives.
    deaf_server: bool,
    /// Nothing that the server sends arrives.
    deaf_client: bool,
    /// New connections are closed at once.
    refusing: bool,
    /// Added to each chunk's way.
    delay: Duration,
    /// The bytes per second that all connections share, each way; 0 for no limit.
    bytes_per_second: u64,
    /// Connections of an earlier epoch are cut.
    epoch: u64,
}

impl NetworkFault {
    fn swallows(&self, direction: Direction) -> bool {
        match direction {
            Direction::ToServer => self.deaf_server,
            Direction::ToClient => self.deaf_client,
        }
    }
}

/// A proxy in front of one address. Dropping it cuts everything.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    fault: watch::Sender<NetworkFault>,
    // Aborted on drop, and its connections with it.
    _listener: JoinSet<()>,
}

impl TcpProxy {
    /// Forwards a free local port to `target`, as `127.0.0.1:5672`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(target: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port")?;
        let address = listener.local_addr()?;
        let (fault, faults) = watch::channel(NetworkFault::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, target.to_owned(), faults));
        Ok(Self {
            address,
            fault,
            _listener: tasks,
        })
    }

    /// The address that the proxy listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` with the server's address replaced by the proxy's.
    #[must_use]
    pub fn url(&self, url: &str, server: &str) -> String {
        url.replace(server, &self.address.to_string())
    }

    /// Drops all connections; new ones are forwarded as before.
    pub fn cut(&self) {
        self.fault.send_modify(|fault| fault.epoch += 1);
    }

    /// Drops all connections, and new ones at once, until [`TcpProxy::heal`].
    pub fn refuse(&self) {
        self.fault.send_modify(|fault| {
            fault.epoch += 1;
            fault.refusing = true;
        });
    }

    /// Keeps all connections, accepts new ones, and swallows all bytes of
    /// either side, until [`TcpProxy::heal`].
    pub fn blackhole(&self) {
        self.fault.send_modify(|fault| {
            fault.deaf_server = true;
            fault.deaf_client = true;
        });
    }

    /// Acts as [`TcpProxy::blackhole`], one way only.
    pub fn silence(&self, direction: Direction) {
        self.fault.send_modify(|fault| match direction {
            Direction::ToServer => fault.deaf_server = true,
            Direction::ToClient => fault.deaf_client = true,
        });
    }

    /// Delays everything by so much from now on, each way.
    pub fn delay(&self, delay: Duration) {
        self.fault.send_modify(|fault| fault.delay = delay);
    }

    /// Lets so many bytes per second through from now on, each way, over all
    /// connections together.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.fault
            .send_modify(|fault| fault.bytes_per_second = bytes_per_second);
    }

    /// Ends every fault. Connections that have lost bytes are cut.
    pub fn heal(&self) {
        self.fault.send_modify(|fault| {
            *fault = NetworkFault {
                epoch: fault.epoch,
                ..NetworkFault::default()
            };
        });
    }
}

/// The slow line, one way: the time at which it is free again.
#[derive(Clone, Debug)]
struct Line(Arc<Mutex<Instant>>);

impl Line {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Takes the line for some bytes, and returns the time at which they are
    /// through. A connection reads on after that, so that connections share the
    /// line, and a few bytes wait for one chunk of each other connection.
    fn take(&self, bytes: usize, bytes_per_second: u64) -> Instant {
        let needed = bytes as f64 / bytes_per_second as f64;
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A little of the past: timers are late, and the line was free meanwhile.
        let earliest = Instant::now().checked_sub(LATE).unwrap_or(*free);
        *free = (*free).max(earliest) + Duration::from_secs_f64(needed);
        *free
    }
}

async fn accept(listener: TcpListener, target: String, faults: watch::Receiver<NetworkFault>) {
    let mut connections = JoinSet::new();
    let lines = (Line::new(), Line::new());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                if faults.borrow().refusing {
                    continue;
                }
                let lines = lines.clone();
                connections.spawn(connection(client, target.clone(), faults.clone(), lines));
            }
            // Only to let go of connections that have ended.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection until either side closes it or it is cut.
async fn connection(
    client: TcpStream,
    target: String,
    faults: watch::Receiver<NetworkFault>,
    (there, back): (Line, Line),
) {
    let epoch = faults.borrow().epoch;
    let mut cut = faults.clone();
    let serve = async {
        let Ok(server) = TcpStream::connect(&target).await else {
            return;
        };
        // A proxy must not add Nagle's delay to the delay that was asked for.
        drop(client.set_nodelay(true));
        drop(server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            () = pump(from_client, to_server, Direction::ToServer, faults.clone(), there) => {}
            () = pump(from_server, to_client, Direction::ToClient, faults.clone(), back) => {}
        }
    };
    tokio::select! {
        () = serve => {}
        // Also when the proxy is dropped.
        _ = cut.wait_for(|fault| fault.epoch != epoch) => {}
    }
}

/// Moves bytes one way; returns when this way has ended.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    direction: Direction,
    mut faults: watch::Receiver<NetworkFault>,
    line: Line,
) {
    let (on_the_way, arriving) = mpsc::channel(UNDER_WAY);
    let read = async {
        let mut has_lost = false;
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = tokio::select! {
                read = from.read(&mut buffer) => match read {
                    Ok(count) if count > 0 => count,
                    Ok(_) | Err(_) => break,
                },
                _ = faults.changed(), if has_lost => 0,
            };
            let fault = *faults.borrow_and_update();
            if fault.swallows(direction) {
                has_lost |= count > 0;
                continue;
            }
            if has_lost {
                break;
            }
            if fault.bytes_per_second > 0 {
                sleep_until(line.take(count, fault.bytes_per_second)).await;
            }
            let bytes = buffer.get(..count).unwrap_or_default().to_vec();
            let due = Instant::now() + fault.delay;
            if on_the_way.send((due, bytes)).await.is_err() {
                break;
            }
        }
        drop(on_the_way);
    };
    tokio::join!(read, write(to, arriving));
}

async fn write(mut to: impl AsyncWrite + Unpin, mut arriving: mpsc::Receiver<(Instant, Vec<u8>)>) {
    while let Some((due, bytes)) = arriving.recv().await {
        sleep_until(due).await;
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

//! Makes connections to Redis: the one place that reads the URL and opens a socket.
//!
//! ```text
//! URL ─→ Address ─┬─ TCP ──┬──────────────────→ MultiplexedConnection, PubSub
//!                 │   ▲    └─ TLS: rediss:// ─→
//!                 ├─ sentinels: ask for the primary
//!                 ├─ cluster: a node of it, which the link chooses
//!                 └─ Unix socket ─────────────→
//! ```

mod sentinels;
mod url;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drumline_tls::{Encrypted, Encryption, Names};
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisResult};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::either::Either;

pub use self::sentinels::SentinelView;
pub(crate) use self::sentinels::{Primary, Sentinels};
use self::url::{Parsed, Place};
use crate::link::Place as Node;
use crate::options::Options;

/// The interval of the kernel's keep-alive probes on an idle connection. After
/// three unanswered probes the connection is gone.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Sent bytes that are not acknowledged for so long end the connection.
const USER_TIMEOUT: Duration = Duration::from_secs(10);
/// The settings that a failed handshake names.
const NAMES: Names = Names {
    ca: "--redis-ca-file",
    cert: "--redis-cert and --redis-key",
    plain: "redis://",
};

type Stream = Either<Encrypted, Either<TcpStream, UnixStream>>;

/// The address of a Redis, read from its URL. Clones share what the sentinels say.
#[derive(Clone)]
pub(crate) struct Address {
    target: Target,
    settings: RedisConnectionInfo,
    encryption: Option<Encryption>,
    patience: Duration,
}

#[derive(Clone)]
enum Target {
    Tcp(String, u16),
    Unix(PathBuf),
    Sentinels(Arc<Sentinels>),
    /// The nodes of a cluster that are asked for the others.
    Cluster(Arc<[Node]>),
    /// A node of a cluster.
    Node(String, u16),
}

/// The task that moves the bytes of a connection; it ends with the last handle.
pub(crate) type Driver = Arc<JoinSet<()>>;

/// A connection for requests.
#[derive(Clone)]
pub(crate) struct Connected {
    pub(crate) connection: MultiplexedConnection,
    /// The primary that it leads to, if sentinels have named it.
    pub(crate) primary: Option<Primary>,
    /// Drop it to cut the connection.
    pub(crate) driver: Driver,
}

/// Checks a URL of Redis. The reason repeats nothing of it: it may hold a password.
///
/// # Errors
/// Says what is wrong.
pub fn check_url(url: &str) -> Result<(), String> {
    url::read(url).map(|_read| ())
}

/// The view of each sentinel that the URL names: for `drumline doctor`. Empty where it
/// names none.
///
/// # Errors
/// When the URL cannot be used.
pub async fn sentinel_views(options: &Options) -> Result<Vec<SentinelView>, String> {
    Ok(match Address::of(options)?.sentinels() {
        Some(sentinels) => sentinels.views().await,
        None => Vec::new(),
    })
}

impl Address {
    /// Reads the address.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub(crate) fn of(options: &Options) -> Result<Self, String> {
        let Parsed {
            place,
            settings,
            is_encrypted,
        } = url::read(&options.url)?;
        if !is_encrypted && !options.encryption.is_default() {
            return Err(
                "a CA, a certificate or a server name needs rediss:// in --redis-url".to_owned(),
            );
        }
        let encryption = is_encrypted.then(|| options.encryption.clone());
        Ok(Self {
            target: match place {
                Place::Tcp(host, port) => Target::Tcp(host, port),
                Place::Unix(path) => Target::Unix(path),
                Place::Sentinels(places) => {
                    Target::Sentinels(Arc::new(Sentinels::new(places, encryption.clone())))
                }
                Place::Cluster(hosts) => {
                    let node = |(host, port)| Node { host, port };
                    Target::Cluster(hosts.into_iter().map(node).collect())
                }
            },
            settings,
            encryption,
            patience: options.connect_timeout,
        })
    }

    /// The sentinels that know where the primary is, if there are any.
    pub(crate) fn sentinels(&self) -> Option<&Arc<Sentinels>> {
        match &self.target {
            Target::Sentinels(sentinels) => Some(sentinels),
            Target::Tcp(..) | Target::Unix(_) | Target::Cluster(_) | Target::Node(..) => None,
        }
    }

    /// The nodes of a cluster that are asked for the others, if it is the address of one.
    pub(crate) fn seeds(&self) -> Option<&[Node]> {
        match &self.target {
            Target::Cluster(seeds) => Some(seeds),
            Target::Tcp(..) | Target::Unix(_) | Target::Sentinels(_) | Target::Node(..) => None,
        }
    }

    /// Returns true if it is the address of a node of a cluster.
    pub(crate) const fn is_node(&self) -> bool {
        matches!(self.target, Target::Node(..))
    }

    /// The address of a node of the cluster, with the same user and encryption.
    pub(crate) fn at(&self, host: &str, port: u16) -> Self {
        Self {
            target: Target::Node(host.to_owned(), port),
            ..self.clone()
        }
    }

    /// Makes a connection for requests.
    pub(crate) async fn connect(&self, config: &AsyncConnectionConfig) -> RedisResult<Connected> {
        let primary = self.primary().await?;
        let connecting = async {
            let stream = self.open(primary.as_ref()).await?;
            let (settings, config) = (&self.settings, config.clone());
            let (connection, driver) =
                MultiplexedConnection::new_with_config(settings, stream, config).await?;
            Ok((connection, driver))
        };
        let (connection, driver) = self.in_time(primary.as_ref(), connecting).await?;
        let mut task = JoinSet::new();
        task.spawn(driver);
        Ok(Connected {
            connection,
            primary,
            driver: Arc::new(task),
        })
    }

    /// Makes a connection that listens to channels.
    pub(crate) async fn listen(&self) -> RedisResult<(PubSub, Option<Primary>)> {
        let primary = self.primary().await?;
        let connecting = async {
            let stream = self.open(primary.as_ref()).await?;
            PubSub::new(&self.settings, stream).await
        };
        let listening = self.in_time(primary.as_ref(), connecting).await?;
        Ok((listening, primary))
    }

    /// Returns true if the sentinels have named another primary than this one since.
    pub(crate) fn has_moved(&self, from: Option<&Primary>) -> bool {
        match (self.sentinels(), from) {
            (Some(sentinels), Some(from)) => sentinels.has_moved(from),
            _ => false,
        }
    }

    /// Waits until the sentinels name another primary than this one; for ever, where
    /// there are no sentinels. Cancel-safe.
    pub(crate) async fn moved(&self, from: Option<&Primary>) {
        match (self.sentinels(), from) {
            (Some(sentinels), Some(from)) => sentinels.moved(from).await,
            _ => std::future::pending().await,
        }
    }

    async fn primary(&self) -> RedisResult<Option<Primary>> {
        match self.sentinels() {
            Some(sentinels) => sentinels.primary().await.map(Some),
            None => Ok(None),
        }
    }

    async fn in_time<T>(
        &self,
        primary: Option<&Primary>,
        connecting: impl Future<Output = RedisResult<T>>,
    ) -> RedisResult<T> {
        tokio::select! {
            connected = timeout(self.patience, connecting) => match connected {
                Ok(connected) => connected,
                Err(_elapsed) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            },
            () = self.moved(primary) => {
                let moved = "another server has become the primary";
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, moved).into())
            }
        }
    }

    /// Opens the socket, and makes the handshake.
    async fn open(&self, primary: Option<&Primary>) -> io::Result<Stream> {
        let (host, port) = match (&self.target, primary) {
            (Target::Unix(path), _) => {
                let stream = UnixStream::connect(path).await?;
                return Ok(Either::Right(Either::Right(stream)));
            }
            (Target::Tcp(host, port) | Target::Node(host, port), _) => (host, *port),
            (Target::Sentinels(_), Some(primary)) => (&primary.host, primary.port),
            (Target::Sentinels(_), None) | (Target::Cluster(_), _) => {
                return Err(io::ErrorKind::NotConnected.into());
            }
        };
        open_tcp(host, port, self.encryption.as_ref()).await
    }
}

/// Opens a socket to a server or a sentinel, and makes the handshake.
async fn open_tcp(host: &str, port: u16, encryption: Option<&Encryption>) -> io::Result<Stream> {
    let stream = TcpStream::connect((host, port)).await?;
    tune(&stream)?;
    let Some(encryption) = encryption else {
        return Ok(Either::Right(Either::Left(stream)));
    };
    let encrypted = encryption.clone().encrypt(stream, host, NAMES).await?;
    Ok(Either::Left(encrypted))
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE)
        .with_retries(3);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_tls_need_an_address_with_tls() {
        let with_name = |url: &str| {
            let options = Options {
                url: url.to_owned(),
                encryption: Encryption {
                    server_name: Some("redis.example".to_owned()),
                    ..Encryption::default()
                },
                ..Options::default()
            };
            Address::of(&options).map(|_address| ())
        };
        assert!(with_name("redis://host").unwrap_err().contains("rediss://"));
        let plain = with_name("redis+sentinel://host/main").unwrap_err();
        assert!(plain.contains("rediss://"), "{plain}");
        assert_eq!(with_name("rediss://host"), Ok(()));
        assert_eq!(with_name("rediss+sentinel://host/main"), Ok(()));
    }
}

//! Makes connections to Redis: the one place that reads the URL and opens a socket.
//!
//! ```text
//! URL ─→ Address ─┬─ TCP ──┬──────────────────→ MultiplexedConnection, PubSub
//!                 │        └─ TLS: rediss:// ─→
//!                 └─ Unix socket ─────────────→
//! ```

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drumline_tls::{Encrypted, Encryption, Names};
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{
    AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo,
    RedisResult,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::either::Either;

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

/// The address of a Redis, read from its URL.
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
}

/// The task that moves the bytes of a connection; it ends with the last handle.
pub(crate) type Driver = Arc<JoinSet<()>>;

/// Checks a URL of Redis. The reason repeats nothing of it: it may hold a password.
///
/// # Errors
/// Says what is wrong.
pub fn check_url(url: &str) -> Result<(), String> {
    read(url).map(|_read| ())
}

/// The parts of a URL, and true if it asks for TLS.
fn read(url: &str) -> Result<(Target, RedisConnectionInfo, bool), String> {
    const EXPECTED: &str =
        "expected redis://user:password@host:6379/0, or rediss://…, redis+unix://… or unix://…";
    let (scheme, rest) = url.split_once("://").ok_or(EXPECTED)?;
    if rest.ends_with("#insecure") {
        return Err(
            "#insecure is not supported, because certificates are always verified: \
             name the file with the CA with --redis-ca-file"
                .to_owned(),
        );
    }
    if rest.contains('#') {
        return Err("a # in a user name or a password is written as %23".to_owned());
    }
    let (is_encrypted, plain) = match scheme {
        // The library needs to know nothing of TLS.
        "rediss" => (true, format!("redis://{rest}")),
        "redis" | "redis+unix" | "unix" => (false, url.to_owned()),
        _ => return Err(EXPECTED.to_owned()),
    };
    let info = plain.into_connection_info().map_err(|_may_repeat_it| {
        format!(
            "{EXPECTED}; in a user name or a password, / @ : ? and % are written as %2F %40 %3A %3F and %25"
        )
    })?;
    let target = match info.addr() {
        ConnectionAddr::Tcp(host, port) => Target::Tcp(host.clone(), *port),
        ConnectionAddr::Unix(path) => Target::Unix(path.clone()),
        _ => return Err(EXPECTED.to_owned()),
    };
    Ok((target, info.redis_settings().clone(), is_encrypted))
}

impl Address {
    /// Reads the address.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub(crate) fn of(options: &Options) -> Result<Self, String> {
        let (target, settings, is_encrypted) = read(&options.url)?;
        if !is_encrypted && !options.encryption.is_default() {
            return Err(
                "a CA, a certificate or a server name needs rediss:// in --redis-url".to_owned(),
            );
        }
        Ok(Self {
            target,
            settings,
            encryption: is_encrypted.then(|| options.encryption.clone()),
            patience: options.connect_timeout,
        })
    }

    /// Makes a connection for requests. Drop the driver to cut it.
    pub(crate) async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<(MultiplexedConnection, Driver)> {
        let connecting = async {
            let stream = self.open().await?;
            let (settings, config) = (&self.settings, config.clone());
            let (connection, driver) =
                MultiplexedConnection::new_with_config(settings, stream, config).await?;
            Ok((connection, driver))
        };
        let (connection, driver) = self.in_time(connecting).await?;
        let mut task = JoinSet::new();
        task.spawn(driver);
        Ok((connection, Arc::new(task)))
    }

    /// Makes a connection that listens to channels.
    pub(crate) async fn listen(&self) -> RedisResult<PubSub> {
        let connecting = async {
            let stream = self.open().await?;
            PubSub::new(&self.settings, stream).await
        };
        self.in_time(connecting).await
    }

    async fn in_time<T>(&self, connecting: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
        match timeout(self.patience, connecting).await {
            Ok(connected) => connected,
            Err(_elapsed) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }

    /// Opens the socket, and makes the handshake.
    async fn open(&self) -> io::Result<Stream> {
        let (host, port) = match &self.target {
            Target::Unix(path) => {
                return Ok(Either::Right(Either::Right(
                    UnixStream::connect(path).await?,
                )));
            }
            Target::Tcp(host, port) => (host, *port),
        };
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        tune(&stream)?;
        let Some(encryption) = &self.encryption else {
            return Ok(Either::Right(Either::Left(stream)));
        };
        let encrypted = encryption.clone().encrypt(stream, host, NAMES).await?;
        Ok(Either::Left(encrypted))
    }
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
    fn urls_are_read_and_secrets_in_bad_ones_are_not_repeated() {
        for good in [
            "redis://host",
            "rediss://u:p@host:6379/0",
            "redis://[::1]:6379?protocol=resp3",
            "redis://me:%2F%40%3A%25%23@host",
            "unix:///run/redis.sock",
        ] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for bad in [
            "host:6379",
            "amqp://me:hush@host",
            "redis://me:hush@host:port",
            "redis://me:hush/hush@host",
            "redis://me:hush#hush@host",
            "redis://me:hush:hush/@host:1:2",
            "rediss://me:hush@host/#insecure",
            "redis://me:hush@host/database",
        ] {
            let reason = check_url(bad).unwrap_err();
            assert!(!reason.contains("hush"), "{bad}: {reason}");
        }
        let refused = check_url("rediss://host/#insecure").unwrap_err();
        assert!(refused.contains("--redis-ca-file"), "{refused}");
    }

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
        assert_eq!(with_name("rediss://host"), Ok(()));
    }
}

//! A private Redis.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;

use crate::port;
use crate::ready::Probe;
use crate::server_dir::ServerDir;
use crate::tls_port::TlsPort;

const PROBE: Probe = Probe {
    sent: b"PING\r\n",
    answer: b"+PONG",
};

/// The time that Redis may take to start. It is up in some 20 ms; the rest is
/// for a busy machine, or for a long append-only file.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// The settings of a private Redis.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `appendonly`: true if data survive [`RedisServer::kill`]. Default true.
    pub append_only: bool,
    /// `appendfsync`: `always` (default), `everysec` or `no`.
    pub append_fsync: String,
    /// More arguments for `redis-server`, as `["--maxmemory", "100mb"]`.
    /// Default none.
    pub arguments: Vec<String>,
    /// TLS on a second port. Default none.
    pub tls: Option<TlsPort>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            append_only: true,
            append_fsync: "always".to_owned(),
            arguments: Vec::new(),
            tls: None,
        }
    }
}

/// A Redis server that lives as long as this value.
#[derive(Debug)]
pub struct RedisServer {
    server_dir: ServerDir,
    options: RedisOptions,
    port: u16,
    tls_port: u16,
}

impl RedisServer {
    /// Starts a server with append-only file and `appendfsync always`.
    ///
    /// # Errors
    /// When Redis is not installed or does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(RedisOptions::default()).await
    }

    /// Starts a server.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub async fn start_with(options: RedisOptions) -> anyhow::Result<Self> {
        let server = Self {
            server_dir: ServerDir::create("redis")?,
            options,
            port: port::free()?,
            tls_port: port::free()?,
        };
        server.restart().await?;
        Ok(server)
    }

    /// The URL for clients; the same over restarts.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// The URL of the port with TLS, under a name of this machine.
    #[must_use]
    pub fn tls_url(&self, host: &str) -> String {
        format!("rediss://{host}:{}", self.tls_port)
    }

    /// The address that it listens on, as `127.0.0.1:12345`: for a proxy.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.server_dir.log()
    }

    /// Kills it (SIGKILL) and waits until it is gone. Its data stay.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.server_dir.kill()
    }

    /// Starts it again on its data and its port; kills it first if it runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.restart_with(&[]).await
    }

    /// Acts as [`RedisServer::restart`], with these arguments behind its own.
    ///
    /// # Errors
    /// As [`RedisServer::restart`].
    pub async fn restart_with(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = self.command();
        command.args(arguments);
        self.server_dir
            .restart(&mut command, self.port, PROBE, START_TIMEOUT)
            .await
            .context("redis-server")
    }

    /// Kills it and deletes its data; [`RedisServer::restart`] starts it empty.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub fn wipe(&self) -> anyhow::Result<()> {
        self.server_dir.wipe()
    }

    /// SIGSTOP: connections stay, and nothing answers.
    ///
    /// # Errors
    /// When it is not running.
    pub fn stop_signal(&self) -> anyhow::Result<()> {
        self.server_dir.signal(Signal::STOP)
    }

    /// SIGCONT: goes on after [`RedisServer::stop_signal`].
    ///
    /// # Errors
    /// When it is not running.
    pub fn cont(&self) -> anyhow::Result<()> {
        self.server_dir.signal(Signal::CONT)
    }

    fn command(&self) -> Command {
        let append_only = if self.options.append_only {
            "yes"
        } else {
            "no"
        };
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .arg("--dir")
            .arg(self.server_dir.path("data"))
            .args(["--appendonly", append_only])
            .args(["--appendfsync", &self.options.append_fsync])
            // Snapshots would only steal time from the test.
            .args(["--save", ""])
            .args(["--maxmemory-policy", "noeviction"])
            .args(&self.options.arguments);
        if let Some(tls) = &self.options.tls {
            let auth_clients = if tls.wants_certificates { "yes" } else { "no" };
            command
                .args(["--tls-port", &self.tls_port.to_string()])
                .arg("--tls-cert-file")
                .arg(&tls.certificate.cert)
                .arg("--tls-key-file")
                .arg(&tls.certificate.key)
                .arg("--tls-ca-cert-file")
                .arg(&tls.client_ca)
                .args(["--tls-auth-clients", auth_clients]);
        }
        command
    }
}

//! A private RabbitMQ node, with a name service (epmd) of its own.
//!
//! The server's own start script is called directly: Debian's wrapper would
//! force its user and its directories on us.

use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;

use crate::port;
use crate::ready::Probe;
use crate::server_dir::ServerDir;
use crate::shared::named;
use crate::tls_port::TlsPort;

/// The protocol header of AMQP 0-9-1; a broker that is ready answers with a
/// method frame (type 1) on channel 0.
const PROBE: Probe = Probe {
    sent: b"AMQP\x00\x00\x09\x01",
    answer: b"\x01\x00\x00",
};

/// epmd's "names" request: length 1, then `n`. epmd answers with its own port,
/// whose upper bytes are always zero.
const NAMES: Probe = Probe {
    sent: b"\x00\x01n",
    answer: b"\x00\x00",
};

/// The time that a node may take to start: 4–5 s on a quiet machine, and more than two minutes
/// at a load of 40 on two cores.
const START_TIMEOUT: Duration = Duration::from_secs(600);

/// The folder of Debian's scripts.
const DEBIAN: &str = "/usr/lib/rabbitmq/bin";
/// Names the folder of the scripts of another release, for a whole test run.
const SCRIPTS: &str = "DRUMLINE_TEST_RABBITMQ_SCRIPTS";

/// The settings of a private RabbitMQ.
#[derive(Clone, Debug)]
pub struct RabbitOptions {
    /// The folder of `rabbitmq-server` and `rabbitmqctl`. Default: that in
    /// `DRUMLINE_TEST_RABBITMQ_SCRIPTS`, else Debian's. Set it to test against another release.
    pub scripts: PathBuf,
    /// Lines for `rabbitmq.conf`, as `"consumer_timeout = 10000"`. Default none.
    pub configuration: Vec<String>,
    /// TLS on a second port. Default none.
    pub tls: Option<TlsPort>,
}

impl Default for RabbitOptions {
    fn default() -> Self {
        Self {
            scripts: named(SCRIPTS).map_or_else(|| PathBuf::from(DEBIAN), PathBuf::from),
            configuration: Vec::new(),
            tls: None,
        }
    }
}

/// A RabbitMQ node that lives as long as this value.
#[derive(Debug)]
pub struct RabbitServer {
    server_dir: ServerDir,
    options: RabbitOptions,
    port: u16,
    tls_port: u16,
    distribution_port: u16,
    epmd_port: u16,
    cookie: String,
}

impl RabbitServer {
    /// Starts a node.
    ///
    /// # Errors
    /// When RabbitMQ is not installed or does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(RabbitOptions::default()).await
    }

    /// Starts a node.
    ///
    /// # Errors
    /// As [`RabbitServer::start`].
    pub async fn start_with(options: RabbitOptions) -> anyhow::Result<Self> {
        let server = Self::prepare(options, port::free()?, cookie()?)?;
        let mut epmd = Command::new("epmd");
        epmd.args(["-port", &server.epmd_port.to_string()])
            .args(["-address", "127.0.0.1"]);
        server
            .server_dir
            .start_helper(&mut epmd, server.epmd_port, NAMES, START_TIMEOUT)
            .await
            .context("epmd")?;
        server.restart().await?;
        Ok(server)
    }

    /// Starts a node that can join others: it has their secret and their name service,
    /// which ends with the first of them.
    ///
    /// # Errors
    /// As [`RabbitServer::start`].
    pub(crate) async fn start_beside(&self) -> anyhow::Result<Self> {
        let cookie = self.cookie.clone();
        let server = Self::prepare(self.options.clone(), self.epmd_port, cookie)?;
        server.restart().await?;
        Ok(server)
    }

    /// The folder and the files of a node.
    fn prepare(options: RabbitOptions, epmd_port: u16, cookie: String) -> anyhow::Result<Self> {
        let server = Self {
            server_dir: ServerDir::create("rabbitmq")?,
            options,
            port: port::free()?,
            tls_port: port::free()?,
            distribution_port: port::free()?,
            epmd_port,
            cookie,
        };
        // The file has the Erlang cookie: no foreign node can join.
        let file = server.server_dir.path(".erlang.cookie");
        std::fs::write(&file, &server.cookie)?;
        std::fs::set_permissions(&file, Permissions::from_mode(0o400))?;
        std::fs::write(server.server_dir.path("plugins"), "[].\n")?;
        let mut lines = server.options.configuration.clone();
        if let Some(tls) = &server.options.tls {
            lines.extend(listener(tls, server.tls_port));
        }
        let lines = lines.join("\n");
        std::fs::write(server.server_dir.path("rabbitmq.conf"), lines)?;
        Ok(server)
    }

    /// The name of the node among others.
    #[must_use]
    pub(crate) fn node(&self) -> String {
        format!("drumline-{}@localhost", self.port)
    }

    /// The URL for clients; the same over restarts.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://{}/%2f", self.address())
    }

    /// The URL of the port with TLS, under a name of this machine.
    #[must_use]
    pub fn tls_url(&self, host: &str) -> String {
        format!("amqps://{host}:{}/%2f", self.tls_port)
    }

    /// The address that it listens on, as `127.0.0.1:12345`: for a proxy.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
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
        let mut command = self.script("rabbitmq-server");
        self.server_dir
            .restart(&mut command, self.port, PROBE, START_TIMEOUT)
            .await
            .context("rabbitmq-server")
    }

    /// Kills it and deletes its data; [`RabbitServer::restart`] starts it empty.
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

    /// SIGCONT: goes on after [`RabbitServer::stop_signal`].
    ///
    /// # Errors
    /// When it is not running.
    pub fn cont(&self) -> anyhow::Result<()> {
        self.server_dir.signal(Signal::CONT)
    }

    /// Runs `rabbitmqctl` on this node, and returns its output. Takes a second
    /// or two; the caller's thread is not blocked.
    ///
    /// # Errors
    /// When it fails.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.tool("rabbitmqctl", arguments).await
    }

    /// Runs one of the tools of RabbitMQ (`rabbitmqctl`, `rabbitmq-queues`) on this node,
    /// and returns its output.
    pub(crate) async fn tool(&self, name: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = tokio::process::Command::from(self.script(name));
        let output = command
            .args(arguments)
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("cannot start {name}; `make test` installs it"))?;
        let Output {
            status,
            stdout,
            stderr,
        } = output;
        anyhow::ensure!(
            status.success(),
            "{name} {arguments:?}: {status}; {}",
            String::from_utf8_lossy(&stderr)
        );
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }

    /// One of RabbitMQ's scripts with this node's environment.
    fn script(&self, name: &str) -> Command {
        let path: &Path = &self.options.scripts;
        let mut command = Command::new(path.join(name));
        command
            .env("HOME", self.server_dir.path(""))
            .env("RABBITMQ_NODENAME", self.node())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            // Our epmd is there. A node would start another epmd, at its start
            // and every minute, which outlives us when it comes just as we end.
            .env("ERL_AFLAGS", "-start_epmd false")
            .env("RABBITMQ_MNESIA_BASE", self.server_dir.path("data"))
            .env("RABBITMQ_LOG_BASE", self.server_dir.path("logs"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_PID_FILE", self.server_dir.path("pid"))
            .env(
                "RABBITMQ_ENABLED_PLUGINS_FILE",
                self.server_dir.path("plugins"),
            )
            // Nothing from /etc/rabbitmq.
            .env(
                "RABBITMQ_CONFIG_FILE",
                self.server_dir.path("rabbitmq.conf"),
            )
            .env(
                "RABBITMQ_CONF_ENV_FILE",
                self.server_dir.path("no-such-file"),
            )
            .env(
                "RABBITMQ_ADVANCED_CONFIG_FILE",
                self.server_dir.path("no-such-file"),
            )
            // The script then becomes the server instead of waiting for it as
            // a child, so that the process that we kill is the server.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .env_remove("NOTIFY_SOCKET");
        command
    }
}

/// A secret that nodes know each other by.
fn cookie() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02X}")).collect())
}

/// The lines of `rabbitmq.conf` for a port with TLS.
fn listener(tls: &TlsPort, port: u16) -> Vec<String> {
    let TlsPort {
        certificate,
        client_ca,
        wants_certificates,
    } = tls;
    vec![
        format!("listeners.ssl.1 = 127.0.0.1:{port}"),
        format!("ssl_options.cacertfile = {}", client_ca.display()),
        format!("ssl_options.certfile = {}", certificate.cert.display()),
        format!("ssl_options.keyfile = {}", certificate.key.display()),
        "ssl_options.verify = verify_peer".to_owned(),
        format!("ssl_options.fail_if_no_peer_cert = {wants_certificates}"),
    ]
}

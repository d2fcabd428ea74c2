//! A private Prometheus.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::port;
use crate::ready::Probe;
use crate::server_dir::ServerDir;

const PROBE: Probe = Probe {
    sent: b"GET /-/ready HTTP/1.0\r\n\r\n",
    answer: b"HTTP/1.0 200",
};

/// The time that Prometheus may take to start. It is up in a second; the rest is for a
/// busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A Prometheus that scrapes some addresses each second, with their exemplars, and lives
/// as long as this value.
#[derive(Debug)]
pub struct Prometheus {
    _server_dir: ServerDir,
    port: u16,
}

impl Prometheus {
    /// Starts a server that scrapes `/metrics` of each address, as
    /// `("worker", "127.0.0.1:8081")`. The names become the label `job`.
    ///
    /// # Errors
    /// When Prometheus is not installed or does not come up.
    pub async fn scraping(targets: &[(&str, &str)]) -> anyhow::Result<Self> {
        let server_dir = ServerDir::create("prometheus")?;
        let port = port::free()?;
        let mut config = "global: {scrape_interval: 1s}\nscrape_configs:\n".to_owned();
        for (job, address) in targets {
            writeln!(
                config,
                "- {{job_name: {job}, static_configs: [{{targets: ['{address}']}}]}}"
            )?;
        }
        let data = server_dir.path("data");
        let file = data.join("prometheus.yml");
        fs::write(&file, config)?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--enable-feature=exemplar-storage");
        server_dir
            .restart(&mut command, port, PROBE, START_TIMEOUT)
            .await
            .context("prometheus")?;
        Ok(Self {
            _server_dir: server_dir,
            port,
        })
    }

    /// The URL of its API, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

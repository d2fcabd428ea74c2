//! Flags of `drumline health`.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use reqwest::Url;

use super::client::Tls;
use super::values;

pub(crate) const HEALTH_HELP: &str = "\
Exit code: 0 ready, or alive with --live; 1 not, or no answer. For the HEALTHCHECK of a container and the exec probe of \
an orchestrator. A certificate must be for the name in --url; with --connect the name need not lead to this machine.

Examples:
  drumline health                                             a queue manager on 127.0.0.1:8080
  drumline health --live --url http://127.0.0.1:8081          a worker with --health-listen 127.0.0.1:8081
  drumline health --url https://jobs.example.org:8443 --connect 127.0.0.1 --ca-file ca.pem";

/// `drumline health`.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// URL of the process: a queue manager, or --health-listen of a worker
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        value_parser = values::base_url
    )]
    pub(crate) url: Url,
    /// IP address to connect to, on the port of --url [default: the addresses of its host]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) connect: Option<IpAddr>,
    /// Ask whether the process is alive (/healthz), not whether it takes work (/readyz)
    #[arg(long)]
    pub(crate) live: bool,
    /// Maximum time to wait for the answer
    #[arg(long, value_name = "SPAN", default_value = "3s", value_parser = values::positive_duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) tls: Tls,
}

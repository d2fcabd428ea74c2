//! Flags of `drumline drill`.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::client::Output;
use super::service::{ServerConnection, Servers, lease};
use super::values;

pub(crate) const DRILL_HELP: &str = "\
The drill starts queue managers and workers of this program, creates operations, and meanwhile kills, stops and drains the processes and \
has RabbitMQ lose its messages. At the end it prints each promise of Drumline with the number of times that it was tested and violated. \
It works in a namespace of its own, which is removed at the end, and touches nothing else on the servers. No other \
fleet takes part: what is tested is this program on these servers.

RabbitMQ loses the messages and queues of the namespace. With --wipe-broker it loses all of its data, of every application: only for \
private servers, such as those that `make drill` starts.

Exit code: 0 every promise was kept, 1 a promise was violated, 7 the drill is void, because a fault that was to happen has not.

Examples:
  make drill                                       builds, and starts private servers
  drumline drill --redis-url redis://staging --amqp-url amqp://staging --report drill.html
  drumline drill --duration 1h --workers 8 --tokens 200 --rate 100";

/// `drumline drill`.
#[derive(Debug, Args)]
pub(crate) struct Drill {
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// Time for which faults happen, 20s to 24h; one round is completed, and everything brought to its end afterwards
    #[arg(long, value_name = "SPAN", default_value = "3m", value_parser = duration)]
    pub(crate) duration: Duration,
    /// Number of queue managers
    #[arg(long, value_name = "NUMBER", default_value = "2", value_parser = clap::value_parser!(u8).range(2..=20))]
    pub(crate) managers: u8,
    /// Number of workers
    #[arg(long, value_name = "NUMBER", default_value = "4", value_parser = clap::value_parser!(u8).range(2..=50))]
    pub(crate) workers: u8,
    /// Maximum number of operations that a worker runs at the same time
    #[arg(long, value_name = "NUMBER", default_value = "4")]
    pub(crate) concurrency: NonZeroU16,
    /// Number of dependency tokens, besides the four that stand still on purpose
    #[arg(long, value_name = "NUMBER", default_value = "40", value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) tokens: u16,
    /// Number of operations that are created per second
    #[arg(long, value_name = "NUMBER", default_value = "25")]
    pub(crate) rate: NonZeroU32,
    /// Lease of the workers, 500ms to 1h; a busy machine that makes them miss it is a fault more
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = lease)]
    pub(crate) lease: Duration,
    /// Seed of the random numbers of the drill [default: drawn]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Write a page for a browser to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Shell command that deletes all data of a private RabbitMQ, starts it again, and returns when it is up
    #[arg(long, value_name = "COMMAND")]
    pub(crate) wipe_broker: Option<String>,
    /// Keep logs and journals, which otherwise stay only when a promise was violated
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `drumline __drill-worker`: a worker of `drill` in a process of its own.
#[derive(Debug, Args)]
pub(crate) struct DrillWorker {
    #[command(flatten)]
    pub(crate) connection: ServerConnection,
    /// Journal that its handlers write
    #[arg(long)]
    pub(crate) journal: PathBuf,
    /// Address of the sink that its handlers write to
    #[arg(long)]
    pub(crate) sink: Option<SocketAddr>,
    /// Maximum number of operations that it runs at the same time
    #[arg(long)]
    pub(crate) concurrency: NonZeroU16,
    /// Lease of its locks
    #[arg(long, value_parser = lease)]
    pub(crate) lease: Duration,
}

/// Reads the duration of a drill: one round of faults at least.
fn duration(text: &str) -> Result<Duration, String> {
    let duration = values::duration(text)?;
    let (shortest, longest) = (drumline_drill::SHORTEST, Duration::from_secs(24 * 3600));
    if (shortest..=longest).contains(&duration) {
        Ok(duration)
    } else {
        let shortest = humantime::format_duration(shortest);
        Err(format!("expected {shortest} to 24h"))
    }
}

//! Flags of `drumline stats` and `drumline failures`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;

use super::client::Remote;
use super::values;

pub(crate) const STATS_HELP: &str = "\
The numbers are of all organizations. Processes write them once a minute, so the last minute may lack some. Waits and runs \
are known within a factor of two. Up to three hours are shown minute by minute, up to 72 hours in steps of ten minutes.

Examples:
  drumline stats
  drumline stats --since 24h --queue imports
  drumline stats --output json | jq .total.failed";

pub(crate) const FAILURES_HELP: &str = "\
Failures are counted together if message name and error code are the same, and their messages differ in numbers, ids and \
quoted texts only. The newest 1,000 groups are kept. A failure is counted some seconds later.

Examples:
  drumline failures
  drumline failures --output json | jq -r .sample | xargs drumline get";

pub(crate) const MUTE_HELP: &str = "\
Muted failures raise no alarm: they do not count in `drumline top`, in /v1/now and on the first page of the console. They are \
counted and listed as before. A mute always ends, after 30 days at the latest.

Examples:
  drumline failures
  drumline mute 00c0ffee00c0ffee --for 8h --reason 'the vendor repairs it on Monday'
  drumline unmute 00c0ffee00c0ffee";

/// `drumline stats`.
#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Time to look back, at most 72h
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = values::positive_duration)]
    pub(crate) since: Duration,
    /// Only operations of this queue
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<String>,
    /// Only operations with this message name
    #[arg(long, short = 'm', value_name = "NAME")]
    pub(crate) message: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline failures`.
#[derive(Debug, Args)]
pub(crate) struct Failures {
    /// Maximum number of groups, 1 to 1000
    #[arg(
        long,
        short = 'n',
        value_name = "NUMBER",
        default_value = "50",
        value_parser = clap::value_parser!(u16).range(1..=1_000)
    )]
    pub(crate) limit: u16,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline mute`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("end").required(true)))]
pub(crate) struct Mute {
    /// Id of the failure group: `drumline failures` shows it
    #[arg(value_name = "GROUP")]
    pub(crate) id: String,
    /// Reason, which everyone who looks is shown
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// The mute ends at this time
    #[arg(long, value_name = "TIME", value_parser = values::time, group = "end")]
    pub(crate) until: Option<DateTime<Utc>>,
    /// The mute ends after this span
    #[arg(long = "for", value_name = "SPAN", value_parser = values::positive_duration, group = "end")]
    pub(crate) for_: Option<Duration>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline unmute`.
#[derive(Debug, Args)]
pub(crate) struct Unmute {
    /// Id of the failure group
    #[arg(value_name = "GROUP")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

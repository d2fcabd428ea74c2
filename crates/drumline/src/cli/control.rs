//! Flags of the commands that change operations: by id, or all that match.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use drumline_protocol::{State, Status};

use super::client::{Filter, Remote};
use super::values;

pub(crate) const CANCEL_HELP: &str = "\
Examples:
  drumline cancel 019a9c1e-…
  drumline cancel --token crm --dry-run            how many would it be?
  drumline cancel --message SendMail --state Suspended --yes
  drumline cancel --all                            shows how many, and asks";

pub(crate) const PAUSE_HELP: &str = "\
A running operation is asked to stop; the command waits up to ten seconds until it has.

Examples:
  drumline pause 019a9c1e-…
  drumline pause --message SendMail --state Ready";

pub(crate) const RESUME_HELP: &str = "\
A Failed or Canceled operation that holds its token (--token-policy hold) is skipped by resuming it.

Examples:
  drumline resume 019a9c1e-…
  drumline resume --message SendMail --state Suspended --yes";

pub(crate) const DELETE_HELP: &str = "\
Examples:
  drumline delete 019a9c1e-…
  drumline delete --status Canceled --created-after 1h
To tidy up by age, see `drumline purge`.";

pub(crate) const POSTPONE_HELP: &str = "\
A running operation is asked to stop; the command waits up to ten seconds until it has.

Examples:
  drumline postpone 019a9c1e-… --in 2h
  drumline postpone 019a9c1e-… --until 2026-12-24T18:00:00Z
  drumline postpone --message SendMail --state Ready --in 1h";

pub(crate) const UPDATE_HELP: &str = "\
Examples:
  drumline update 019a9c1e-… --state Suspended                           as `drumline pause`
  drumline update 019a9c1e-… --postpone-until 2026-12-24T18:00:00Z       as `drumline postpone`
  drumline update 019a9c1e-… --recurrence 'FREQ=HOURLY;INTERVAL=6'       of a series";

pub(crate) const PURGE_HELP: &str = "\
Examples:
  drumline purge --older-than 30d --dry-run
  drumline purge --older-than 7d --status Succeeded --yes
Queue managers do this by themselves by outcome and age; this is for more, or for now.";

/// `drumline cancel`, `pause`, `resume`, `delete`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Control {
    /// Ids of operations
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline postpone`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
#[command(group(clap::ArgGroup::new("when").required(true)))]
pub(crate) struct Postpone {
    /// Ids of operations
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Until this time
    #[arg(long, value_name = "TIME", value_parser = values::time, group = "when")]
    pub(crate) until: Option<DateTime<Utc>>,
    /// For this span from now
    #[arg(long = "in", value_name = "SPAN", value_parser = values::duration, group = "when")]
    pub(crate) in_: Option<Duration>,
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Instead of ids: all operations that match.
#[derive(Debug, Default, Args)]
pub(crate) struct Selection {
    /// Instead of ids: every operation
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) consent: Consent,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

/// Before many operations are changed.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Consent {
    /// Change nothing, and say how many operations match
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y', conflicts_with = "dry_run")]
    pub(crate) yes: bool,
}

/// `drumline update`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
#[command(group(clap::ArgGroup::new("changes").required(true).multiple(true)))]
pub(crate) struct Update {
    /// Ids of operations
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Ready resumes, Suspended pauses, Completed cancels
    #[arg(long, value_name = "STATE", value_parser = values::state, group = "changes")]
    pub(crate) state: Option<State>,
    #[arg(
        long,
        value_name = "STATUS",
        value_parser = values::status,
        group = "changes",
        help = "As --state, more exactly: WaitingForResources, Waiting, Canceled"
    )]
    pub(crate) status: Option<Status>,
    /// Not before this time
    #[arg(long, value_name = "TIME", value_parser = values::time, group = "changes")]
    pub(crate) postpone_until: Option<DateTime<Utc>>,
    /// Another rule for a series: RFC 5545, in UTC
    #[arg(long, value_name = "RULE", group = "changes")]
    pub(crate) recurrence: Option<String>,
    /// Another start for a series
    #[arg(long, value_name = "TIME", value_parser = values::time, group = "changes")]
    pub(crate) recurrence_start: Option<DateTime<Utc>>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline purge`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Purge {
    /// Completed longer ago than this, such as 30d
    #[arg(long, value_name = "SPAN", value_parser = values::duration)]
    pub(crate) older_than: Duration,
    /// That ended like this: Succeeded, Failed, Canceled
    #[arg(long, value_name = "STATUS", value_parser = values::end_status, help_heading = "Only those")]
    pub(crate) status: Option<Status>,
    /// With this message name
    #[arg(
        long,
        alias = "message-name",
        value_name = "MESSAGE",
        help_heading = "Only those"
    )]
    pub(crate) message: Option<String>,
    /// With this dependency token
    #[arg(
        long,
        alias = "dependency-token",
        value_name = "TOKEN",
        help_heading = "Only those"
    )]
    pub(crate) token: Option<String>,
    #[command(flatten)]
    pub(crate) consent: Consent,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

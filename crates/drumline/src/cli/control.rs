//! Flags of the commands that change operations: by id, or all that match.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use drumline_protocol::{State, Status};

use super::actions::Lasting;
use super::client::Remote;
use super::filter::Filter;
use super::values;

pub(crate) const CANCEL_HELP: &str = "\
Examples:
  drumline cancel 019a9c1e-…
  drumline cancel --token crm --dry-run            counts them only
  drumline cancel --message SendMail --state Suspended --yes
  drumline cancel --all                            shows the number, and asks
  drumline cancel --message SendMail --why 'sent by mistake'
With --why, the service goes on by itself, also when the command ends: see `drumline actions`.";

pub(crate) const PAUSE_HELP: &str = "\
A running operation is asked to stop. The command waits up to ten seconds for it.

With --reason, the command pauses a queue, a message name, a token or (--all) the organization: no operation of it \
starts, present or future, on any worker, until the pause is lifted or its time is over. What runs goes on.

Examples:
  drumline pause 019a9c1e-…
  drumline pause --message SendMail --state Ready
  drumline pause --message SendMail --reason 'the mail server is down'
  drumline pause --queue imports --reason maintenance --for 2h
  drumline pause --all --organization contoso --reason 'an audit'";

pub(crate) const RESUME_HELP: &str = "\
A Failed or Canceled operation that holds its token (--token-policy hold) is skipped: the next one of the token starts.

Examples:
  drumline resume 019a9c1e-…
  drumline resume --message SendMail --state Suspended --yes
  drumline resume --message SendMail --pause       lifts the pause of the message name";

pub(crate) const PAUSES_HELP: &str = "\
Examples:
  drumline pauses
  drumline pauses --output json | jq -r .reason
`drumline pause --reason` sets a pause, `drumline resume --pause` lifts it.";

pub(crate) const FREEZE_HELP: &str = "\
Examples:
  drumline freeze --reason 'Redis moves to another server'
  drumline freeze --for 10m
  drumline thaw

Nothing starts any more, in any organization and on any worker; what runs goes on, and so do reads and creates. With keys, it \
needs an admin of all organizations. `drumline pause --all` stops one organization.";

pub(crate) const DELETE_HELP: &str = "\
Examples:
  drumline delete 019a9c1e-…
  drumline delete --status Canceled --created-after 1h
`drumline purge` deletes by age.";

pub(crate) const POSTPONE_HELP: &str = "\
A running operation is asked to stop. The command waits up to ten seconds for it.

Examples:
  drumline postpone 019a9c1e-… --in 2h
  drumline postpone 019a9c1e-… --until 2026-12-24T18:00:00Z
  drumline postpone --message SendMail --state Ready --in 1h";

pub(crate) const RUN_AGAIN_HELP: &str = "\
An operation ends once. Its work is done again by a new operation with the same attributes, which is the last of its \
token. Those that match conditions run again oldest first, and each only once within two days, however often the \
command is repeated.

Examples:
  drumline run-again 019a9c1e-…
  drumline run-again 019a9c1e-… --data @corrected.json --leave-token
  drumline run-again --status Failed --message SendMail --created-after 2h --dry-run
  drumline run-again --status Failed --message SendMail --created-after 2h --yes
  drumline run-again --failure 01a3b3a05b8f7c2d --status Failed --why 'the mail server is back'
With --why, the service goes on by itself, also when the command ends: see `drumline actions`.";

pub(crate) const UPDATE_HELP: &str = "\
Examples:
  drumline update 019a9c1e-… --state Suspended                           like `drumline pause`
  drumline update 019a9c1e-… --postpone-until 2026-12-24T18:00:00Z       like `drumline postpone`
  drumline update 019a9c1e-… --recurrence 'FREQ=HOURLY;INTERVAL=6'       for a series";

pub(crate) const PURGE_HELP: &str = "\
Examples:
  drumline purge --older-than 30d --dry-run
  drumline purge --older-than 7d --status Succeeded --yes
Queue managers remove old operations by themselves (--remove-succeeded-after, --remove-failed-after). This command \
removes more, or at once.";

/// `drumline cancel`, `delete`.
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

/// `drumline pause`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
#[command(group(clap::ArgGroup::new("end").requires("reason")))]
pub(crate) struct Pause {
    /// Ids of operations
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Pause the queue, message name, token or (--all) organization itself, for this reason
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// With --reason: the pause ends at this time
    #[arg(long, value_name = "TIME", value_parser = values::time, group = "end")]
    pub(crate) until: Option<DateTime<Utc>>,
    /// With --reason: the pause ends after this span
    #[arg(long = "for", value_name = "SPAN", value_parser = values::positive_duration, group = "end")]
    pub(crate) for_: Option<Duration>,
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline resume`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Resume {
    /// Ids of operations
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Lift the pause of the queue, message name, token or (--all) organization
    #[arg(long)]
    pub(crate) pause: bool,
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline pauses`.
#[derive(Debug, Args)]
pub(crate) struct Pauses {
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline freeze`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("end")))]
pub(crate) struct Freeze {
    /// Reason, which everyone who looks is shown
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Thaw by itself at this time
    #[arg(long, value_name = "TIME", value_parser = values::time, group = "end")]
    pub(crate) until: Option<DateTime<Utc>>,
    /// Thaw by itself after this span
    #[arg(long = "for", value_name = "SPAN", value_parser = values::positive_duration, group = "end")]
    pub(crate) for_: Option<Duration>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline thaw`.
#[derive(Debug, Args)]
pub(crate) struct Thaw {
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
    /// Postpone until this time
    #[arg(long, value_name = "TIME", value_parser = values::time, group = "when")]
    pub(crate) until: Option<DateTime<Utc>>,
    /// Postpone for this span from now
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
    /// Instead of ids: all operations
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) consent: Consent,
    #[command(flatten)]
    pub(crate) lasting: Lasting,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

/// Before many operations are changed.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Consent {
    /// Change nothing, and show how many operations match
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long, short = 'y', conflicts_with = "dry_run")]
    pub(crate) yes: bool,
}

/// `drumline run-again`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct RunAgain {
    /// Ids of Completed operations
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Other data: JSON text, @FILE, or - for standard input
    #[arg(
        long,
        short = 'd',
        value_name = "JSON|@FILE|-",
        allow_hyphen_values = true
    )]
    pub(crate) data: Option<String>,
    /// Another dependency token
    #[arg(long, value_name = "TOKEN", conflicts_with = "leave_token")]
    pub(crate) new_token: Option<String>,
    /// No dependency token: the new operations wait for no other one
    #[arg(long)]
    pub(crate) leave_token: bool,
    /// Another queue
    #[arg(long, value_name = "NAME")]
    pub(crate) new_queue: Option<String>,
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline update`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
#[command(group(clap::ArgGroup::new("changes").required(true).multiple(true)))]
pub(crate) struct Update {
    /// Ids of operations
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// New state: Ready resumes, Suspended pauses, Completed cancels
    #[arg(long, value_name = "STATE", value_parser = values::state, group = "changes")]
    pub(crate) state: Option<State>,
    #[arg(
        long,
        value_name = "STATUS",
        value_parser = values::status,
        group = "changes",
        help = "New status, like --state: WaitingForResources, Waiting, Canceled"
    )]
    pub(crate) status: Option<Status>,
    /// Postpone until this time
    #[arg(long, value_name = "TIME", value_parser = values::time, group = "changes")]
    pub(crate) postpone_until: Option<DateTime<Utc>>,
    /// New rule of a series: RFC 5545
    #[arg(long, value_name = "RULE", group = "changes")]
    pub(crate) recurrence: Option<String>,
    /// New start of a series
    #[arg(long, value_name = "TIME", value_parser = values::time, group = "changes")]
    pub(crate) recurrence_start: Option<DateTime<Utc>>,
    /// New time zone of a series, such as Europe/Berlin; UTC is one, too
    #[arg(long, value_name = "ZONE", group = "changes")]
    pub(crate) recurrence_time_zone: Option<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline purge`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Purge {
    /// Minimum time since completion, such as 30d
    #[arg(long, value_name = "SPAN", value_parser = values::duration)]
    pub(crate) older_than: Duration,
    /// With this status: Succeeded, Failed, Canceled
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

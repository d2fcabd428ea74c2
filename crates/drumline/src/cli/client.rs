//! Flags of the commands that talk to a queue manager over HTTP.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use drumline_protocol::view::ExhaustedView;
use drumline_protocol::{QueueName, State, Status};
use reqwest::Url;
use uuid::Uuid;

use super::values::{self, Format, Since};

pub(crate) const SUBMIT_HELP: &str = "\
Examples:
  drumline submit ImportSolution --data @request.json --token crm
  echo '{\"to\": \"a@example.org\"}' | drumline submit SendMail --data - --in 10m
  drumline submit Report --data '{\"year\": 2026}' --wait --output json | jq .result

Many at once: one JSON request per line, as `POST /v1/operations` takes it.
  {\"messageName\": \"ImportSolution\", \"dependencyToken\": \"crm\", \"data\": {\"file\": \"crm_1_0.zip\"}}
  drumline submit --file operations.jsonl
All lines are checked before the first is sent. Lines of one token are created in the order of the file. Each line \
has an idempotency key made of the file's content and its number: after an interruption, run the same command again, \
and nothing is created twice.

With --wait the exit code is that of `drumline wait`.";

pub(crate) const GET_HELP: &str = "\
Examples:
  drumline get 019a9c1e-…
  drumline get --output json 019a9c1e-… | jq .status";

pub(crate) const LIST_HELP: &str = "\
Examples:
  drumline list --state Suspended
  drumline list --message ImportSolution --token crm --limit 500
  drumline list --status Failed --created-after 24h --output json | jq -r .id | xargs drumline delete";

pub(crate) const WAIT_HELP: &str = "\
Exit code: 0 all Succeeded, 1 one Failed, 2 one was Canceled (and none Failed), 3 not all were Completed in time.

Examples:
  id=$(drumline submit Report --output json | jq -r .id)
  drumline wait $id --timeout 10m || echo \"ended with $?\"";

pub(crate) const POSTPONE_HELP: &str = "\
Examples:
  drumline postpone 019a9c1e-… --in 2h
  drumline postpone 019a9c1e-… --until 2026-12-24T18:00:00Z";

/// How to reach the service, and how to answer.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server and output")]
pub(crate) struct Remote {
    /// The queue manager
    #[arg(
        long,
        env = "DRUMLINE_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        value_parser = values::base_url
    )]
    pub(crate) server: Url,
    /// How long one request may take
    #[arg(
        long,
        env = "DRUMLINE_REQUEST_TIMEOUT",
        value_name = "SPAN",
        default_value = "30s",
        value_parser = values::positive_duration
    )]
    pub(crate) request_timeout: Duration,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// How to answer.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// Text for people, or JSON (one value per line) for programs
    #[arg(
        long,
        short = 'o',
        env = "DRUMLINE_OUTPUT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(crate) output: Format,
}

/// `drumline submit`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Submit {
    /// What to do: the message name that picks the handler
    #[arg(value_name = "MESSAGE", required_unless_present = "file")]
    pub(crate) message: Option<String>,
    /// JSON Lines file with one request per line; - for standard input
    #[arg(
        long,
        short = 'f',
        value_name = "FILE",
        conflicts_with_all = ["message", "Attributes", "idempotency_key"]
    )]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) attributes: Attributes,
    /// Repeating a submit with the same key (and the same request) creates nothing twice
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// With --file: go on from an earlier run of a file that was corrected since; the message of that run has the key
    #[arg(long, value_name = "KEY", requires = "file")]
    pub(crate) continue_as: Option<String>,
    /// With --file: how many requests may be on their way at the same time
    #[arg(
        long,
        env = "DRUMLINE_IN_FLIGHT",
        value_name = "NUMBER",
        default_value = "32"
    )]
    pub(crate) in_flight: NonZeroUsize,
    /// Wait until it is Completed
    #[arg(long)]
    pub(crate) wait: bool,
    /// With --wait: not longer than this
    #[arg(
        long,
        value_name = "SPAN",
        requires = "wait",
        value_parser = values::positive_duration
    )]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// The attributes of one new operation.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Attributes")]
#[group(id = "Attributes", multiple = true)]
pub(crate) struct Attributes {
    /// The payload: JSON text, @FILE, or - for standard input
    #[arg(
        long,
        short = 'd',
        value_name = "JSON|@FILE|-",
        allow_hyphen_values = true
    )]
    pub(crate) data: Option<String>,
    /// A name for people
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Dependency token: operations with an equal one run strictly in order
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// Operation type [default: 54, Execute Async Request]
    #[arg(long = "type", value_name = "NUMBER")]
    pub(crate) operation_type: Option<u32>,
    /// Queue: which pool of workers does it
    #[arg(long, value_name = "QUEUE")]
    pub(crate) queue: Option<QueueName>,
    /// Not before this time
    #[arg(long, value_name = "TIME", value_parser = values::time, conflicts_with = "in_")]
    pub(crate) postpone_until: Option<DateTime<Utc>>,
    /// Not before this span has passed
    #[arg(id = "in_", long = "in", value_name = "SPAN", value_parser = values::duration)]
    pub(crate) in_: Option<Duration>,
    /// Equal for operations that belong together
    #[arg(long, value_name = "UUID")]
    pub(crate) correlation_id: Option<Uuid>,
    /// The request that it comes from
    #[arg(long, value_name = "UUID")]
    pub(crate) request_id: Option<Uuid>,
    /// The operation whose handler creates it [default: in a handler's command, that operation]
    #[arg(long, value_name = "UUID")]
    pub(crate) parent_id: Option<Uuid>,
    /// What kind of record it is about
    #[arg(long, value_name = "TYPE")]
    pub(crate) entity_type: Option<String>,
    /// The record it is about
    #[arg(long, value_name = "UUID")]
    pub(crate) regarding: Option<Uuid>,
    /// Do not keep it for the whole retention time when it has Succeeded
    #[arg(long)]
    pub(crate) forget: bool,
    /// Fail instead of starting a second time
    #[arg(long)]
    pub(crate) at_most_once: bool,
    /// How often it is tried again; 0 = the first failure is final
    #[arg(long, value_name = "NUMBER")]
    pub(crate) retry_max: Option<u32>,
    /// The first delay before it is tried again
    #[arg(long, value_name = "SPAN", value_parser = values::duration)]
    pub(crate) retry_initial: Option<Duration>,
    /// Each further delay is this many times the one before
    #[arg(long, value_name = "NUMBER")]
    pub(crate) retry_factor: Option<u32>,
    /// No delay is longer
    #[arg(long, value_name = "SPAN", value_parser = values::duration)]
    pub(crate) retry_longest: Option<Duration>,
    /// What follows the last retry
    #[arg(long, value_name = "WHAT")]
    pub(crate) retry_exhausted: Option<Exhausted>,
}

/// `--retry-exhausted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Exhausted {
    /// It fails
    Fail,
    /// It waits for a person
    Suspend,
}

impl From<Exhausted> for ExhaustedView {
    fn from(exhausted: Exhausted) -> Self {
        match exhausted {
            Exhausted::Fail => Self::Fail,
            Exhausted::Suspend => Self::Suspend,
        }
    }
}

/// `drumline get`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Get {
    /// Ids of operations
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// At most so many; 0 = all there are
    #[arg(long, short = 'n', value_name = "NUMBER", default_value = "50")]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// What to list; several conditions must all hold.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Only those")]
pub(crate) struct Filter {
    /// In this state: Ready, Suspended, Locked, Completed
    #[arg(long, value_name = "STATE", value_parser = values::state)]
    pub(crate) state: Option<State>,
    #[arg(
        long,
        value_name = "STATUS",
        value_parser = values::status,
        help = "With this status: WaitingForResources, Waiting, InProgress, Pausing, Canceling, Succeeded, \
                Failed, Canceled"
    )]
    pub(crate) status: Option<Status>,
    /// With this message name
    #[arg(long, value_name = "MESSAGE")]
    pub(crate) message: Option<String>,
    /// With this name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// With this dependency token
    #[arg(long, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// Of this operation type
    #[arg(long = "type", value_name = "NUMBER")]
    pub(crate) operation_type: Option<u32>,
    /// With this correlation id
    #[arg(long, value_name = "UUID")]
    pub(crate) correlation_id: Option<Uuid>,
    /// Created after this time, or in the last so long: 2026-11-20T15:42:00Z, 2h
    #[arg(long, value_name = "TIME|SPAN", value_parser = values::since)]
    pub(crate) created_after: Option<Since>,
}

/// `drumline wait`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Wait {
    /// Ids of operations
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Not longer than this
    #[arg(long, value_name = "SPAN", value_parser = values::positive_duration)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline cancel`, `pause`, `resume`, `delete`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Control {
    /// Ids of operations
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline postpone`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
#[command(group(clap::ArgGroup::new("when").required(true)))]
pub(crate) struct Postpone {
    /// Ids of operations
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Until this time
    #[arg(long, value_name = "TIME", value_parser = values::time, group = "when")]
    pub(crate) until: Option<DateTime<Utc>>,
    /// For this span from now
    #[arg(long = "in", value_name = "SPAN", value_parser = values::duration, group = "when")]
    pub(crate) in_: Option<Duration>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

//! Flags of `submit`.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use drumline_client::{ExhaustedView, TokenPolicy};
use drumline_protocol::QueueName;
use uuid::Uuid;

use super::client::Remote;
use super::values;

pub(crate) const SUBMIT_HELP: &str = "\
Examples:
  drumline submit ImportSolution --data @request.json --token crm
  echo '{\"to\": \"a@example.org\"}' | drumline submit SendMail --data - --in 10m
  drumline submit Report --data '{\"year\": 2026}' --wait --output json | jq .result
  drumline submit CloseBooks --recurrence 'FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=22' --name monthly
  drumline submit Migrate --token crm --token-policy hold --webhook https://ops.example.org/drumline

Many operations at once, with one JSON request per line, as `POST /v1/operations` takes it:
  {\"messageName\": \"ImportSolution\", \"dependencyToken\": \"crm\", \"data\": {\"file\": \"crm_1_0.zip\"}}
  drumline submit --file operations.jsonl
All lines are checked before the first is sent. They are created in the order of the file, up to a thousand with one \
request. Each line has an idempotency key, made of the file's content and the number of the line: after an \
interruption, run the same command again, and nothing is created twice.

With --wait the exit code is that of `drumline wait`.";

/// `drumline submit`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Submit {
    /// Message name, which selects the handler
    #[arg(value_name = "MESSAGE", required_unless_present = "file")]
    pub(crate) message: Option<String>,
    /// JSON Lines file with one request per line; - reads standard input
    #[arg(
        long,
        short = 'f',
        value_name = "FILE",
        conflicts_with_all = ["message", "Attributes", "idempotency_key"]
    )]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) attributes: Attributes,
    /// Idempotency key: the same key with the same request creates only once; not with --in
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// With --file: continue an earlier run after the file was corrected; the message of that run has the key
    #[arg(long, value_name = "KEY", requires = "file")]
    pub(crate) continue_as: Option<String>,
    /// Wait until it is Completed; not with --recurrence
    #[arg(long)]
    pub(crate) wait: bool,
    /// With --wait: maximum time to wait [default: no limit]
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
    /// Payload: JSON text, @FILE, or - for standard input
    #[arg(
        long,
        short = 'd',
        value_name = "JSON|@FILE|-",
        allow_hyphen_values = true
    )]
    pub(crate) data: Option<String>,
    /// Name for people
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Dependency token: operations with equal tokens run strictly in order
    #[arg(long, alias = "dependency-token", value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// What follows for its token when it fails or is cancelled [default: the queue manager's --token-policy]
    #[arg(long, value_name = "POLICY", requires = "token")]
    pub(crate) token_policy: Option<OnTrouble>,
    /// Recurrence rule: RFC 5545, in UTC, such as FREQ=DAILY;INTERVAL=3
    #[arg(long, value_name = "RULE")]
    pub(crate) recurrence: Option<String>,
    /// Start of the recurrence [default: now]
    #[arg(long, value_name = "TIME", value_parser = values::time, requires = "recurrence")]
    pub(crate) recurrence_start: Option<DateTime<Utc>>,
    /// Webhook: an address that gets a signed POST when the operation is Completed
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    /// Operation type [default: 54, Execute Async Request]
    #[arg(long = "type", value_name = "NUMBER")]
    pub(crate) operation_type: Option<u32>,
    /// Queue: the pool of workers that runs it [default: default]
    #[arg(long, value_name = "QUEUE")]
    pub(crate) queue: Option<QueueName>,
    /// Earliest time to start, such as 2026-11-20T15:42:00Z
    #[arg(long, value_name = "TIME", value_parser = values::time, conflicts_with = "in_")]
    pub(crate) postpone_until: Option<DateTime<Utc>>,
    /// Span from now to the earliest start, such as 10m
    #[arg(id = "in_", long = "in", value_name = "SPAN", value_parser = values::duration)]
    pub(crate) in_: Option<Duration>,
    /// Correlation id, the same for operations that belong together
    #[arg(long, value_name = "UUID")]
    pub(crate) correlation_id: Option<Uuid>,
    /// Id of the request that it comes from
    #[arg(long, value_name = "UUID")]
    pub(crate) request_id: Option<Uuid>,
    /// Id of the operation whose handler creates it [default: in a command handler, its operation]
    #[arg(long, value_name = "UUID")]
    pub(crate) parent_id: Option<Uuid>,
    /// Type of the record that it is about
    #[arg(long, value_name = "TYPE")]
    pub(crate) entity_type: Option<String>,
    /// Id of the record that it is about
    #[arg(long, value_name = "UUID")]
    pub(crate) regarding: Option<Uuid>,
    /// Keep it only for --remove-transient-after when it has Succeeded
    #[arg(long)]
    pub(crate) forget: bool,
    /// Never start it a second time: it fails when its worker is lost
    #[arg(long)]
    pub(crate) at_most_once: bool,
    /// Maximum number of retries; 0 makes the first failure final [default: 10]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) retry_max: Option<u32>,
    /// Delay before the first retry [default: 5s]
    #[arg(long, value_name = "SPAN", value_parser = values::duration)]
    pub(crate) retry_initial: Option<Duration>,
    /// Factor by which each further delay grows [default: 2]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) retry_factor: Option<u32>,
    /// Longest delay between retries [default: 1h]
    #[arg(long, value_name = "SPAN", value_parser = values::duration)]
    pub(crate) retry_longest: Option<Duration>,
    /// Outcome after the last retry [default: fail]
    #[arg(long, value_name = "WHAT")]
    pub(crate) retry_exhausted: Option<Exhausted>,
}

/// `--retry-exhausted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Exhausted {
    /// The operation fails
    Fail,
    /// The operation waits for a person
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

/// `--token-policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnTrouble {
    /// The next operation of the token starts
    Continue,
    /// The token waits until the operation is resumed (skipped)
    Hold,
}

impl From<OnTrouble> for TokenPolicy {
    fn from(policy: OnTrouble) -> Self {
        match policy {
            OnTrouble::Continue => Self::Continue,
            OnTrouble::Hold => Self::Hold,
        }
    }
}

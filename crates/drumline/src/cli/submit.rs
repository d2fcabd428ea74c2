//! Flags of `submit`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::attributes::Attributes;
use super::client::Remote;
use super::values;

pub(crate) const SUBMIT_HELP: &str = "\
Examples:
  drumline submit ImportSolution --data @request.json --token crm
  echo '{\"to\": \"a@example.org\"}' | drumline submit SendMail --data - --in 10m
  drumline submit Report --data '{\"year\": 2026}' --wait --output json | jq .result
  drumline submit CloseBooks --recurrence 'FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=22;BYMINUTE=0;BYSECOND=0' --name monthly
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

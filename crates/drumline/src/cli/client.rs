//! Flags of the commands that read operations, and the common flags of all
//! commands that talk to a queue manager.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use drumline_client::Builder;
use drumline_protocol::Status;
use reqwest::Url;
use uuid::Uuid;

use super::filter::Filter;
use super::values::{self, Format, Since};
use crate::exit::{Exit, Failure, Result};

pub(crate) const GET_HELP: &str = "\
Examples:
  drumline get 019a9c1e-…
  drumline get --output json 019a9c1e-… | jq .status

The line `waits for` (`waitingFor` in JSON) says why an operation does not run or does not end. A series shows its \
next times. `drumline attempts ID` shows what the handler has printed.";

pub(crate) const EXPLAIN_HELP: &str = "\
Examples:
  drumline explain 019a9c1e-…
  drumline list --state Ready --output json | jq -r .id | head -20 | xargs drumline explain

An operation behind others of its token waits for the first of them: the line says what that one waits for, too. The \
reasons are in docs/operations.md.";

pub(crate) const BACKUP_HELP: &str = "\
The file has everything that was answered before the command began, with the data of all organizations: it is readable for its user \
alone. Its checksums are verified before it gets its name. To restore it, make it the only file of a folder, as drumline.redb, \
and start `drumline standalone` there; docs/standalone.md has the commands. If the service has keys, the command needs one of an \
admin of all organizations. Redis has backups of its own.

Examples:
  drumline backup /backup/drumline-$(date +%F).redb
  drumline backup --server https://jobs.example.org --api-key-file admin.key drumline.redb";

pub(crate) const TOP_HELP: &str = "\
On a terminal the command shows the state again and again, until Ctrl-C. Through a pipe, or with --once, it shows it once: \
the exit code is 0 if nothing needs a person, and 1 otherwise.

Examples:
  drumline top
  drumline top --once || mail -s 'Drumline needs you' ops@example.org
  drumline top --output json | jq -r '.findings[0].sentence'";

pub(crate) const HISTORY_HELP: &str = "\
Examples:
  drumline history 019a9c1e-…
  drumline history --output json 019a9c1e-… | jq -r '.entries[] | select(.event == \"retry\") | .reason'

Every change has a line, oldest first: when, what, the status that followed, and who did it. The first 4 and the last 28 \
changes are kept.";

pub(crate) const ATTEMPTS_HELP: &str = "\
Examples:
  drumline attempts 019a9c1e-…
  drumline attempts --last 019a9c1e-…               what the last attempt has printed
  drumline attempts --output json 019a9c1e-… | jq -r '.attempts[-1].output'

Each start of a handler has a line: when, on which host, and how it ended. Below it stands the end of what the handler has \
printed: 64 KiB of the last attempt that has failed, 4 KiB of others, 1 KiB of one that has succeeded, of four attempts and the last failed one. It is stored when the attempt ends; \
an attempt whose worker was lost has none.";
pub(crate) const AUDIT_HELP: &str = "\
Examples:
  drumline audit --action cancel --since 2h
  drumline audit --who jo --limit 500
  drumline audit --id 019a9c1e-…
  drumline audit --outcome denied --output json | jq -r .reason

The newest 10,000 changes and denied requests of the service are kept, newest first. A key of one organization is shown \
the entries of that organization.";

pub(crate) const LIST_HELP: &str = "\
Examples:
  drumline list --state Suspended
  drumline list --message ImportSolution --token crm --limit 500
  drumline list --holds-token                      their chains wait for a person
  drumline list --status Failed --created-after 24h --output json | jq -r .id | xargs drumline delete";

pub(crate) const WAIT_HELP: &str = "\
Exit code: 0 all Succeeded, 1 one Failed, 2 one was Canceled and none Failed, 3 not all were Completed in time.

Examples:
  id=$(drumline submit Report --output json | jq -r .id)
  drumline wait $id --timeout 10m || echo \"ended with $?\"";

pub(crate) const EXECUTE_HELP: &str = "\
Examples:
  echo '{\"requestName\": \"ExecuteAsync\", \"parameters\": {\"request\": {\"requestName\": \"ImportSolution\"}}}' | drumline execute -f -
  drumline execute --file batch.json --output json | jq .results

batch.json, for example (a batch with more requests than --max-batch-size is refused as a whole):
  {\"requestName\": \"ExecuteMultiple\", \"parameters\": {
    \"settings\": {\"continueOnError\": true, \"returnResponses\": true},
    \"requests\": [
      {\"requestName\": \"Create\", \"parameters\": {\"target\": {\"messageName\": \"SendMail\"}}},
      {\"requestName\": \"Delete\", \"parameters\": {\"id\": \"019a9c1e-…\"}}]}}

Exit code: 0 executed, 6 the request or one of its items faulted.";

pub(crate) const EVENTS_HELP: &str = "\
Examples:
  drumline events
  drumline events --status Failed --output json | jq -r .operation.message
  drumline events --message ImportSolution --limit 1       waits for the next completion

Every line of JSON has the event's id. --after ID continues after that event. The command reconnects without loss.";

/// How to reach the service, and how to answer.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server and output")]
pub(crate) struct Remote {
    /// URL of the queue manager
    #[arg(
        long,
        env = "DRUMLINE_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        value_parser = values::base_url
    )]
    pub(crate) server: Url,
    /// Time limit of one request
    #[arg(
        long,
        env = "DRUMLINE_REQUEST_TIMEOUT",
        value_name = "SPAN",
        default_value = "30s",
        value_parser = values::positive_duration
    )]
    pub(crate) request_timeout: Duration,
    /// API key, drl_…; better in a file: see --api-key-file
    #[arg(
        long,
        env = "DRUMLINE_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub(crate) api_key: Option<values::Hidden>,
    /// File that holds the API key
    #[arg(long, env = "DRUMLINE_API_KEY_FILE", value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tls: Tls,
    /// Organization of the operations [default: default]
    #[arg(long, env = "DRUMLINE_ORGANIZATION", value_name = "NAME")]
    pub(crate) organization: Option<String>,
    /// Caller, which owns the operations that it creates [default: anonymous]
    #[arg(long, env = "DRUMLINE_CALLER", value_name = "NAME")]
    pub(crate) caller: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// How an `https://` server is verified.
#[derive(Clone, Debug, Args)]
pub(crate) struct Tls {
    /// PEM file with the CAs that may have signed the server's certificate [default: those of the system]
    #[arg(long, env = "DRUMLINE_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// PEM file with the certificate to show to the server; needs --client-key
    #[arg(long, env = "DRUMLINE_CLIENT_CERT", value_name = "FILE")]
    pub(crate) client_cert: Option<PathBuf>,
    /// PEM file with the key of --client-cert
    #[arg(long, env = "DRUMLINE_CLIENT_KEY", value_name = "FILE")]
    pub(crate) client_key: Option<PathBuf>,
}

impl Tls {
    /// The client with these files.
    ///
    /// # Errors
    /// When only one half of a certificate is named.
    pub(crate) fn apply(&self, mut builder: Builder) -> Result<Builder> {
        if let Some(path) = &self.ca_file {
            builder = builder.ca_file(path);
        }
        match (&self.client_cert, &self.client_key) {
            (Some(cert), Some(key)) => Ok(builder.client_certificate(cert, key)),
            (None, None) => Ok(builder),
            (Some(_), None) => Err(Failure::new(
                Exit::Usage,
                "--client-cert needs --client-key",
            )),
            (None, Some(_)) => Err(Failure::new(
                Exit::Usage,
                "--client-key needs --client-cert",
            )),
        }
    }
}

/// How to answer.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// Output format: text for people, json (one value per line) for programs
    #[arg(
        long,
        short = 'o',
        env = "DRUMLINE_OUTPUT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(crate) output: Format,
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

/// `drumline explain`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Explain {
    /// Ids of operations
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline backup`.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// File to make; it must not be there
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline top`.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Show the state once
    #[arg(long)]
    pub(crate) once: bool,
    /// Time between two looks
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = values::positive_duration)]
    pub(crate) every: Duration,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline whoami`.
#[derive(Debug, Args)]
pub(crate) struct WhoAmI {
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline quotas`.
#[derive(Debug, Args)]
pub(crate) struct Quotas {
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline history`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct History {
    /// Ids of operations
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline attempts`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Attempts {
    /// Ids of operations
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Show the last attempt alone
    #[arg(long)]
    pub(crate) last: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline audit`.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// By this caller, key (key:ID) or user of the broker (user:NAME)
    #[arg(long, value_name = "WHO")]
    pub(crate) who: Option<String>,
    /// With this in the action, or with this organization request
    #[arg(long, value_name = "TEXT")]
    pub(crate) action: Option<String>,
    /// About this operation or pause
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// With this outcome
    #[arg(long, value_name = "OUTCOME", value_parser = ["done", "denied", "refused", "failed", "leftOut"])]
    pub(crate) outcome: Option<String>,
    /// Of this organization, where all are shown
    #[arg(long = "in", value_name = "ORGANIZATION")]
    pub(crate) of: Option<String>,
    /// At this time or later, or at most this span ago
    #[arg(long, value_name = "TIME|SPAN", value_parser = values::since)]
    pub(crate) since: Option<Since>,
    /// At this time or earlier, or at least this span ago
    #[arg(long, value_name = "TIME|SPAN", value_parser = values::since)]
    pub(crate) until: Option<Since>,
    /// Maximum number of entries; 0 lists all
    #[arg(long, short = 'n', value_name = "NUMBER", default_value = "50")]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Maximum number of operations; 0 lists all
    #[arg(long, short = 'n', value_name = "NUMBER", default_value = "50")]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline wait`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Wait {
    /// Ids of operations
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Maximum time to wait [default: no limit]
    #[arg(long, value_name = "SPAN", value_parser = values::positive_duration)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline execute`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Execute {
    /// File with one organization request as JSON; - reads standard input
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// `drumline events`.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// With this message name
    #[arg(
        long,
        alias = "message-name",
        value_name = "MESSAGE",
        help_heading = "Only those"
    )]
    pub(crate) message: Option<String>,
    /// With this status: Succeeded, Failed, Canceled
    #[arg(long, value_name = "STATUS", value_parser = values::end_status, help_heading = "Only those")]
    pub(crate) status: Option<Status>,
    /// With this name
    #[arg(long, value_name = "NAME", help_heading = "Only those")]
    pub(crate) name: Option<String>,
    /// With this dependency token
    #[arg(
        long,
        alias = "dependency-token",
        value_name = "TOKEN",
        help_heading = "Only those"
    )]
    pub(crate) token: Option<String>,
    /// With this correlation id
    #[arg(long, value_name = "UUID", help_heading = "Only those")]
    pub(crate) correlation_id: Option<Uuid>,
    /// Start after this event; 0 starts with the oldest that is stored [default: start now]
    #[arg(long, value_name = "EVENT")]
    pub(crate) after: Option<String>,
    /// Stop after this number of events; 0 never stops
    #[arg(long, short = 'n', value_name = "NUMBER", default_value = "0")]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

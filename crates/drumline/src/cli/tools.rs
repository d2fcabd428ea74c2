//! Flags of the commands for operators: `doctor`, `check`, `index`, `export`, `import`, `bench`, `config`; and of
//! `check-handler`, for authors of handlers.

use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use drumline_bench::Measurement;
use drumline_protocol::IndexKind;
use reqwest::Url;

use super::client::{Output, Tls};
use super::service::{ServerConnection, Servers};
use super::values;

pub(crate) const DOCTOR_HELP: &str = "\
The command changes nothing, except for temporary keys in Redis and a temporary queue in RabbitMQ, which it removes. Exit code: 0 nothing must be changed, 1 \
something must be changed.

Examples:
  drumline doctor --redis-url redis://redis --amqp-url amqp://rabbit --server http://127.0.0.1:8080
  drumline doctor --output json | jq 'select(.level != \"ok\")'";

pub(crate) const CHECK_HELP: &str = "\
Every record is compared with the sets, chains and locks that it must be in, every entry of them with its record, and the counts of \
usage with the operations. The services go on meanwhile, and operations that change are no faults. Without --repair the command \
only reads. It goes through the whole of Redis, some hundred keys at a time; an interrupt loses nothing. docs/runbooks/check.md \
explains each kind of fault. Exit code: 0 no faults, or all repaired, 8 faults are left.

Examples:
  drumline check --redis-url redis://redis
  drumline check --repair
  drumline check --partition 7 --output json | jq 'select(.repaired == false)'";

pub(crate) const INDEX_HELP: &str = "\
The indexes: message-name, outcome (Failed and Canceled operations), correlation, name, parent, record, owner, token. Lists by a \
value whose index is off, or is being rebuilt, look at all operations. The services go on meanwhile. A command that was interrupted \
goes on when it is started again.

Examples:
  drumline index                                   shows which are on
  drumline index --off owner --off name            saves their memory
  drumline index --rebuild owner                   switches it on again, or repairs it";

pub(crate) const EXPORT_HELP: &str = "\
The operations, with ids, chains, due times, reports and payloads, and the pauses, one JSON value per line. No queue manager and no \
worker may be running. Idempotency keys and notices that are owed to webhooks are not exported. The file has the payloads: keep it \
where only its user can read it.

Examples:
  (umask 077; drumline export --redis-url redis://old > operations.jsonl)
  drumline export --org contoso --history > contoso.jsonl
  drumline export --data /var/lib/drumline > operations.jsonl";

pub(crate) const IMPORT_HELP: &str = "\
Operations keep their ids, and tokens their order. One that was running is treated as if its worker was lost: it is Ready again, \
with its starts counted, or Failed if it may run at most once. An import that is repeated recognises what it has stored, and goes on. \
No queue manager and no worker may be running. Exit code: 5 some ids belong to other operations, which stay; 65 the file is cut.

Examples:
  drumline import --redis-url redis://new < operations.jsonl
  drumline import --data /var/lib/drumline < operations.jsonl";

pub(crate) const CHECK_HANDLER_HELP: &str = "\
The command runs in this process, without servers. The handler is started for four operations: one comes to its end, the worker \
of one is killed, one is paused and resumed, and one is cancelled. The work must take longer than --stop-after, or the last three \
are skipped. Exit code: 0 nothing was wrong, 1 something was.

Examples:
  drumline check-handler --data '{\"file\": \"a.zip\"}' -- ./import.sh --strict
  drumline check-handler --http http://127.0.0.1:9000/hook --grace 30s";

pub(crate) const BENCH_HELP: &str = "\
The command works in a namespace of its own on the servers and removes it afterwards. The floor is the baseline: what \
the bare libraries reach on this machine. Per operation that is one message of 512 bytes published, confirmed, consumed \
and acknowledged on a quorum queue, and three small Redis scripts.

Examples:
  drumline bench --embedded --seconds 2
  drumline bench --redis-url redis://127.0.0.1:6379 --amqp-url amqp://127.0.0.1:5672
  drumline bench --only floor,single,batch --seconds 20 --rounds 5 --output json
  drumline bench --rounds 5 --output json > before.json; drumline bench --rounds 5 --compare before.json";

pub(crate) const COMPLETIONS_HELP: &str = "\
Examples:
  source <(drumline completions bash)                                for this shell
  drumline completions bash > /etc/bash_completion.d/drumline        for every user
  drumline completions zsh > ~/.zfunc/_drumline                      with ~/.zfunc in fpath, before compinit
  drumline completions fish > ~/.config/fish/completions/drumline.fish";

pub(crate) const CONFIG_HELP: &str = "\
Examples:
  drumline config                                  the settings of all commands
  drumline config worker --concurrency 8           what `drumline worker --concurrency 8` would run with
  drumline config --sample > drumline.toml         a commented file to start from";

/// `drumline doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// URL of a queue manager to check, too
    // Without the default of the client commands: without a server, nothing is
    // asked.
    #[arg(
        long,
        env = "DRUMLINE_SERVER",
        value_name = "URL",
        value_parser = values::base_url
    )]
    pub(crate) server: Option<Url>,
    #[command(flatten)]
    pub(crate) tls: Tls,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `drumline check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// Check the folder of `drumline standalone` instead of Redis, while no process uses it
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Repair what can be repaired
    #[arg(long)]
    pub(crate) repair: bool,
    /// Check this partition only; may be repeated
    #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
    pub(crate) partition: Vec<u16>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `drumline index`.
#[derive(Debug, Args)]
pub(crate) struct Index {
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// Switch this index off, and remove its entries
    #[arg(long, value_name = "INDEX", value_parser = values::index, conflicts_with = "rebuild")]
    pub(crate) off: Vec<IndexKind>,
    /// Switch this index on, and enter all operations
    #[arg(long, value_name = "INDEX", value_parser = values::index)]
    pub(crate) rebuild: Vec<IndexKind>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `drumline export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// Export the folder of `drumline standalone` instead of Redis, while no process uses it
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Export the operations and pauses of this organization only
    #[arg(long = "org", value_name = "ORGANIZATION")]
    pub(crate) organization: Option<String>,
    /// Export the histories, too: one more question to the store for each operation
    #[arg(long)]
    pub(crate) history: bool,
    /// Go on although queue managers or workers are listed, because they were killed
    #[arg(long)]
    pub(crate) ignore_members: bool,
}

/// `drumline import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// Import into the folder of `drumline standalone` instead of Redis, while no process uses it
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Import an export once more that was imported to its end; what was removed since is there again
    #[arg(long)]
    pub(crate) again: bool,
    /// Import nothing; take imports that have not come to their end for done: what is missing stays missing
    #[arg(long, conflicts_with = "again")]
    pub(crate) give_up: bool,
    /// Go on although queue managers or workers are listed, because they were killed
    #[arg(long)]
    pub(crate) ignore_members: bool,
}

/// `drumline check-handler`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct CheckHandler {
    /// Data of the operations: JSON
    #[arg(long, value_name = "JSON", default_value = "null")]
    pub(crate) data: String,
    /// Check a web service, which is posted to, instead of a command
    #[arg(long, value_name = "URL", conflicts_with = "command", value_parser = values::base_url)]
    pub(crate) http: Option<Url>,
    /// Time after a start at which the run is killed, paused or cancelled
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = values::positive_duration)]
    pub(crate) stop_after: Duration,
    /// Time that the handler may take to stop
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::positive_duration)]
    pub(crate) grace: Duration,
    /// Longest time that one check waits
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = values::positive_duration)]
    pub(crate) limit: Duration,
    #[command(flatten)]
    pub(crate) output: Output,
    /// Command and its arguments
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required_unless_present = "http"
    )]
    pub(crate) command: Vec<String>,
}

/// `drumline bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// Measure the embedded backend instead of Redis and RabbitMQ
    #[arg(long)]
    pub(crate) embedded: bool,
    /// Only these measurements
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub(crate) only: Vec<Measurement>,
    /// Length of each round of a measurement, in seconds
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "10",
        value_parser = clap::value_parser!(u32).range(1..=3600)
    )]
    pub(crate) seconds: u32,
    /// Number of rounds of each measurement; the median counts
    #[arg(long, value_name = "NUMBER", default_value = "3")]
    pub(crate) rounds: NonZeroUsize,
    /// Number of callers that create at the same time
    #[arg(long, value_name = "NUMBER", default_value = "256")]
    pub(crate) callers: NonZeroUsize,
    /// Operations per batch, for the measurements with batches
    #[arg(long, value_name = "NUMBER", default_value = "100")]
    pub(crate) batch: NonZeroUsize,
    /// Maximum number of operations that the worker runs at the same time
    #[arg(long, value_name = "NUMBER", default_value = "256")]
    pub(crate) concurrency: NonZeroU32,
    /// Number of tokens, for the measurement of order
    #[arg(long, value_name = "NUMBER", default_value = "1000")]
    pub(crate) tokens: NonZeroUsize,
    /// Number of operations that a pause holds, for that measurement
    #[arg(long, value_name = "NUMBER", default_value = "100000")]
    pub(crate) held: NonZeroUsize,
    /// Number of separate worker processes; 0 runs the worker in this process
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    pub(crate) processes: usize,
    /// Earlier report of this command (--output json) to compare with. A difference within the spread of the rounds is "same"
    #[arg(long, value_name = "FILE")]
    pub(crate) compare: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// `drumline __bench-worker`: a worker of `bench` in a process of its own.
#[derive(Debug, Args)]
pub(crate) struct BenchWorker {
    #[command(flatten)]
    pub(crate) connection: ServerConnection,
    /// Maximum number of operations that it runs at the same time
    #[arg(long)]
    pub(crate) concurrency: NonZeroU32,
}

/// `drumline completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell that is to complete
    #[arg(value_enum, value_name = "bash|zsh|fish")]
    pub(crate) shell: CompletedShell,
}

/// A shell that completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletedShell {
    /// Bash
    Bash,
    /// Zsh
    Zsh,
    /// Fish
    Fish,
}

/// `drumline config`.
#[derive(Debug, Args)]
pub(crate) struct Config {
    /// Print a sample drumline.toml with every setting, its meaning and its default
    #[arg(long, conflicts_with_all = ["command", "reference"])]
    pub(crate) sample: bool,
    /// Print the table of settings for docs/configuration.md
    #[arg(long, hide = true, conflicts_with = "command")]
    pub(crate) reference: bool,
    /// Command, optionally with flags
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) command: Vec<OsString>,
    #[command(flatten)]
    pub(crate) output: Output,
}

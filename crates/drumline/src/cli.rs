//! The grammar: every command, flag and environment variable.
//!
//! A flag with an environment variable is a *setting*: it has a place in
//! `drumline.toml` too, under its own name (see [`crate::settings`]). A flag
//! without one is an argument of a single call. Nothing here does anything.

pub(crate) mod actions;
pub(crate) mod attributes;
pub(crate) mod client;
pub(crate) mod completion_options;
pub(crate) mod control;
pub(crate) mod drill;
pub(crate) mod filter;
pub(crate) mod fleet;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod limits;
mod server_tls;
pub(crate) mod service;
pub(crate) mod stats;
pub(crate) mod submit;
pub(crate) mod tools;
pub(crate) mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const ABOUT: &str = "Asynchronous operations, one at a time per token, in order";

const LONG_ABOUT: &str = "\
Drumline takes operations (import this solution, send these mails), answers at once with an id, and has \
a fleet of workers execute them later: exactly one worker at a time per operation, strictly in order per \
dependency token. Operations can be observed and controlled at any time.";

const AFTER_HELP: &str = "\
Try it, with nothing to install:
  drumline dev                                    everything in one process, on 127.0.0.1:8080
  drumline submit Echo --data '{\"hello\": 1}' --wait
  drumline list

The same, and nothing is lost when it ends:
  drumline standalone --data ./data --handlers handlers.toml

On RabbitMQ and Redis:
  drumline doctor                                 checks the servers
  drumline queue-manager --redis-url redis://redis --amqp-url amqp://rabbit
  drumline worker --redis-url redis://redis --amqp-url amqp://rabbit --handlers handlers.toml

A setting is taken from its flag, else from the environment (DRUMLINE_REDIS_URL for --redis-url), else from \
drumline.toml, else it has its default. `drumline config` shows the settings in force and their sources.";

/// The exit codes, for `--help`; docs/cli.md has the same table and a test
/// compares them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0   done; for wait and submit --wait: Succeeded
  1   failed; for wait: Failed; for doctor: something must be changed; for drill: a promise was violated
  2   wait: Canceled
  3   wait: not Completed within --timeout
  4   no such operation
  5   refused: not possible in the operation's state
  6   execute: the request, or one of its items, faulted
  7   drill: void, because a fault that was to happen has not
  8   check: the store has faults that were not repaired
  64  wrong usage: flags, environment, drumline.toml, or a request that breaks a rule
  65  wrong input: a line of submit --file, a request of execute --file, a handlers file, a folder of standalone
  69  the queue manager, Redis, RabbitMQ or the folder of standalone is unavailable
  70  an internal error: a bug in drumline
  75  the service is busy: try again later
  130 interrupted";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "drumline",
    bin_name = "drumline",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_help = AFTER_HELP,
    after_long_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"),
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    max_term_width = 110
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "For every command")]
pub(crate) struct Global {
    // Read before everything else, and from the environment by hand: see
    // `settings::load`.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help = "Read settings from this file instead of ./drumline.toml [env: DRUMLINE_CONFIG]"
    )]
    pub(crate) config: Option<PathBuf>,
    /// Log level on stderr: error, warn, info, debug, trace, or a filter per module
    #[arg(
        long,
        global = true,
        env = "DRUMLINE_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub(crate) log: String,
    /// Log format
    #[arg(
        long,
        global = true,
        env = "DRUMLINE_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
}

/// The two shapes of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process, with nothing to install; data is gone at exit
    #[command(after_help = service::DEV_HELP)]
    Dev(Box<service::Dev>),
    /// Run everything in one process, with nothing to install; all data are kept in a folder
    #[command(after_help = service::STANDALONE_HELP)]
    Standalone(Box<service::Standalone>),
    /// Take requests over HTTP and AMQP, and maintain the operations
    #[command(after_help = service::QUEUE_MANAGER_HELP)]
    QueueManager(Box<service::QueueManager>),
    /// Execute operations
    #[command(after_help = service::WORKER_HELP)]
    Worker(service::Worker),
    /// Create one operation, or one per line of a file
    #[command(after_help = submit::SUBMIT_HELP)]
    Submit(Box<submit::Submit>),
    /// Execute an organization request, or a batch of them
    #[command(after_help = client::EXECUTE_HELP)]
    Execute(client::Execute),
    /// Show operations
    #[command(after_help = client::GET_HELP)]
    Get(client::Get),
    /// Say why operations do not run, or do not end, and what helps
    #[command(after_help = client::EXPLAIN_HELP)]
    Explain(client::Explain),
    /// Show what has happened to operations
    #[command(after_help = client::HISTORY_HELP)]
    History(client::History),
    /// Show the attempts of operations, and what their handlers have printed
    #[command(after_help = client::ATTEMPTS_HELP)]
    Attempts(client::Attempts),
    /// List operations, newest first
    #[command(after_help = client::LIST_HELP)]
    List(Box<client::List>),
    /// Wait until operations are Completed
    #[command(after_help = client::WAIT_HELP)]
    Wait(client::Wait),
    /// Follow operations as they become Completed
    #[command(after_help = client::EVENTS_HELP)]
    Events(Box<client::Events>),
    /// Cancel operations; running ones are stopped
    #[command(after_help = control::CANCEL_HELP)]
    Cancel(Box<control::Control>),
    /// Suspend operations until they are resumed; or stop a queue, a message name or a token
    #[command(after_help = control::PAUSE_HELP)]
    Pause(Box<control::Pause>),
    /// Resume Suspended operations; or lift a pause
    #[command(after_help = control::RESUME_HELP)]
    Resume(Box<control::Resume>),
    /// List the pauses of queues, message names, tokens and the organization
    #[command(after_help = control::PAUSES_HELP)]
    Pauses(control::Pauses),
    /// List, show or abort actions on many operations that the service executes
    #[command(after_help = actions::ACTIONS_HELP)]
    Actions(actions::Actions),
    /// Keep everything from starting, in all organizations; what runs goes on
    #[command(after_help = control::FREEZE_HELP)]
    Freeze(control::Freeze),
    /// Let a frozen service go on
    Thaw(control::Thaw),
    /// Suspend operations until a time
    #[command(after_help = control::POSTPONE_HELP)]
    Postpone(Box<control::Postpone>),
    /// Do the work of Completed operations again, as new operations
    #[command(after_help = control::RUN_AGAIN_HELP)]
    RunAgain(Box<control::RunAgain>),
    /// Change attributes of operations
    #[command(after_help = control::UPDATE_HELP)]
    Update(Box<control::Update>),
    /// Remove Completed operations
    #[command(after_help = control::DELETE_HELP)]
    Delete(Box<control::Control>),
    /// Remove operations that were Completed long ago
    #[command(after_help = control::PURGE_HELP)]
    Purge(Box<control::Purge>),
    /// Create, rotate, revoke and list API keys
    #[command(after_help = keys::KEY_HELP)]
    Key(keys::Key),
    /// Show the state of the service in one sentence, and follow it
    #[command(after_help = client::TOP_HELP)]
    Top(client::Top),
    /// List who has asked for which change, and who was denied
    #[command(after_help = client::AUDIT_HELP)]
    Audit(Box<client::Audit>),
    /// Show how much was done in the last hours, and how long it waited
    #[command(after_help = stats::STATS_HELP)]
    Stats(stats::Stats),
    /// Show what fails, with failures of one kind together
    #[command(after_help = stats::FAILURES_HELP)]
    Failures(stats::Failures),
    /// Keep failures of one kind from raising an alarm for a while
    #[command(after_help = stats::MUTE_HELP)]
    Mute(stats::Mute),
    /// Let failures of one kind raise an alarm again
    Unmute(stats::Unmute),
    /// List the workers that are alive, or let some take nothing new
    #[command(after_help = fleet::WORKERS_HELP)]
    Workers(fleet::Workers),
    /// Show who the queue manager takes this caller for, and what it may do
    #[command(name = "whoami")]
    WhoAmI(client::WhoAmI),
    /// Show what the organization has in the store, and what it may have
    Quotas(client::Quotas),
    /// Check Redis, RabbitMQ and the queue manager, and say what to change
    #[command(after_help = tools::DOCTOR_HELP)]
    Doctor(tools::Doctor),
    /// Ask a process whether it is ready or alive, for health checks
    #[command(after_help = health::HEALTH_HELP)]
    Health(health::Health),
    /// Compare what a store holds, while it is in use, and repair what does not agree
    #[command(after_help = tools::CHECK_HELP)]
    Check(tools::Check),
    /// Show the indexes that lists are answered from, switch one off, or rebuild it
    #[command(after_help = tools::INDEX_HELP)]
    Index(tools::Index),
    /// Write all operations to standard output, to move them to another Redis
    #[command(after_help = tools::EXPORT_HELP)]
    Export(tools::Export),
    /// Store the operations of an export from standard input
    #[command(after_help = tools::IMPORT_HELP)]
    Import(tools::Import),
    /// Copy the folder of `drumline standalone` to a file, while it is in use
    #[command(after_help = client::BACKUP_HELP)]
    Backup(client::Backup),
    /// Check a command or web service against the contract of handlers
    #[command(after_help = tools::CHECK_HANDLER_HELP)]
    CheckHandler(Box<tools::CheckHandler>),
    /// Measure how fast this machine and these servers are
    #[command(after_help = tools::BENCH_HELP)]
    Bench(tools::Bench),
    /// Kill and stop processes of a fleet of its own under load, and count violated promises
    #[command(after_help = drill::DRILL_HELP)]
    Drill(Box<drill::Drill>),
    /// Print the script with which a shell completes commands and flags
    #[command(after_help = tools::COMPLETIONS_HELP)]
    Completions(tools::Completions),
    /// Show the settings in force and where they come from, or a sample drumline.toml
    #[command(after_help = tools::CONFIG_HELP)]
    Config(tools::Config),
    /// A worker process of `bench`
    #[command(name = "__bench-worker", hide = true)]
    BenchWorker(tools::BenchWorker),
    /// A worker process of `drill`
    #[command(name = "__drill-worker", hide = true)]
    DrillWorker(Box<drill::DrillWorker>),
}

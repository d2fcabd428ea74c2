//! Example and acid test: the history of git repositories, replayed in order.
//!
//! Every commit of a repository's main line becomes an operation; the handler
//! applies it to a replica as a *difference*. A difference fits on exactly one
//! state, so the replica ends with the tree of the original only if every
//! commit was applied once, and in order. That makes it a test of the whole
//! service, best run while workers are being killed:
//!
//! ```text
//! operations ──► drumline submit ──► drumline worker ──► apply ──► replica/git
//!                                                          │
//! verify ◄── tree hashes, and replica/executions.jsonl ◄───┘
//! ```
//!
//! It does not talk to Drumline: `apply` is a `command` handler.

mod apply;
mod error;
mod git;
mod journal;
mod operations;
mod replica;
mod sample;
mod source;
mod verify;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::apply::{Execution, Step};
use crate::error::Result;

/// Git histories, replayed in order.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write sample repositories, for machines that have no long histories,
    /// and print their paths.
    MakeRepositories {
        /// The folder to write them to.
        dir: PathBuf,
        /// The number of repositories.
        #[arg(long, default_value = "3")]
        count: u64,
        /// The number of commits in each of them.
        #[arg(long, default_value = "200")]
        commits: u64,
    },
    /// Print one operation per commit of the main lines, a JSON object per
    /// line, for `drumline submit --file -`.
    Operations {
        /// The folder of the replicas.
        #[arg(long, default_value = "replicas")]
        to: PathBuf,
        /// Only the last so many commits of each repository; the first of
        /// them is then applied to nothing.
        #[arg(long, value_name = "COMMITS")]
        last: Option<usize>,
        /// The repositories.
        #[arg(required = true)]
        repositories: Vec<PathBuf>,
    },
    /// Apply one commit to its replica: the handler. Reads the operation from
    /// stdin.
    Apply(ApplyArguments),
    /// Check that each replica has the tree of its original's HEAD, and that
    /// its executions were in order and never two at a time.
    Verify {
        /// The folder of the replicas.
        #[arg(long, default_value = "replicas")]
        to: PathBuf,
        /// The repositories.
        #[arg(required = true)]
        repositories: Vec<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct ApplyArguments {
    /// The fencing token of this start; a lower one than any before is refused.
    #[arg(long, env = "DRUMLINE_FENCE")]
    fence: u64,
    /// The time to wait between two steps, so that a kill hits the middle.
    #[arg(long, value_name = "MS", default_value = "0")]
    pace_ms: u64,
    /// For tests: die after this step, as if killed.
    #[arg(long, value_enum, hide = true)]
    die_after: Option<Step>,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a stderr the complaint has no reader.
            drop(writeln!(io::stderr(), "{error}"));
            error.exit_code()
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::MakeRepositories {
            dir,
            count,
            commits,
        } => sample::write(&dir, count, commits),
        Command::Operations {
            to,
            last,
            repositories,
        } => operations::print(&repositories, &to, last),
        Command::Apply(arguments) => {
            let order = apply::Order::read(io::stdin())?;
            let execution = Execution {
                fence: arguments.fence,
                pace: Duration::from_millis(arguments.pace_ms),
                die_after: arguments.die_after,
            };
            let outcome = apply::apply(&order, &execution)?;
            say(&outcome.to_json(&order))
        }
        Command::Verify { to, repositories } => {
            let mut report = String::new();
            let verified = verify::verify(&repositories, &to, &mut report);
            say(report.trim_end())?;
            verified
        }
    }
}

/// Prints to stdout.
fn say(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(error::Error::io("cannot write to", "stdout".as_ref()))
}

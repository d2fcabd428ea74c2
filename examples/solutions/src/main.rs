//! Example: solution packages, imported strictly in order per solution.
//!
//! A *solution* is a set of components (forms, plug-ins, …) that is delivered
//! as a `.zip` with a `solution.xml`; each upgrade names the version that it
//! upgrades. Drumline gives all packages of one solution the same dependency
//! token, so that they are imported one after the other while other solutions
//! go on beside them. This program plays every part but Drumline's own:
//!
//! ```text
//! make-packages ── operations ──► drumline submit ──► drumline worker ──► import
//!                                                                          │
//! verify ◄──────────────────────────── the target folder ◄─────────────────┘
//! ```
//!
//! It does not talk to Drumline: `import` is a `command` handler, and needs
//! nothing but stdin, stdout, and an exit code.

mod error;
mod import;
mod installed;
mod manifest;
mod operations;
mod package;
mod sample;
mod speech;
mod verify;
mod version;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::error::Result;

/// Solution packages, imported in order.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write sample packages: several solutions with several upgrades each.
    MakePackages {
        /// The folder to write them to.
        dir: PathBuf,
    },
    /// Print one operation per package, a JSON object per line, for
    /// `drumline submit --file -`.
    Operations {
        /// The folder of the packages.
        dir: PathBuf,
        /// The folder to import them into.
        #[arg(long, default_value = "target")]
        target: PathBuf,
    },
    /// Import one package: the handler. Reads the operation from stdin.
    Import {
        /// The time to wait between two components: real imports take their
        /// time, and a demonstration wants to be watched.
        #[arg(long, value_name = "MS", default_value = "0")]
        pace_ms: u64,
        /// The place that an earlier start of this operation got to.
        #[arg(long, env = "DRUMLINE_CHECKPOINT", hide = true)]
        checkpoint: Option<String>,
    },
    /// Check that a target folder holds what its packages say, and that they
    /// were imported in order, each once.
    Verify {
        /// The target folder.
        target: PathBuf,
        /// The folder of the packages.
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::MakePackages { dir } => sample::write(&dir),
        Command::Operations { dir, target } => operations::print(&dir, &target),
        Command::Import {
            pace_ms,
            checkpoint,
        } => import(Duration::from_millis(pace_ms), checkpoint.as_deref()),
        Command::Verify { target, dir } => verify::verify(&target, &dir),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            speech::complain(&error);
            error.exit_code()
        }
    }
}

fn import(pace: Duration, checkpoint: Option<&str>) -> Result<()> {
    let order = import::Order::read(std::io::stdin())?;
    let stop = import::Stop::listen(pace)?;
    import::import(&order, checkpoint, &stop)
}

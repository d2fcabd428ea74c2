//! The errors, and what a worker makes of each.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};

/// "Try again later": `EX_TEMPFAIL` of sysexits.h.
const TRY_LATER: u8 = 75;

/// Everything that makes a command of this program fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Stdin does not hold an operation of ours.
    #[error("the operation on stdin cannot be read: {0}")]
    Operation(#[source] serde_json::Error),
    /// The replica is neither at the commit before this one nor at this one.
    #[error("out of order: {commit} follows {}, but the replica is at {}", or_nothing(previous.as_ref()), or_nothing(found.as_ref()))]
    OutOfOrder {
        /// The commit that was to be applied.
        commit: String,
        /// The commit that it follows.
        previous: Option<String>,
        /// The commit that the replica is at.
        found: Option<String>,
    },
    /// The replica is at the right commit, with the wrong tree.
    #[error("the replica at {commit} has the tree {found} instead of {expected}")]
    WrongTree {
        /// The commit that the replica is at, or was to be at.
        commit: String,
        /// The tree that it should have.
        expected: String,
        /// The tree that it has.
        found: String,
    },
    /// A start with a higher fence has been here: this one is a ghost.
    #[error("stale: this start has the fence {fence}, the replica has seen {highest}")]
    Stale {
        /// This start's fence.
        fence: u64,
        /// The highest that was seen.
        highest: u64,
    },
    /// Git failed; what it said is on stderr.
    #[error("git {command} failed: {status}")]
    Git {
        /// The subcommand.
        command: String,
        /// Its exit status.
        status: ExitStatus,
    },
    /// Git said something that this program does not understand.
    #[error("git {command} answered {answer:?}")]
    Answer {
        /// The subcommand.
        command: String,
        /// Its output.
        answer: String,
    },
    /// The journal of the executions cannot be read.
    #[error("{path}, line {line}: {source}")]
    Journal {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The fault in it.
        source: serde_json::Error,
    },
    /// The operating system refused something. That may pass.
    #[error("{doing} {path}: {source}")]
    Io {
        /// The action that failed.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The verified replicas are not as they should be.
    #[error("{0} of the replicas are not as they should be")]
    Differs(usize),
}

/// This program's result.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A closure for `map_err`, where a file is involved.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            path: path.to_path_buf(),
            source,
        }
    }

    /// The exit code that tells Drumline what to do: 75 = retry later, 1 = failed
    /// for good.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            // Git that was killed has not failed; it did not come to it.
            Self::Git { status, .. } if status.code().is_none() => ExitCode::from(TRY_LATER),
            Self::Io { .. } => ExitCode::from(TRY_LATER),
            Self::Operation(_)
            | Self::OutOfOrder { .. }
            | Self::WrongTree { .. }
            | Self::Stale { .. }
            | Self::Git { .. }
            | Self::Answer { .. }
            | Self::Journal { .. }
            | Self::Differs(_) => ExitCode::FAILURE,
        }
    }
}

fn or_nothing(commit: Option<&String>) -> &str {
    commit.map_or("nothing", String::as_str)
}

//! The errors, and what a worker makes of each.
//!
//! The exit code is the handler's whole vocabulary, so each error is sorted
//! here, in one place, by what should happen next.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::version::Version;

/// "Try again later": `EX_TEMPFAIL` of sysexits.h.
const TRY_LATER: u8 = 75;

/// Everything that makes a command of this program fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Stdin does not hold an operation of ours.
    #[error("the operation on stdin cannot be read: {0}")]
    Operation(#[source] serde_json::Error),
    /// The file is not a zip archive, or a damaged one.
    #[error("{package} is not a readable zip archive: {source}")]
    Archive {
        /// The file.
        package: PathBuf,
        /// The fault in it.
        source: zip::result::ZipError,
    },
    /// The package's content contradicts itself.
    #[error("{package} is not a valid solution package: {why}")]
    Invalid {
        /// The file.
        package: PathBuf,
        /// The rule that it breaks.
        why: String,
    },
    /// The package upgrades another version than the one that is there.
    #[error(
        "{solution} {version} was applied out of order: it upgrades {}, but {} is installed",
        or_nothing(*upgrades), or_nothing(*installed)
    )]
    OutOfOrder {
        /// The solution.
        solution: String,
        /// The version of the package.
        version: Version,
        /// The version that it upgrades.
        upgrades: Option<Version>,
        /// The version that is installed.
        installed: Option<Version>,
    },
    /// The same version is there already, with other components.
    #[error("{solution} {version} is installed already, with other content")]
    OtherContent {
        /// The solution.
        solution: String,
        /// The version of both.
        version: Version,
    },
    /// A solution that the package builds on is not there yet. It may come.
    #[error("{solution} needs {needs} {at_least} or later, but {} is installed", or_nothing(*installed))]
    MissingDependency {
        /// The solution that cannot be imported yet.
        solution: String,
        /// The package that it needs.
        needs: String,
        /// The lowest version that will do.
        at_least: Version,
        /// The version that is installed.
        installed: Option<Version>,
    },
    /// The worker has asked the handler to stop.
    #[error("stopped before component {next} of {all}")]
    Stopped {
        /// The number of components that are imported.
        next: usize,
        /// The number of all components.
        all: usize,
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
    /// The verified solutions are not as they should be.
    #[error("{0} of the solutions are not as they should be")]
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
            // A stopped import is neither done nor failed. The client that
            // stopped it decides what comes next. Without one it goes on later.
            Self::MissingDependency { .. } | Self::Io { .. } | Self::Stopped { .. } => {
                ExitCode::from(TRY_LATER)
            }
            Self::Operation(_)
            | Self::Archive { .. }
            | Self::Invalid { .. }
            | Self::OutOfOrder { .. }
            | Self::OtherContent { .. }
            | Self::Differs(_) => ExitCode::FAILURE,
        }
    }
}

fn or_nothing(version: Option<Version>) -> String {
    version.map_or_else(|| "nothing".to_owned(), |version| version.to_string())
}

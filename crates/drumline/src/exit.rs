//! Exit codes, and the failures that lead to them.
//!
//! Scripts branch on these, so they are part of the interface: docs/cli.md has
//! the table. 64 to 75 are the numbers of sysexits.h.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::client_error::ClientError;

/// The exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done; for `wait`: Succeeded.
    Ok = 0,
    /// Failed; for `wait`: Failed.
    Failed = 1,
    /// For `wait`: Canceled.
    Canceled = 2,
    /// For `wait`: not Completed in time.
    TimedOut = 3,
    /// No such operation.
    NotFound = 4,
    /// Not allowed by the operation's status.
    Refused = 5,
    /// For `execute`: the request, or one of its items, faulted.
    Faulted = 6,
    /// For `drill`: a fault that was to happen has not.
    Void = 7,
    /// For `check`: the store has faults that were not repaired.
    Damaged = 8,
    /// Wrong flags, environment, file, or a request that breaks a rule.
    Usage = 64,
    /// Wrong input data.
    Data = 65,
    /// A service that is needed is unavailable.
    Unavailable = 69,
    /// A bug of ours.
    Internal = 70,
    /// The service is busy: try again later.
    Temporary = 75,
    /// Stopped by the user before the end.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The failure of a command: an exit code, and the error for people.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code of the process.
    pub(crate) exit: Exit,
    /// The error to show; its causes are shown too.
    pub(crate) error: anyhow::Error,
}

/// The result of a command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure with this text.
    pub(crate) fn new(
        exit: Exit,
        text: impl fmt::Display + fmt::Debug + Send + Sync + 'static,
    ) -> Self {
        Self {
            exit,
            error: anyhow::Error::msg(text),
        }
    }

    /// A failure with this cause.
    pub(crate) fn caused(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            error: error.into(),
        }
    }
}

impl From<drumline_client::Error> for Failure {
    fn from(error: drumline_client::Error) -> Self {
        let error = ClientError(error);
        Self::caused(error.exit(), error)
    }
}

impl From<io::Error> for Failure {
    /// Output without a reader any more (`drumline list | head`) is no failure.
    fn from(error: io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::BrokenPipe => Exit::Ok,
            _ => Exit::Failed,
        };
        Self::caused(exit, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_codes_are_the_ones_that_there_are() {
        let page = include_str!("../../../docs/cli.md");
        for exit in [
            Exit::Ok,
            Exit::Failed,
            Exit::Canceled,
            Exit::TimedOut,
            Exit::NotFound,
            Exit::Refused,
            Exit::Faulted,
            Exit::Void,
            Exit::Damaged,
            Exit::Usage,
            Exit::Data,
            Exit::Unavailable,
            Exit::Internal,
            Exit::Temporary,
            Exit::Interrupted,
        ] {
            let code = exit as u8;
            let row = format!("| {code} |");
            assert!(page.contains(&row), "docs/cli.md has no row for {exit:?}");
            let help = crate::cli::EXIT_CODES;
            let line = format!("\n  {code:<4}");
            assert!(help.contains(&line), "--help has no line for {exit:?}");
        }
    }
}

//! Client errors for people at a prompt: the problem, its code, the remedy, in
//! the words of the command line; and the exit code.

use std::fmt;

use drumline_client::{Error, ErrorCode};

use crate::exit::Exit;

/// An error of the client.
#[derive(Debug)]
pub(crate) struct Trouble(pub(crate) Error);

impl Trouble {
    /// The exit code of a command that ends with it.
    pub(crate) fn exit(&self) -> Exit {
        match &self.0 {
            Error::Refused(problem) => match problem.status {
                404 if problem.code == ErrorCode::NOT_FOUND => Exit::NotFound,
                400..=408 | 410..=428 => Exit::Usage,
                409 => Exit::Refused,
                429 | 502..=504 => Exit::Temporary,
                _ => Exit::Failed,
            },
            Error::Busy(_) => Exit::Temporary,
            Error::Away(_) | Error::Odd { .. } => Exit::Unavailable,
            Error::Invalid { .. } => Exit::Usage,
            Error::Unwritable(_) => Exit::Internal,
        }
    }

    fn way_out(&self) -> Option<String> {
        match &self.0 {
            Error::Away(away) if away.timed_out() => {
                Some("read its log, or allow more time with --request-timeout".to_owned())
            }
            Error::Away(_) => {
                Some("start one (`drumline dev`), or name another one with --server".to_owned())
            }
            Error::Refused(_)
            | Error::Busy(_)
            | Error::Odd { .. }
            | Error::Invalid { .. }
            | Error::Unwritable(_) => self.0.way_out(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        if let (Some(code), Some(name)) = (self.0.code(), self.0.name()) {
            write!(f, "\n  code: {code} {name}")?;
        }
        if let Some(way_out) = self.way_out() {
            write!(f, "\n  what to do: {way_out}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Trouble {}

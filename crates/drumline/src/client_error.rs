//! Client errors for people at a prompt: the problem, its code, the remedy, in
//! the words of the command line; and the exit code.

use std::fmt;

use drumline_client::{Error, ErrorCode, TlsNames};

use crate::exit::Exit;

/// The settings of TLS.
const NAMES: TlsNames = TlsNames {
    ca: "--ca-file",
    cert: "--client-cert and --client-key",
    plain: "--server http://…",
};

/// An error of the client.
#[derive(Debug)]
pub(crate) struct ClientError(pub(crate) Error);

impl ClientError {
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
            Error::Unreachable(_) | Error::UnexpectedResponse { .. } => Exit::Unavailable,
            Error::Invalid { .. } => Exit::Usage,
            Error::Unwritable(_) => Exit::Internal,
        }
    }

    /// The remedy, in the words of the command line.
    pub(crate) fn hint(&self) -> Option<String> {
        match &self.0 {
            Error::Unreachable(unreachable) if unreachable.is_tls() => unreachable.tls_hint(NAMES),
            Error::Unreachable(unreachable) if unreachable.timed_out() => {
                Some("read its log, or allow more time with --request-timeout".to_owned())
            }
            Error::Unreachable(_) => {
                Some("start one (`drumline dev`), or name another one with --server".to_owned())
            }
            Error::Refused(_)
            | Error::Busy(_)
            | Error::UnexpectedResponse { .. }
            | Error::Invalid { .. }
            | Error::Unwritable(_) => self.0.hint(),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        if let (Some(code), Some(name)) = (self.0.code(), self.0.name()) {
            write!(f, "\n  code: {code} {name}")?;
        }
        if let Some(hint) = self.hint() {
            write!(f, "\n  what to do: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ClientError {}

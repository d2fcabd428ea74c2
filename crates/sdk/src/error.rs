//! The errors of this crate: a variant for each kind that a program would
//! handle differently.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use drumline_process::{ConnectError, reasons};

use crate::settings::Mistake;

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a worker does not start, or did not end in order.
///
/// `{:?}` shows the same text as `{}`, with the causes: `main` prints an error
/// that it returns by its `Debug`.
#[derive(thiserror::Error)]
pub enum Error {
    /// Settings that cannot be used: all of them, each with its name.
    #[error("{}", lines(.0))]
    Settings(Vec<Mistake>),
    /// A server was unavailable for as long as a start may wait
    /// ([`Connection::start_patience`](crate::Connection::start_patience)).
    #[error("{server} at {url} was unavailable for {}", humantime::format_duration(*.waited))]
    Unavailable {
        /// `Redis` or `RabbitMQ`.
        server: &'static str,
        /// The URL of the server, without its password.
        url: String,
        /// The time that the start has waited for the server.
        waited: Duration,
        /// The last failure.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A server is up, and must not be used as it is.
    #[error("{server} at {url} cannot be used")]
    Unfit {
        /// `Redis` or `RabbitMQ`.
        server: &'static str,
        /// The URL of the server, without its password.
        url: String,
        /// The reason.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The worker does not start: see [`worker::Error`](drumline_worker::Error).
    #[error(transparent)]
    Worker(#[from] drumline_worker::Error),
    /// The log or the export of traces cannot be set up.
    #[error("the log or the export of traces cannot be set up")]
    Telemetry(#[source] drumline_telemetry::Error),
    /// The system does not deliver SIGTERM and SIGINT to this process.
    #[error("SIGTERM and SIGINT cannot be caught")]
    Signals(#[source] io::Error),
    /// The threads of the runtime cannot be started.
    #[error("the runtime cannot be started")]
    Runtime(#[source] io::Error),
    /// [`run`](crate::run) was called on a tokio runtime.
    #[error(
        "`drumline_sdk::run` starts a runtime and cannot be called on one: use `Connection::run`"
    )]
    InsideRuntime,
    /// A task has ended that the worker cannot do without. This is a defect. The
    /// worker has stopped, and other workers take its operations over when the
    /// leases end. A function handler that blocks its thread may still run: end the
    /// process, or let a supervisor start it again.
    #[error(transparent)]
    TaskFailed(drumline_worker::TaskFailure),
    /// A second signal has ended the worker before it was drained. Operations
    /// that ran are taken over by other workers when their leases end.
    #[error("ended by {signal} before the worker was drained")]
    Interrupted {
        /// `SIGTERM` or `SIGINT`.
        signal: &'static str,
    },
}

// By hand: this is the text that a user sees when `main` returns the error.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&reasons(self))
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        let ConnectError {
            server,
            url,
            waited,
            source,
        } = error;
        match waited {
            Some(waited) => Self::Unavailable {
                server,
                url,
                waited,
                source,
            },
            None => Self::Unfit {
                server,
                url,
                source,
            },
        }
    }
}

/// Returns one line per mistake.
fn lines(mistakes: &[Mistake]) -> String {
    let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_causes_once() {
        let error = Error::Unavailable {
            server: "Redis",
            url: "redis://localhost".to_owned(),
            waited: Duration::from_secs(300),
            source: io::Error::other("connection refused").into(),
        };
        assert_eq!(
            format!("{error:?}"),
            "Redis at redis://localhost was unavailable for 5m: connection refused"
        );
        assert_eq!(reasons(&Error::InsideRuntime).matches("runtime").count(), 1);
    }
}

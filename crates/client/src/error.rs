//! The errors of a request, one variant for each that a caller would handle
//! differently.

pub(crate) mod code;
mod fault;
mod problem;
mod unreachable;

use std::time::Duration;

use drumline_protocol::ErrorCode;
use reqwest::{Response, StatusCode};

pub use fault::Fault;
pub use problem::{Problem, WrongAttribute};
pub use unreachable::Unreachable;

/// Characters of an answer that is not ours, in a message.
const EXCERPT: usize = 200;

/// The reason that a request was not answered with a success.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service says no: correct the request, or come back later
    /// ([`Self::is_transient`]).
    #[error(transparent)]
    Refused(Box<Problem>),
    /// A request of many was not executed for longer than the client's patience:
    /// the service is busy.
    #[error("{0}")]
    Busy(Box<Fault>),
    /// The service cannot be reached, or did not answer in time. It may or may
    /// not have done what it was asked ([`Self::nothing_was_done`]).
    #[error(transparent)]
    Unreachable(Box<Unreachable>),
    /// The answer is not one of Drumline's: another service, or a proxy on the
    /// way.
    #[error("{status}: not an answer of a Drumline queue manager: {text}")]
    UnexpectedResponse {
        /// The HTTP status.
        status: u16,
        /// The start of the body.
        text: String,
    },
    /// The client was asked for something that cannot be sent.
    #[error("{what}: {why}")]
    Invalid {
        /// The part that is wrong.
        what: &'static str,
        /// The mistake in it.
        why: String,
    },
    /// A value cannot be written as JSON: a map with keys that are no strings,
    /// say.
    #[error("cannot be written as JSON: {0}")]
    Unwritable(#[from] serde_json::Error),
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The error in an answer that is not a success.
    pub(crate) async fn of(response: Response) -> Self {
        let status = response.status();
        let retry_after = problem::retry_after(response.headers());
        let text = match response.text().await {
            Ok(text) => text,
            Err(error) => return Unreachable::error(error),
        };
        match Problem::read(&text, status.as_u16(), retry_after) {
            Some(problem) => Self::Refused(Box::new(problem)),
            None => Self::unexpected(status, &text),
        }
    }

    pub(crate) fn unexpected(status: StatusCode, text: &str) -> Self {
        let line = text.lines().next().unwrap_or_default();
        Self::UnexpectedResponse {
            status: status.as_u16(),
            text: line.chars().take(EXCERPT).collect(),
        }
    }

    /// A success with unexpected content.
    pub(crate) fn unexpected_text(text: &str) -> Self {
        Self::unexpected(StatusCode::OK, text)
    }

    /// The number that users know, if the service gave one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(problem) => Some(problem.code),
            Self::Busy(fault) => Some(fault.error_code),
            Self::Unreachable(_)
            | Self::UnexpectedResponse { .. }
            | Self::Invalid { .. }
            | Self::Unwritable(_) => None,
        }
    }

    /// The stable name of the code: `CannotPause`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.name),
            Self::Busy(fault) => Some(&fault.name),
            Self::Unreachable(_)
            | Self::UnexpectedResponse { .. }
            | Self::Invalid { .. }
            | Self::Unwritable(_) => None,
        }
    }

    /// The whole refusal, if the error is one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Busy(_)
            | Self::Unreachable(_)
            | Self::UnexpectedResponse { .. }
            | Self::Invalid { .. }
            | Self::Unwritable(_) => None,
        }
    }

    /// The refusal of an organization request as it would stand in a batch.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Refused(problem) => Some(Fault::from(problem.as_ref())),
            Self::Busy(fault) => Some(Fault::clone(fault)),
            Self::Unreachable(_)
            | Self::UnexpectedResponse { .. }
            | Self::Invalid { .. }
            | Self::Unwritable(_) => None,
        }
    }

    /// The HTTP status of the answer, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            Self::UnexpectedResponse { status, .. } => Some(*status),
            Self::Busy(_) | Self::Unreachable(_) | Self::Invalid { .. } | Self::Unwritable(_) => {
                None
            }
        }
    }

    /// Returns true if the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused(problem) => matches!(problem.status, 429 | 502..=504 | 507),
            Self::Busy(_) => true,
            Self::Unreachable(unreachable) => !unreachable.is_tls(),
            Self::UnexpectedResponse { status, .. } => matches!(status, 429 | 502..=504 | 507),
            Self::Invalid { .. } | Self::Unwritable(_) => false,
        }
    }

    /// The same error for another request that shared its fate, if it is one that passes.
    pub(crate) fn transient_copy(&self) -> Option<Self> {
        match self {
            Self::Refused(problem) => Some(Self::Refused(problem.clone())),
            Self::Busy(fault) => Some(Self::Busy(fault.clone())),
            Self::Unreachable(unreachable) => Some(Self::Unreachable(unreachable.clone())),
            Self::UnexpectedResponse { status, text } => Some(Self::UnexpectedResponse {
                status: *status,
                text: text.clone(),
            }),
            Self::Invalid { .. } | Self::Unwritable(_) => None,
        }
        .filter(Self::is_transient)
    }

    /// Returns true if the service has certainly done nothing of what it was
    /// asked: the request never reached it, or it refused. False: it may have
    /// done something.
    #[must_use]
    pub fn nothing_was_done(&self) -> bool {
        match self {
            Self::Busy(_) => false,
            // A server error may follow a write.
            // 507: the organization has no room for what was to be created.
            Self::Refused(problem) => problem.status < 500 || problem.status == 507,
            Self::Unreachable(unreachable) => unreachable.was_not_sent(),
            Self::UnexpectedResponse { status, .. } => *status < 500,
            Self::Invalid { .. } | Self::Unwritable(_) => true,
        }
    }

    /// The time after which the service wants the request again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(problem) => problem.retry_after,
            Self::Busy(fault) => fault.retry_after(),
            Self::Unreachable(_)
            | Self::UnexpectedResponse { .. }
            | Self::Invalid { .. }
            | Self::Unwritable(_) => None,
        }
    }

    /// Advice for a person, if there is any.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(problem) => problem.hint(),
            Self::Busy(_) => Some("try again later".to_owned()),
            Self::Unreachable(unreachable) => Some(unreachable.hint()),
            Self::UnexpectedResponse { .. } => {
                Some("check the address: a proxy or another service answers there".into())
            }
            Self::Invalid { .. } | Self::Unwritable(_) => None,
        }
    }
}

//! What can go wrong with a request, and how to tell a person.

use std::fmt;
use std::time::Duration;

use drumline_protocol::ErrorCode;
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::exit::Exit;

/// A request that was not answered with a success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The service says no.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// It cannot be reached, or did not answer in time. Whether it did what it
    /// was asked is open.
    // The cause is told in the text: its own text repeats the address twice.
    #[error("{}", away(.0))]
    Away(reqwest::Error),
    /// The answer is not one of Drumline's.
    #[error(
        "{status}: not an answer of a Drumline queue manager: {}",
        start_of(text)
    )]
    Odd {
        /// The status.
        status: StatusCode,
        /// The body.
        text: String,
    },
}

/// This module's result.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// An `application/problem+json` (RFC 9457) of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Problem {
    /// The HTTP status.
    pub(crate) status: u16,
    /// What kind of problem.
    pub(crate) title: String,
    /// What exactly.
    pub(crate) detail: String,
    /// The number that users know: `0x80044F00`.
    pub(crate) code: String,
    /// The stable name of the code.
    pub(crate) name: String,
    /// What would be possible instead.
    pub(crate) legal_actions: Vec<String>,
    /// When to try again.
    #[serde(skip)]
    pub(crate) retry_after: Option<Duration>,
}

impl Error {
    pub(crate) const fn away(source: reqwest::Error) -> Self {
        Self::Away(source)
    }

    /// The error in an answer.
    pub(crate) async fn of(response: Response) -> Self {
        let status = response.status();
        let retry_after = response
            .headers()
            .get(reqwest::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok())
            .map(Duration::from_secs);
        let text = match response.text().await {
            Ok(text) => text,
            Err(source) => return Self::Away(source),
        };
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) if !problem.code.is_empty() => Self::Refused(Box::new(Problem {
                status: status.as_u16(),
                retry_after,
                ..problem
            })),
            Ok(_) | Err(_) => Self::Odd { status, text },
        }
    }

    /// Whether the same request may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Refused(problem) => matches!(problem.status, 429 | 502 | 503 | 504),
            Self::Away(_) => true,
            Self::Odd { status, .. } => matches!(status.as_u16(), 502..=504),
        }
    }

    /// When the service wants the request again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(problem) => problem.retry_after,
            Self::Away(_) | Self::Odd { .. } => None,
        }
    }

    /// The exit code of a command that ends with it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Refused(problem) => match problem.status {
                404 if problem.code == ErrorCode::NOT_FOUND.to_string() => Exit::NotFound,
                400..=408 | 410..=428 => Exit::Usage,
                409 => Exit::Refused,
                429 | 502..=504 => Exit::Temporary,
                _ => Exit::Failed,
            },
            Self::Away(_) | Self::Odd { .. } => Exit::Unavailable,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The detail says it all; the title is for those that have none.
        let what = if self.detail.is_empty() {
            &self.title
        } else {
            &self.detail
        };
        write!(f, "{what}\n  code: {} {}", self.code, self.name)?;
        if let Some(advice) = self.advice() {
            write!(f, "\n  what to do: {advice}")?;
        }
        Ok(())
    }
}

impl Problem {
    /// What a person could do about it.
    fn advice(&self) -> Option<String> {
        if !self.legal_actions.is_empty() {
            return Some(format!("possible now: {}", self.legal_actions.join(", ")));
        }
        if let Some(span) = self.retry_after {
            return Some(format!("try again in {} s", span.as_secs()));
        }
        let text = match self.status {
            404 => {
                "look for it with `drumline list`; a Completed operation that was deleted is gone"
            }
            413 => {
                "put the large part elsewhere and send a reference, or raise --max-body of the queue manager"
            }
            429 | 503 => "try again later; `drumline doctor` says what is wrong",
            500 => "this is a bug of Drumline; the log of the queue manager says more",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// Where the request went, and the last cause in the chain: it is the one that
/// says something.
fn away(error: &reqwest::Error) -> String {
    let server = error
        .url()
        .map(|url| format!(" at {}", url.origin().ascii_serialization()))
        .unwrap_or_default();
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let (what, advice) = if error.is_timeout() {
        (
            "did not answer in time",
            "look at its log, or give it longer with --request-timeout",
        )
    } else {
        (
            "cannot be reached",
            "start one (`drumline dev`), or name another with --server",
        )
    };
    format!("the queue manager{server} {what}: {cause}\n  what to do: {advice}")
}

/// The first line of a text, not too long.
fn start_of(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.get(..200).unwrap_or(line)
}

//! The server was unreachable, or its response was truncated.

use std::error::Error as StdError;

use super::Error;

/// The service cannot be reached, or did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("the queue manager{server} {}: {cause}", what(*.timed_out))]
pub struct Unreachable {
    /// ` at http://…`, or nothing.
    server: String,
    /// The deepest cause: the causes above it repeat the address, and each
    /// other.
    // Told in the text, hence not a `source`.
    cause: String,
    was_not_sent: bool,
    timed_out: bool,
}

impl Unreachable {
    pub(crate) fn error(error: reqwest::Error) -> Error {
        let server = error
            .url()
            .map(|url| format!(" at {}", url.origin().ascii_serialization()))
            .unwrap_or_default();
        let mut cause: &dyn StdError = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Error::Unreachable(Box::new(Self {
            server,
            cause: cause.to_string(),
            was_not_sent: error.is_connect() || error.is_builder(),
            timed_out: error.is_timeout(),
        }))
    }

    /// A request that was not even refused in time.
    pub(crate) fn silent() -> Error {
        Error::Unreachable(Box::new(Self {
            server: String::new(),
            cause: "no answer".to_owned(),
            was_not_sent: false,
            timed_out: true,
        }))
    }

    /// Returns true if there was no connection: the service has not seen the
    /// request.
    #[must_use]
    pub const fn was_not_sent(&self) -> bool {
        self.was_not_sent
    }

    /// Returns true if it took longer than the client was set to wait.
    #[must_use]
    pub const fn timed_out(&self) -> bool {
        self.timed_out
    }

    pub(super) const fn hint(&self) -> &'static str {
        if self.timed_out {
            "read its log, or allow more time"
        } else {
            "start one (`drumline dev`), or use another address"
        }
    }
}

const fn what(timed_out: bool) -> &'static str {
    if timed_out {
        "did not answer in time"
    } else {
        "cannot be reached"
    }
}

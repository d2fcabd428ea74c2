//! The server was unreachable, or its response was truncated.

use std::error::Error as StdError;

use drumline_tls::{Names, Trouble};

use super::Error;

/// The service cannot be reached, or did not answer in time.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the queue manager{server} {}: {cause}", what(*.timed_out))]
pub struct Unreachable {
    /// ` at http://…`, or nothing.
    server: String,
    /// The deepest cause: the causes above it repeat the address, and each
    /// other.
    // Told in the text, hence not a `source`.
    cause: String,
    /// The cause, if it is a TLS handshake that failed.
    trouble: Option<Trouble>,
    was_not_sent: bool,
    timed_out: bool,
}

impl Unreachable {
    pub(crate) fn error(error: reqwest::Error) -> Error {
        let server = error
            .url()
            .map(|url| format!(" at {}", url.origin().ascii_serialization()))
            .unwrap_or_default();
        let trouble = Trouble::find(&error);
        let mut cause: &dyn StdError = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Error::Unreachable(Box::new(Self {
            server,
            cause: trouble
                .as_ref()
                .map_or_else(|| cause.to_string(), ToString::to_string),
            // With TLS 1.3, a client hears of its refused certificate after it has sent.
            was_not_sent: error.is_connect() || error.is_builder() || trouble.is_some(),
            trouble,
            timed_out: error.is_timeout(),
        }))
    }

    /// A request that was not even refused in time.
    pub(crate) fn silent() -> Error {
        Error::Unreachable(Box::new(Self {
            server: String::new(),
            cause: "no answer".to_owned(),
            trouble: None,
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

    /// Returns true if the two sides could not agree on an encrypted connection: the
    /// same request fails again until a certificate, an address or a setting is changed.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.trouble.is_some()
    }

    /// The change that makes an encrypted connection possible, in the names of a
    /// program's settings.
    #[must_use]
    pub fn tls_hint(&self, names: Names) -> Option<String> {
        Some(self.trouble.as_ref()?.hint(names))
    }

    pub(super) fn hint(&self) -> String {
        const NAMES: Names = Names {
            ca: "Builder::ca_file",
            cert: "Builder::client_certificate",
            plain: "an http:// address",
        };
        if let Some(hint) = self.tls_hint(NAMES) {
            hint
        } else if self.timed_out {
            "read its log, or allow more time".to_owned()
        } else {
            "start one (`drumline dev`), or use another address".to_owned()
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

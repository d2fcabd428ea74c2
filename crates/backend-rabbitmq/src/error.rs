//! Errors of the settings, and the translation of lapin's errors to
//! the port's.

use std::time::Duration;

use drumline_backend::broker;
use lapin::ErrorKind;
use lapin::protocol::{AMQPError, AMQPErrorKind};

/// AMQP's number for "no such queue".
const NOT_FOUND: u16 = 404;

/// A setting that cannot be used. Later errors are the port's
/// [`broker::Error`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a URL of a broker.
    #[error("not an AMQP URL (amqp://user:password@host:5672/vhost): {reason}")]
    Url {
        /// The mistake.
        reason: String,
    },
    /// Not a namespace.
    #[error("a namespace is 1 to 64 of a-z, A-Z, 0-9, -, _, . and :, not {text:?}")]
    Namespace {
        /// The text that was given.
        text: String,
    },
}

/// The result of reading a setting.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of a request that has failed.
pub(crate) fn failed(doing: &str, source: lapin::Error) -> broker::Error {
    broker::Error::Unavailable {
        message: doing.to_owned(),
        source: Some(Box::new(source)),
    }
}

/// The error of a connection that could not be made without lapin.
pub(crate) fn broken(doing: &str, source: std::io::Error) -> broker::Error {
    broker::Error::Unavailable {
        message: doing.to_owned(),
        source: Some(Box::new(source)),
    }
}

/// Returns true if the broker has refused a request and the connection is fine:
/// a queue that is declared otherwise, a missing permission, a message that is
/// too large. Everything else is a reason to doubt the connection.
pub(crate) fn is_refusal(error: &broker::Error) -> bool {
    protocol_error(error).is_some_and(|said| matches!(said.kind(), AMQPErrorKind::Soft(_)))
}

/// Returns true if the broker has ended the connection because of the request.
pub(crate) fn is_hard(error: &broker::Error) -> bool {
    protocol_error(error).is_some_and(|said| matches!(said.kind(), AMQPErrorKind::Hard(_)))
}

/// Returns true if the broker says that there is no such queue.
pub(crate) fn is_not_found(error: &broker::Error) -> bool {
    protocol_error(error).is_some_and(|said| said.get_id() == NOT_FOUND)
}

/// Returns true if the request was not sent, because its channel had been closed.
pub(crate) fn was_closed(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidChannelState(..))
}

/// The broker's own error, where it has given one.
fn protocol_error(error: &broker::Error) -> Option<&AMQPError> {
    let broker::Error::Unavailable {
        source: Some(source),
        ..
    } = error
    else {
        return None;
    };
    match source.downcast_ref::<lapin::Error>()?.kind() {
        ErrorKind::ProtocolError(said) => Some(said),
        _ => None,
    }
}

/// The broker's own words for a refusal.
pub(crate) fn reason(error: &broker::Error) -> String {
    let said = protocol_error(error).map(|said| said.get_message().to_string());
    said.unwrap_or_else(|| error.to_string())
}

/// The error of a request without an answer in time.
pub(crate) fn silent(doing: &str, waited: Duration) -> broker::Error {
    broker::Error::Unavailable {
        message: format!("{doing}: no answer within {waited:?}"),
        source: None,
    }
}

/// The error of a request after the connections were closed.
pub(crate) fn stopped() -> broker::Error {
    broker::Error::Unavailable {
        message: "this process has closed its connections".to_owned(),
        source: None,
    }
}

/// Describes an attempt and its failure, with the causes, in one line.
pub(crate) fn describe(error: &broker::Error) -> String {
    let mut text = match error {
        // Without the words that the port puts before it.
        broker::Error::Unavailable { message, .. } => message.clone(),
        broker::Error::Blocked { .. }
        | broker::Error::Unroutable { .. }
        | broker::Error::Queue { .. }
        | broker::Error::Refused
        | broker::Error::Encode(_) => error.to_string(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors say what their cause says.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

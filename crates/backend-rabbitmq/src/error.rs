//! What can be wrong before there is a broker, and how lapin's errors become
//! the port's.

use std::time::Duration;

use drumline_backend::broker;
use lapin::ErrorKind;
use lapin::protocol::AMQPErrorKind;

/// A setting that cannot be used. What goes wrong later is the port's
/// [`broker::Error`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a URL of a broker.
    #[error("not an AMQP URL (amqp://user:password@host:5672/vhost): {reason}")]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// Not a namespace.
    #[error("a namespace is 1 to 64 of a-z, A-Z, 0-9, -, _, . and :, not {text:?}")]
    Namespace {
        /// What was given.
        text: String,
    },
}

/// The result of reading a setting.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The broker failed at something.
pub(crate) fn failed(doing: &str, source: lapin::Error) -> broker::Error {
    broker::Error::Unavailable {
        message: doing.to_owned(),
        source: Some(Box::new(source)),
    }
}

/// Whether the broker has refused what was asked, and the connection is fine:
/// a queue that is declared otherwise, a missing permission, a message that is
/// too large. Everything else is a reason to doubt the connection.
pub(crate) fn is_refusal(error: &broker::Error) -> bool {
    let broker::Error::Unavailable {
        source: Some(source),
        ..
    } = error
    else {
        return false;
    };
    match source
        .downcast_ref::<lapin::Error>()
        .map(lapin::Error::kind)
    {
        Some(ErrorKind::ProtocolError(error)) => matches!(error.kind(), AMQPErrorKind::Soft(_)),
        Some(_) | None => false,
    }
}

/// The broker did not answer in time.
pub(crate) fn silent(doing: &str, waited: Duration) -> broker::Error {
    broker::Error::Unavailable {
        message: format!("{doing}: no answer within {waited:?}"),
        source: None,
    }
}

/// There is nobody to ask any more.
pub(crate) fn stopped() -> broker::Error {
    broker::Error::Unavailable {
        message: "this process has closed its connections".to_owned(),
        source: None,
    }
}

//! Stored and sent bytes: a format version, then bincode.
//!
//! This module alone names bincode, so that it could be replaced. 2.0.1 is the
//! last release that works (3.0.0 is a compile error) and is unmaintained
//! (RUSTSEC-2025-0141), so we hold it at arm's length: every decode has a limit
//! (without one a 9-byte message can demand all memory), trailing bytes are
//! refused, and each kind has its version byte in front. Fixtures of every
//! version ever written are committed under `fixtures/`.
//!
//! A release reads the version before its own, too (`codec::earlier`), and keeps the
//! fields that a later minor version has added ([`crate::extensions`]).

mod earlier;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bulk_action::BulkAction;
use crate::history::Entry;
use crate::limits;
use crate::message::Message;
use crate::operation::{Body, Header, Report};
use crate::output::Output;
use crate::pause::Pause;

/// A type with a format of its own.
pub trait Format: Serialize + DeserializeOwned {
    /// The word for error messages.
    const WHAT: &'static str;
    /// The byte in front. High nibble: the kind; low nibble: its version, so
    /// that one kind is never decoded as another.
    const VERSION: u8;

    /// Decodes the content of an earlier version; `None` for a version that this
    /// release does not read.
    fn decode_earlier(_version: u8, _content: &[u8]) -> Option<Result<Self, Error>> {
        None
    }
}

impl Format for Header {
    const WHAT: &'static str = "header";
    const VERSION: u8 = 0x14;

    fn decode_earlier(version: u8, content: &[u8]) -> Option<Result<Self, Error>> {
        (version == 0x13).then(|| earlier::without_extensions(content))
    }
}

impl Format for Body {
    const WHAT: &'static str = "body";
    const VERSION: u8 = 0x24;

    fn decode_earlier(version: u8, content: &[u8]) -> Option<Result<Self, Error>> {
        (version == 0x23).then(|| earlier::without_extensions(content))
    }
}

impl Format for Report {
    const WHAT: &'static str = "report";
    const VERSION: u8 = 0x32;

    fn decode_earlier(version: u8, content: &[u8]) -> Option<Result<Self, Error>> {
        (version == 0x31).then(|| earlier::without_extensions(content))
    }
}

impl Format for Message {
    const WHAT: &'static str = "message";
    const VERSION: u8 = 0x44;

    fn decode_earlier(version: u8, content: &[u8]) -> Option<Result<Self, Error>> {
        (version == 0x43).then(|| earlier::message(content))
    }
}

impl Format for Entry {
    const WHAT: &'static str = "entry";
    const VERSION: u8 = 0x61;
}

impl Format for Pause {
    const WHAT: &'static str = "pause";
    const VERSION: u8 = 0x71;
}

impl Format for Output {
    const WHAT: &'static str = "output";
    const VERSION: u8 = 0x81;
}

impl Format for BulkAction {
    const WHAT: &'static str = "action";
    const VERSION: u8 = 0xa1;
}

/// The bytes were not written by this version of Drumline.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No bytes at all.
    #[error("{what}: no bytes")]
    Empty {
        /// The kind of value that was decoded.
        what: &'static str,
    },
    /// Another kind, or an unknown version.
    #[error("{what}: format {found:#04x}, this release reads {expected:#04x}")]
    Version {
        /// The kind of value that was decoded.
        what: &'static str,
        /// The byte in front.
        found: u8,
        /// The byte that this release reads.
        expected: u8,
    },
    /// Not what bincode expects.
    #[error("{what}: {source}")]
    Decode {
        /// The kind of value that was decoded.
        what: &'static str,
        /// The error of bincode.
        source: bincode::error::DecodeError,
    },
    /// More bytes than the value has.
    #[error("{what}: {count} trailing bytes")]
    Trailing {
        /// The kind of value that was decoded.
        what: &'static str,
        /// The number of bytes too many.
        count: usize,
    },
    /// The value could not be encoded: only a value over every limit fails so.
    #[error("{what}: {source}")]
    Encode {
        /// The kind of value that was encoded.
        what: &'static str,
        /// The error of bincode.
        source: bincode::error::EncodeError,
    },
}

/// The word for a field in error messages.
const FIELD: &str = "field";

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<{ limits::DECODE_BYTES }>()
}

/// Encodes a value.
///
/// # Errors
/// [`Error::Encode`] if bincode refuses the value.
pub fn encode<T: Format>(value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![T::VERSION];
    bincode::serde::encode_into_std_write(value, &mut bytes, config()).map_err(|source| {
        Error::Encode {
            what: T::WHAT,
            source,
        }
    })?;
    Ok(bytes)
}

/// Decodes a value.
///
/// # Errors
/// Any bytes that are not exactly the output of [`encode`] of this release, or of
/// the version before.
pub fn decode<T: Format>(bytes: &[u8]) -> Result<T, Error> {
    let what = T::WHAT;
    let Some((&found, content)) = bytes.split_first() else {
        return Err(Error::Empty { what });
    };
    if found == T::VERSION {
        return exactly(what, content);
    }
    T::decode_earlier(found, content).unwrap_or(Err(Error::Version {
        what,
        found,
        expected: T::VERSION,
    }))
}

/// Encodes the value of a field of [`crate::extensions`].
pub(crate) fn encode_field<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    bincode::serde::encode_to_vec(value, config()).map_err(|source| Error::Encode {
        what: FIELD,
        source,
    })
}

/// Decodes the value of a field of [`crate::extensions`].
pub(crate) fn decode_field<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    exactly(FIELD, bytes)
}

/// Decodes bytes that are the value, and nothing behind it.
fn exactly<T: DeserializeOwned>(what: &'static str, content: &[u8]) -> Result<T, Error> {
    let (value, used) = bincode::serde::decode_from_slice(content, config())
        .map_err(|source| Error::Decode { what, source })?;
    if used != content.len() {
        return Err(Error::Trailing {
            what,
            count: content.len().saturating_sub(used),
        });
    }
    Ok(value)
}

#[cfg(test)]
mod tests;

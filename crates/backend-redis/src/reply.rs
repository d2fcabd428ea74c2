//! Takes answers of Redis apart.
//!
//! A shape that is not expected means that the script on the server is not
//! ours, or the server not a Redis: the store must not be used then.

use drumline_backend::store::{Error, Result};
use redis::Value;

/// A part of an answer that is taken one by one.
#[derive(Debug)]
pub(crate) struct Parts(std::vec::IntoIter<Value>);

impl Parts {
    /// The parts of an array.
    pub(crate) fn of(value: Value) -> Result<Self> {
        Ok(Self(array(value)?.into_iter()))
    }

    /// The next part.
    pub(crate) fn value(&mut self) -> Result<Value> {
        self.0.next().ok_or_else(unexpected)
    }

    /// The next part: bytes.
    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>> {
        bytes(self.value()?)
    }

    /// The next part: bytes, or nothing.
    pub(crate) fn maybe_bytes(&mut self) -> Result<Option<Vec<u8>>> {
        maybe_bytes(self.value()?)
    }

    /// The next part: a number.
    pub(crate) fn number(&mut self) -> Result<u64> {
        number(self.value()?)
    }

    /// The next part: parts of its own.
    pub(crate) fn parts(&mut self) -> Result<Self> {
        Self::of(self.value()?)
    }

    /// How many parts are left.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

pub(crate) fn array(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(unexpected()),
    }
}

pub(crate) fn bytes(value: Value) -> Result<Vec<u8>> {
    maybe_bytes(value)?.ok_or_else(unexpected)
}

pub(crate) fn maybe_bytes(value: Value) -> Result<Option<Vec<u8>>> {
    match value {
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        Value::Nil => Ok(None),
        _ => Err(unexpected()),
    }
}

pub(crate) fn text(value: Value) -> Result<String> {
    String::from_utf8(bytes(value)?).map_err(|_error: std::string::FromUtf8Error| unexpected())
}

pub(crate) fn number(value: Value) -> Result<u64> {
    match value {
        Value::Int(number) => {
            u64::try_from(number).map_err(|_error: std::num::TryFromIntError| unexpected())
        }
        _ => Err(unexpected()),
    }
}

/// A bulk of 16 bytes.
pub(crate) fn sixteen(bytes: &[u8]) -> Result<[u8; 16]> {
    bytes
        .try_into()
        .map_err(|_error: std::array::TryFromSliceError| unexpected())
}

pub(crate) fn unexpected() -> Error {
    Error::Unfit("Redis answered something that this release does not understand".to_owned())
}

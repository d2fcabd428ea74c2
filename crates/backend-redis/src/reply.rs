//! Takes answers of Redis apart.
//!
//! An unexpected shape means that the script on the server is not ours, or that
//! the server is not a Redis: the store must not be used then.

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

    /// The number of parts that are left.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A string that a script has put together, taken apart from its start.
#[derive(Debug)]
pub(crate) struct Packed<'a>(&'a [u8]);

impl<'a> Packed<'a> {
    /// Wraps all bytes of an answer.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next so many bytes.
    pub(crate) fn take<const N: usize>(&mut self) -> Result<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(unexpected)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next byte.
    pub(crate) fn letter(&mut self) -> Result<u8> {
        let [letter] = *self.take()?;
        Ok(letter)
    }

    /// The next 8 bytes: a number.
    pub(crate) fn number(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(*self.take()?))
    }

    /// The next bytes, which have their length before them.
    pub(crate) fn sized(&mut self) -> Result<&'a [u8]> {
        let length = u32::from_be_bytes(*self.take()?);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(unexpected)?;
        self.0 = rest;
        Ok(taken)
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

pub(crate) fn array(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(unexpected()),
    }
}

/// The members of a set.
pub(crate) fn members(value: Value) -> Result<Vec<Vec<u8>>> {
    match value {
        Value::Array(values) | Value::Set(values) => values.into_iter().map(bytes).collect(),
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
    Error::Unfit("Redis gave an answer that this release cannot parse".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_answer_ends_where_it_ends() {
        let mut packed = Packed::new(b"D\0\0\0\0\0\0\0\x07\0\0\0\x02hi\0\0\0\x05four");
        assert_eq!(packed.letter().unwrap(), b'D');
        assert_eq!(packed.number().unwrap(), 7);
        assert_eq!(packed.sized().unwrap(), b"hi");
        assert!(packed.sized().is_err(), "it says five and has four");
        assert!(Packed::new(b"short").number().is_err());
        assert_eq!(Packed::new(b"rest").rest(), b"rest");
    }
}

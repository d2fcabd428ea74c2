//! A place in the order of completions, and its text: the id of an event.

use std::fmt;
use std::str::FromStr;

use drumline_backend::store::Stamp;
use drumline_protocol::OperationId;

/// A place in the order of completions: the ends behind it have not been reported
/// yet. As text it is `stamp-id`, or `stamp` alone behind all ends of that
/// stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    stamp: Stamp,
    id: Option<OperationId>,
}

/// A text that is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the id of an event of this service")]
pub struct InvalidCursor;

impl Cursor {
    /// The cursor behind all ends of a stamp.
    pub(super) const fn behind(stamp: Stamp) -> Self {
        Self { stamp, id: None }
    }

    /// The cursor right behind one end.
    #[must_use]
    pub const fn of((stamp, id): (Stamp, OperationId)) -> Self {
        Self {
            stamp,
            id: Some(id),
        }
    }

    /// Returns true if an end lies behind the cursor.
    pub(super) fn is_before(self, (stamp, id): (Stamp, OperationId)) -> bool {
        stamp > self.stamp || (stamp == self.stamp && self.id.is_some_and(|last| id > last))
    }

    /// The stamp after which the ends must be read.
    pub(super) const fn read_after(self) -> Stamp {
        match self.id {
            // Other operations may have ended in the same microsecond.
            Some(_) => Stamp(self.stamp.0.saturating_sub(1)),
            None => self.stamp,
        }
    }

    /// The later of this cursor and the one behind a stamp.
    pub(super) fn advanced_to(self, stamp: Stamp) -> Self {
        if stamp > self.stamp {
            Self::behind(stamp)
        } else {
            self
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "{}-{id}", self.stamp.0),
            None => write!(f, "{}", self.stamp.0),
        }
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (stamp, id) = match text.split_once('-') {
            Some((stamp, id)) => (stamp, Some(id)),
            None => (text, None),
        };
        // `+1` is a number to Rust, but not a cursor that this service gave out.
        if !stamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidCursor);
        }
        let stamp = stamp.parse().map_err(|_not| InvalidCursor)?;
        let id = id.map(str::parse).transpose();
        Ok(Self {
            stamp: Stamp(stamp),
            id: id.map_err(|_not| InvalidCursor)?,
        })
    }
}

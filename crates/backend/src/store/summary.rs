//! Summaries: operations without the parts that may be large, for readers of
//! many; and the bounds of the answers that hold these parts.
//!
//! An answer without a bound in bytes may take longer than its timeout. Then it
//! is asked for again, and never arrives.

use drumline_protocol::message::Offer;
use drumline_protocol::{Body, Header, Operation, OperationId};

/// The bytes of data and reports that one answer of a store holds, if more than
/// one operation is in it. More would hold up the answers behind it; at 10 MB a
/// second an answer takes a tenth of a second. A lone operation may be larger.
pub const ANSWER_BYTES: usize = 1 << 20;

/// The most bytes of data and reports that the answer to commits brings along, all
/// commits of a call together. An operation that does not fit, or that the store
/// keeps in several places, is read by itself: see [`Done::record`](super::Done::record). More would save readers of large
/// operations a round trip, and would hold up all commits behind it.
pub const ALONG_BYTES: usize = 256 << 10;

/// An operation without its data and its report.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Its id.
    pub id: OperationId,
    /// The part that transitions change.
    pub header: Header,
    /// The part that never changes, without its data.
    pub body: Body,
    /// The order of submission.
    pub sequence: u64,
}

impl Summary {
    /// The summary of an operation.
    #[must_use]
    pub fn of(operation: &Operation) -> Self {
        Self {
            id: operation.id,
            header: operation.header.clone(),
            body: operation.body.without_data(),
            sequence: operation.sequence,
        }
    }

    /// The offer of the operation as it stands.
    #[must_use]
    pub fn offer(&self) -> Offer {
        Offer::new(self.id, &self.header, &self.body)
    }
}

/// The room that an answer has for the records of operations.
#[derive(Clone, Copy, Debug)]
pub struct Room(usize);

impl Room {
    /// Room for this many bytes of data and reports.
    #[must_use]
    pub const fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    /// Returns true if there is room for a record of so many bytes, and takes the room.
    pub const fn take(&mut self, bytes: usize) -> bool {
        match self.0.checked_sub(bytes) {
            Some(left) => {
                self.0 = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_until_a_record_does_not_fit() {
        let mut room = Room::new(10);
        assert!(room.take(4));
        assert!(!room.take(7), "nothing is taken then");
        assert!(room.take(6));
        assert!(!room.take(1));
        assert!(room.take(0));
    }
}

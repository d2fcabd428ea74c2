//! The history of an operation, as a store keeps it.

use drumline_protocol::history::Entry;
use drumline_protocol::{Body, Header, History};

/// The part of an operation's history that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The header: it shows the entries that are not stored.
    pub header: Header,
    /// The stored entries, in any order.
    pub entries: Vec<Entry>,
}

impl Recorded {
    /// The history of the operation, which has this body.
    #[must_use]
    pub fn history(self, body: &Body) -> History {
        History::new(&self.header, body, self.entries)
    }
}

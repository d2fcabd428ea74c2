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

#[cfg(test)]
mod tests {
    use drumline_protocol::operation::first_header;
    use drumline_protocol::{CommitId, Rules, Timestamp};

    use super::*;

    #[test]
    fn an_operation_that_was_created_has_a_history() {
        let now = Timestamp::from_millis(1_795_000_000_000);
        let header = first_header(Rules::default(), None, CommitId(1), now);
        let body = Body::new("DoIt", now);
        let recorded = Recorded {
            header: header.clone(),
            entries: Vec::new(),
        };
        let expected = History::new(&header, &body, Vec::new());
        assert_ne!(expected, History::default());
        assert_eq!(recorded.history(&body), expected);
    }
}

//! The audit stream: who has asked for which change, and who was denied, for people
//! who look.
//!
//! ```text
//! entries ── append, in batches ─→ the stream: the newest 10,000
//!                                     └─ read, newest first, from a place on
//! ```
//!
//! An entry is a line of JSON, which the store does not look into. The oldest entries
//! leave when there are more than [`AUDIT_ENTRIES`]. With [`AUDIT_ENTRY_BYTES`] for
//! each, the stream takes 16 MB at most.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use drumline_protocol::CommitId;

use super::error::{Error, Result};

/// The entries that stay. The oldest ones leave.
pub const AUDIT_ENTRIES: usize = 10_000;
/// The most bytes of an entry.
pub const AUDIT_ENTRY_BYTES: usize = 1_600;
/// The most entries of one answer: 200 kB, for which commits need not wait long.
pub const AUDIT_PAGE: usize = 128;

/// The place of an entry: later entries have greater places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditPlace {
    /// The time at which the entry was stored, by the store's clock, in Unix
    /// milliseconds. Never less than that of an earlier entry.
    pub ms: u64,
    /// The number of the entry within its millisecond.
    pub number: u64,
}

impl AuditPlace {
    /// The greatest place before this one; `None` for the first.
    #[must_use]
    pub const fn before(self) -> Option<Self> {
        match (self.ms, self.number) {
            (0, 0) => None,
            (ms, 0) => Some(Self {
                ms: ms - 1,
                number: u64::MAX,
            }),
            (ms, number) => Some(Self {
                ms,
                number: number - 1,
            }),
        }
    }
}

/// Milliseconds and number: `1795000000000-0`.
impl fmt::Display for AuditPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

/// The text is not a place of the audit stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a place of the audit stream is two numbers with - between")]
pub struct InvalidAuditPlace;

impl FromStr for AuditPlace {
    type Err = InvalidAuditPlace;

    fn from_str(text: &str) -> Result<Self, InvalidAuditPlace> {
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits)
        };
        let parts = text.split_once('-');
        let place = parts.and_then(|(ms, at)| {
            Some(Self {
                ms: number(ms)?,
                number: number(at)?,
            })
        });
        place.ok_or(InvalidAuditPlace)
    }
}

/// One entry, as a reader gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The place.
    pub place: AuditPlace,
    /// A line of JSON.
    pub text: String,
}

/// Checks that a store can keep these entries.
///
/// # Errors
/// [`Error::Unfit`] when one is longer than [`AUDIT_ENTRY_BYTES`].
pub fn check_audit_entries(entries: &[String]) -> Result<()> {
    match entries.iter().find(|text| text.len() > AUDIT_ENTRY_BYTES) {
        None => Ok(()),
        Some(long) => Err(Error::Unfit(format!(
            "an audit entry of {} bytes is longer than {AUDIT_ENTRY_BYTES}",
            long.len()
        ))),
    }
}

/// The part of a [`Store`](super::Store) that keeps the audit stream.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Adds entries, in their order. A repetition of the same batch within some
    /// minutes adds nothing.
    ///
    /// # Errors
    /// When the store is unavailable: the entries may or may not have been added;
    /// repeat the same batch. [`Error::Unfit`] when an entry is too long.
    async fn append_audit(&self, batch: CommitId, entries: &[String]) -> Result<()>;

    /// Returns at most `limit` entries before a place, newest first; of all entries
    /// if there is no place. At most [`AUDIT_PAGE`] come in one answer, and fewer
    /// than were asked for only at the end of the stream.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn audit_before(
        &self,
        place: Option<AuditPlace>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_and_read_again_and_has_one_before() {
        let place = |ms, number| AuditPlace { ms, number };
        for some in [place(0, 0), place(1_795_000_000_000, 7)] {
            assert_eq!(some.to_string().parse(), Ok(some));
        }
        assert_eq!(place(0, 0).before(), None);
        assert_eq!(place(5, 2).before(), Some(place(5, 1)));
        assert_eq!(place(5, 0).before(), Some(place(4, u64::MAX)));
        for text in ["", "5", "-", "5-", "+5-0", "5-0-0", "a-0"] {
            assert_eq!(text.parse::<AuditPlace>(), Err(InvalidAuditPlace), "{text}");
        }
    }

    #[test]
    fn a_long_entry_is_unfit() {
        let fits = vec![String::new(), "x".repeat(AUDIT_ENTRY_BYTES)];
        assert!(check_audit_entries(&fits).is_ok());
        let long = vec![String::new(), "x".repeat(AUDIT_ENTRY_BYTES + 1)];
        assert!(matches!(check_audit_entries(&long), Err(Error::Unfit(_))));
    }
}

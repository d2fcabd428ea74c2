//! Mutes: a person knows of a kind of failure, so it raises no alarm for a while.
//!
//! A mute changes nothing for operations. It always has an end: a kind of failure that is
//! never heard of again is worse than one alarm too many.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::history::Author;
use crate::time::Timestamp;

/// The longest time that a mute is in force.
pub const LONGEST_MUTE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A mute of a failure group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mute {
    /// The reason, for people.
    pub reason: String,
    /// The author.
    pub author: Author,
    /// The time at which it was set.
    pub since: Timestamp,
    /// The time at which it ends.
    pub until: Timestamp,
}

impl Mute {
    /// Returns true if it has not ended.
    #[must_use]
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// The mute as stores keep it.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a mute of a store; `None` if this release cannot read it. Then the
    /// failures are heard, which is the safe side.
    #[must_use]
    pub fn from_json(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_keeps_a_mute_in_a_form_that_stays() {
        let mute = Mute {
            reason: "the \"crm\" is being moved".to_owned(),
            author: Author::Caller("ann".to_owned()),
            since: Timestamp::from_millis(1_795_000_000_000),
            until: Timestamp::from_millis(1_795_000_060_000),
        };
        let json = concat!(
            r#"{"reason":"the \"crm\" is being moved","author":{"Caller":"ann"},"#,
            r#""since":1795000000000,"until":1795000060000}"#
        );
        assert_eq!(mute.to_json(), json);
        assert_eq!(Mute::from_json(json.as_bytes()), Some(mute));
        // A later release may write more.
        let more = json.replace("\"since\"", "\"also\":1,\"since\"");
        assert!(Mute::from_json(more.as_bytes()).is_some());
        assert_eq!(Mute::from_json(b"{}"), None);
    }

    #[test]
    fn a_mute_ends_at_its_time() {
        let mute = Mute {
            reason: String::new(),
            author: Author::Caller("ann".to_owned()),
            since: Timestamp::from_millis(0),
            until: Timestamp::from_millis(2),
        };
        assert!(mute.is_in_force(Timestamp::from_millis(1)));
        assert!(!mute.is_in_force(Timestamp::from_millis(2)));
    }

    #[test]
    fn a_mute_is_in_force_for_thirty_days_at_most() {
        assert_eq!(LONGEST_MUTE, Duration::from_hours(30 * 24));
    }
}

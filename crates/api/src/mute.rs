//! Mutes: the request that mutes a failure group.

use drumline_protocol::{Timestamp, limits};

use crate::error::{Error, Invalid};
use crate::fields::Fields;

/// A mute that is to be set, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetMute {
    /// The reason, for people.
    pub reason: String,
    /// The time at which the mute ends.
    pub until: Timestamp,
}

impl SetMute {
    /// Reads the request from JSON: `reason`, `until`. Both are required.
    ///
    /// # Errors
    /// [`Error::Syntax`] when it is not JSON; [`Error::Invalid`] with all attributes
    /// that are missing, unknown, or break a rule.
    pub fn from_json(body: &[u8]) -> Result<Self, Error> {
        let mut given = Fields::of_body(body)?;
        let reason = given.text("reason", limits::PAUSE_REASON_CHARS);
        let reason = reason.filter(|reason| !reason.trim().is_empty());
        let until = given.time("until");
        for (attribute, is_missing) in [("reason", reason.is_none()), ("until", until.is_none())] {
            if is_missing && !given.is_noted(attribute) {
                given.note(attribute, "is required");
            }
        }
        given.refuse_rest(|_name| "is unknown");
        match (reason, until) {
            (Some(reason), Some(until)) if given.errors.is_empty() => Ok(Self { reason, until }),
            (Some(_) | None, Some(_) | None) => Err(Invalid::arguments(given.errors).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mute_is_read() {
        let body = br#"{"reason": "the vendor knows", "until": "2026-11-20T15:42:00Z"}"#;
        let read = SetMute::from_json(body).unwrap();
        assert_eq!(read.reason, "the vendor knows");
        assert_eq!(read.until.to_string(), "2026-11-20T15:42:00.000Z");
    }

    #[test]
    fn every_mistake_is_named() {
        let wrong = |body: &str| match SetMute::from_json(body.as_bytes()) {
            Err(Error::Invalid(invalid)) => {
                let names = invalid.attributes.into_iter().map(|one| one.name);
                names.collect::<Vec<_>>()
            }
            other => panic!("{body}: {other:?}"),
        };
        assert_eq!(wrong("{}"), ["reason", "until"]);
        assert_eq!(
            wrong(r#"{"reason": " ", "until": "soon"}"#),
            ["until", "reason"]
        );
        let body = r#"{"reason": "x", "until": "2026-11-20T15:42:00Z", "for": "2h"}"#;
        assert_eq!(wrong(body), ["for"]);
    }
}

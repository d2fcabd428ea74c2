//! A point in time, to the millisecond, in UTC.
//!
//! The core compares and adds times; it never asks for the current one.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch. Written as RFC 3339 where people read it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The first and the last time that RFC 3339 can write: the beginning of the
    /// year 0 and the end of the year 9999.
    pub const RANGE: RangeInclusive<Self> = Self(-62_167_219_200_000)..=Self(253_402_300_799_999);

    /// This time and a span later; the end of the [range](Self::RANGE) where that
    /// is beyond it.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let sum = Self(self.0.saturating_add(ms));
        sum.min(self.max(*Self::RANGE.end()))
    }

    /// The span from `earlier` to this time; zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339, in any zone.
    ///
    /// # Errors
    /// When the text is not RFC 3339, or is not within the [range](Self::RANGE) in
    /// UTC: then it could be read, and not be written.
    pub fn parse_rfc3339(text: &str) -> Result<Self, InvalidTimestamp> {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|time| Self(time.timestamp_millis()))
            .filter(|time| Self::RANGE.contains(time))
            .ok_or(InvalidTimestamp)
    }
}

/// The text is not an RFC 3339 time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time: expected RFC 3339 up to the year 9999, for example 2026-11-20T15:42:00Z")]
pub struct InvalidTimestamp;

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An earlier release may have stored a time beyond the range. Programs that
        // read it need a time more than they need this one.
        let Self(ms) = (*self).clamp(*Self::RANGE.start(), *Self::RANGE.end());
        match DateTime::<Utc>::from_timestamp_millis(ms) {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => write!(f, "{ms} ms"),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let time = Timestamp::from_millis(1_795_000_000_123);
        assert_eq!(time.to_string(), "2026-11-18T11:06:40.123Z");
        assert_eq!(Timestamp::parse_rfc3339(&time.to_string()), Ok(time));
        assert_eq!(
            Timestamp::parse_rfc3339("2026-11-18T12:06:40.123+01:00"),
            Ok(time)
        );
        assert_eq!(Timestamp::parse_rfc3339("tomorrow"), Err(InvalidTimestamp));
    }

    #[test]
    fn what_could_not_be_written_is_refused_or_cut() {
        let last = *Timestamp::RANGE.end();
        assert_eq!(last.to_string(), "9999-12-31T23:59:59.999Z");
        let first = *Timestamp::RANGE.start();
        assert_eq!(first.to_string(), "0000-01-01T00:00:00.000Z");
        for edge in [first, last] {
            assert_eq!(Timestamp::parse_rfc3339(&edge.to_string()), Ok(edge));
        }
        for beyond in ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00"] {
            let read = Timestamp::parse_rfc3339(beyond);
            assert_eq!(read, Err(InvalidTimestamp), "{beyond}");
        }
        let now = Timestamp::from_millis(1_795_000_000_000);
        assert_eq!(now.saturating_add(Duration::MAX), last);
        let stored = Timestamp::from_millis(i64::MAX);
        assert_eq!(stored.to_string(), last.to_string());
        assert_eq!(stored.saturating_add(Duration::from_secs(1)), stored);
    }

    #[test]
    fn a_span_is_never_negative() {
        let [early, late] = [Timestamp::from_millis(-3), Timestamp::from_millis(4)];
        assert_eq!(late.since(early), Duration::from_millis(7));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(late.since(late), Duration::ZERO);
    }

    #[test]
    fn a_log_shows_a_time_as_people_read_it() {
        let time = Timestamp::from_millis(1_795_000_000_123);
        assert_eq!(format!("{time:?}"), "2026-11-18T11:06:40.123Z");
    }
}

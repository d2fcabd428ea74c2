//! Times for people: UTC to the second, and the distance from now.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// The time at which the command was started; read once, in `main`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now(pub(crate) DateTime<Utc>);

impl Now {
    /// This span later; the end of the year 9999 at most, after which no time can be
    /// written.
    pub(crate) fn later(self, span: Duration) -> DateTime<Utc> {
        chrono::Duration::from_std(span)
            .ok()
            .and_then(|span| self.0.checked_add_signed(span))
            .filter(|time| *time < last())
            .unwrap_or_else(last)
    }

    /// This span earlier.
    pub(crate) fn earlier(self, span: Duration) -> DateTime<Utc> {
        chrono::Duration::from_std(span)
            .ok()
            .and_then(|span| self.0.checked_sub_signed(span))
            .unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// A time of the API as people read it: `2026-11-20 15:42:07 (3m ago)`.
    pub(crate) fn tell(self, text: &str) -> String {
        match parse(text) {
            Some(time) => format!("{} ({})", short(time), self.distance(time)),
            None => text.to_owned(),
        }
    }

    /// `3m ago`, `in 2h`, `now`.
    pub(crate) fn distance(self, time: DateTime<Utc>) -> String {
        let span = self.0.signed_duration_since(time);
        match span.num_seconds() {
            0 => "now".to_owned(),
            past @ 1.. => format!("{} ago", span_text(past.unsigned_abs())),
            future => format!("in {}", span_text(future.unsigned_abs())),
        }
    }
}

fn last() -> DateTime<Utc> {
    let last = drumline_protocol::Timestamp::RANGE.end().as_millis();
    DateTime::from_timestamp_millis(last).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A time as the API writes it.
pub(crate) fn parse(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|time| time.with_timezone(&Utc))
}

/// `2026-11-20 15:42:07`, in UTC.
pub(crate) fn short(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The one or two largest units: exact enough to see what is old.
fn span_text(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600, seconds / 60);
    match () {
        () if days >= 2 => format!("{days}d"),
        () if hours >= 1 => format!("{hours}h {}m", minutes % 60),
        () if minutes >= 1 => format!("{minutes}m {}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_how_long_ago() {
        let now = Now(parse("2026-11-20T12:00:00Z").unwrap());
        for (time, told) in [
            ("2026-11-20T12:00:00.400Z", "2026-11-20 12:00:00 (now)"),
            ("2026-11-20T11:59:30Z", "2026-11-20 11:59:30 (30s ago)"),
            (
                "2026-11-20T13:30:00+01:00",
                "2026-11-20 12:30:00 (in 30m 0s)",
            ),
            ("2026-11-20T09:58:00Z", "2026-11-20 09:58:00 (2h 2m ago)"),
            ("2026-11-01T12:00:00Z", "2026-11-01 12:00:00 (19d ago)"),
            ("whenever", "whenever"),
        ] {
            assert_eq!(now.tell(time), told);
        }
    }

    #[test]
    fn spans_beyond_the_calendar_saturate() {
        let now = Now(parse("2026-11-20T12:00:00Z").unwrap());
        assert_eq!(now.later(Duration::MAX), last());
        assert_eq!(now.later(Duration::from_secs(1 << 40)), last());
        assert_eq!(now.earlier(Duration::MAX), DateTime::<Utc>::MIN_UTC);
    }
}

//! Readers for the values of flags: each turns text into a type that cannot be
//! wrong, or reports the expected form.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use drumline_protocol::{IndexKind, State, Status, Timestamp};

/// `--output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[value(alias = "table")]
    Text,
    /// For programs: one JSON value per line
    Json,
}

/// A span such as `90s`, `10m` or `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; expected a span such as 90s, 10m or 1h 30m"))
}

/// A span that is longer than nothing.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than 0s".to_owned()),
        span => Ok(span),
    }
}

/// The age at which something is removed; `None`: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Removal(pub(crate) Option<Duration>);

/// Reads a [`Removal`]. Zero is refused, because it is ambiguous: it could mean
/// "at once" or "turned off".
pub(crate) fn removal(text: &str) -> Result<Removal, String> {
    if text.eq_ignore_ascii_case("never") {
        return Ok(Removal(None));
    }
    match positive_duration(text) {
        Ok(span) => Ok(Removal(Some(span))),
        Err(why) => Err(format!("{why}, or never")),
    }
}

/// A text that is not shown.
#[derive(Clone)]
pub(crate) struct Hidden(pub(crate) String);

impl std::str::FromStr for Hidden {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A point in time, as RFC 3339.
pub(crate) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.with_timezone(&Utc))
        .map_err(|_error| {
            "expected an RFC 3339 time such as 2026-11-20T15:42:00Z; for a span from now use --in"
                .to_owned()
        })
}

/// A time in the client's type.
pub(crate) fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp::from_millis(time.timestamp_millis())
}

/// A request that flags make.
pub(crate) trait With: Sized {
    /// The same, with the value of a flag that is given.
    fn with<V>(self, value: Option<V>, set: impl FnOnce(Self, V) -> Self) -> Self {
        match value {
            Some(value) => set(self, value),
            None => self,
        }
    }
}

impl<T> With for T {}

/// A point in time as RFC 3339, or a span that lies so far back, such as `2h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// A point in time.
    Time(DateTime<Utc>),
    /// So long ago.
    Ago(Duration),
}

/// Reads a [`Since`].
pub(crate) fn since(text: &str) -> Result<Since, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(Since::Time(time.with_timezone(&Utc)));
    }
    humantime::parse_duration(text)
        .map(Since::Ago)
        .map_err(|_error| {
            "expected an RFC 3339 time such as 2026-11-20T15:42:00Z, or how long ago, such as 2h"
                .to_owned()
        })
}

/// A state by its name, in any case, or by its number.
pub(crate) fn state(text: &str) -> Result<State, String> {
    State::ALL
        .into_iter()
        .find(|state| state.name().eq_ignore_ascii_case(text) || state.code().to_string() == text)
        .ok_or_else(|| {
            let known = State::ALL.map(|state| format!("{} ({})", state.name(), state.code()));
            format!("expected one of {}", known.join(", "))
        })
}

/// A status by its name, in any case, or by its number.
pub(crate) fn status(text: &str) -> Result<Status, String> {
    Status::ALL
        .into_iter()
        .find(|status| {
            status.name().eq_ignore_ascii_case(text) || status.code().to_string() == text
        })
        .ok_or_else(|| {
            let known = Status::ALL.map(|status| format!("{} ({})", status.name(), status.code()));
            format!("expected one of {}", known.join(", "))
        })
}

/// The status of an operation that has ended. Any other status would select
/// nothing without a message.
pub(crate) fn end_status(text: &str) -> Result<Status, String> {
    const ENDS: [Status; 3] = [Status::Succeeded, Status::Failed, Status::Canceled];
    status(text)
        .ok()
        .filter(|status| ENDS.contains(status))
        .ok_or_else(|| {
            let known = ENDS.map(|status| format!("{} ({})", status.name(), status.code()));
            format!("expected one of {}", known.join(", "))
        })
}

/// A further index by its name.
pub(crate) fn index(text: &str) -> Result<IndexKind, String> {
    IndexKind::from_name(text).ok_or_else(|| {
        let known = IndexKind::ALL.map(IndexKind::name);
        format!("expected one of {}", known.join(", "))
    })
}

/// Reads the address of a queue manager.
pub(crate) fn base_url(text: &str) -> Result<reqwest::Url, String> {
    let url: reqwest::Url = text
        .parse()
        .map_err(|error| format!("{error}; expected for example http://127.0.0.1:8080"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("expected http://… or https://…".to_owned()),
    }
}

/// `--redis-url`. It stays text: only its adapter reads it.
pub(crate) fn redis_url(text: &str) -> Result<String, String> {
    drumline_backend_redis::check_url(text)?;
    Ok(text.to_owned())
}

/// `--amqp-url`.
pub(crate) fn amqp_url(text: &str) -> Result<String, String> {
    match text.parse::<drumline_backend_rabbitmq::AmqpUrl>() {
        Ok(_url) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads a prefix of keys, queues and exchanges: a text that neither Redis
/// Cluster's hash tags nor a person at a prompt could misread.
pub(crate) fn namespace(text: &str) -> Result<String, String> {
    let fits = matches!(text.len(), 1..=64)
        && text.bytes().all(
            |byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.'),
        );
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 64 of A-Z, a-z, 0-9, -, _ and .".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_found_by_name_and_by_number() {
        assert_eq!(state("ready"), Ok(State::Ready));
        assert_eq!(state("3"), Ok(State::Completed));
        assert_eq!(status("succeeded"), Ok(Status::Succeeded));
        assert_eq!(status("22"), Ok(Status::Canceling));
        assert!(state("4").is_err());
        assert!(status("Done").is_err());
    }

    #[test]
    fn what_has_ended_has_one_of_three_statuses() {
        assert_eq!(end_status("failed"), Ok(Status::Failed));
        assert_eq!(end_status("32"), Ok(Status::Canceled));
        for bad in ["InProgress", "20", "Waiting", "Done"] {
            let why = end_status(bad).unwrap_err();
            assert!(why.contains("Succeeded (30)"), "{bad}: {why}");
        }
    }

    #[test]
    fn urls_are_of_the_kind_that_the_flag_needs() {
        assert!(redis_url("redis://u:p@host:6379/0").is_ok());
        assert!(redis_url("amqp://host").is_err());
        assert!(amqp_url("amqps://host/%2f").is_ok());
        assert!(amqp_url("host:5672").is_err());
        assert!(base_url("http://127.0.0.1:8080").is_ok());
        assert!(base_url("127.0.0.1:8080").is_err());
        assert!(base_url("ftp://x").is_err());
    }

    #[test]
    fn spans_and_times_are_told_apart() {
        assert_eq!(since("2h"), Ok(Since::Ago(Duration::from_secs(7200))));
        assert!(matches!(since("2026-11-20T15:42:00Z"), Ok(Since::Time(_))));
        assert!(since("yesterday").is_err());
        assert!(time("10m").is_err());
        assert!(positive_duration("0s").is_err());
    }

    #[test]
    fn removal_is_a_span_or_never_and_not_ambiguous() {
        assert_eq!(removal("never"), Ok(Removal(None)));
        let month = Duration::from_secs(30 * 24 * 3600);
        assert_eq!(removal("30d"), Ok(Removal(Some(month))));
        for bad in ["0", "0s", "", "soon"] {
            assert!(removal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_namespace_keeps_out_what_keys_give_a_meaning() {
        assert!(namespace("Team-a.test_2").is_ok());
        for bad in ["", "a:b", "{a}", "a b", "ü"] {
            assert!(namespace(bad).is_err(), "{bad}");
        }
    }
}

//! Readers for the values of settings: each turns text into a type that cannot
//! be wrong, or says what was expected.

use std::path::Path;
use std::time::Duration;

use drumline_backend_rabbitmq::{AmqpUrl, Namespace};
use drumline_protocol::{PartitionCount, QueueName};
use drumline_worker::{LEASE_MIN, RunSecrets};

/// The longest lease: a death is noticed within the hour.
const LEASE_MAX: Duration = Duration::from_secs(3600);

/// Returns the complaint about a value that is no secret.
pub(super) fn invalid(text: &str, expected: &str) -> String {
    format!("invalid value {text:?}: expected {expected}")
}

/// Checks a URL of Redis.
///
/// # Errors
/// Says what was expected. The URL is not repeated: it may hold a password.
pub(crate) fn redis_url(text: &str) -> Result<(), String> {
    drumline_backend_redis::check_url(text).map_err(|reason| format!("invalid value: {reason}"))
}

/// Reads the file with the secrets of run tokens.
///
/// # Errors
/// With the mistake in the file. No secret is repeated.
pub(crate) fn run_secrets(path: &str) -> Result<RunSecrets, String> {
    RunSecrets::open(Path::new(path)).map_err(|error| error.to_string())
}

/// Reads the URL of RabbitMQ.
///
/// # Errors
/// Says what was expected. The URL is not repeated: it may hold a password.
pub(crate) fn amqp_url(text: &str) -> Result<AmqpUrl, String> {
    text.parse()
        .map_err(|reason| format!("invalid value: {reason}"))
}

/// Reads a prefix of keys, queues and exchanges.
///
/// # Errors
/// Says what was expected.
pub(crate) fn namespace(text: &str) -> Result<Namespace, String> {
    let expected = || invalid(text, "1 to 64 of A-Z, a-z, 0-9, -, _ and .");
    // RabbitMQ would take a colon, which separates the parts of Redis keys.
    if text.contains(':') {
        return Err(expected());
    }
    text.parse().map_err(|_reason| expected())
}

/// Reads a number of partitions.
///
/// # Errors
/// Says what was expected.
pub(crate) fn partitions(count: u16) -> Result<PartitionCount, String> {
    PartitionCount::new(count).ok_or_else(|| invalid(&count.to_string(), "1 to 4096"))
}

/// As [`partitions`], for text.
pub(super) fn partitions_text(text: &str) -> Result<u16, String> {
    let count = text.parse().map_err(|_reason| invalid(text, "1 to 4096"))?;
    Ok(partitions(count)?.get())
}

/// Reads a number of replicas.
pub(super) fn wait_replicas(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_reason| invalid(text, "0 to 65535"))
}

/// Reads the number of operations that run at once.
pub(super) fn concurrency(text: &str) -> Result<usize, String> {
    match text.parse::<u16>() {
        Ok(number @ 1..) => Ok(number.into()),
        Ok(0) | Err(_) => Err(invalid(text, "1 to 65535")),
    }
}

/// Reads a number of bytes.
pub(super) fn bytes(text: &str, most: usize) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(bytes) if bytes <= most => Ok(bytes),
        Ok(_) | Err(_) => Err(invalid(text, &format!("0 to {most}"))),
    }
}

/// Reads a span such as `90s`, `10m` or `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_reason| invalid(text, "a span such as 90s, 10m or 1h 30m"))
}

/// Reads a span that is longer than nothing.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(invalid(text, "a span that is longer than 0s")),
        span => Ok(span),
    }
}

/// Reads a lease.
pub(super) fn lease(text: &str) -> Result<Duration, String> {
    let fits = |span: &Duration| (LEASE_MIN..=LEASE_MAX).contains(span);
    duration(text).ok().filter(fits).ok_or_else(|| {
        let (least, most) = (
            humantime::format_duration(LEASE_MIN),
            humantime::format_duration(LEASE_MAX),
        );
        invalid(text, &format!("{least} to {most}"))
    })
}

/// Reads names of queues, separated by commas.
pub(super) fn queues(text: &str) -> Result<Vec<QueueName>, String> {
    text.split(',')
        .map(|name| {
            name.parse()
                .map_err(|error| format!("invalid value {name:?}: {error}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_of_the_kind_that_the_server_needs() {
        for good in [
            "redis://host",
            "rediss://u:p@host:6379/0",
            "redis://[::1]",
            "redis://[::1]:6379?protocol=resp3",
            "unix:///run/redis.sock",
        ] {
            assert_eq!(redis_url(good), Ok(()), "{good}");
        }
        for bad in ["host:6379", "amqp://host", "redis://u:hush@host:port"] {
            let reason = redis_url(bad).unwrap_err();
            assert!(!reason.contains("hush"), "{reason}");
        }
        assert!(amqp_url("amqps://u:p@host/%2f").is_ok());
        for bad in ["host:5672", "http://host", "amqp://u:hush@host:port"] {
            let reason = amqp_url(bad).unwrap_err();
            assert!(!reason.contains("hush"), "{reason}");
        }
    }

    #[test]
    fn numbers_and_spans_have_limits() {
        assert_eq!(partitions_text("4096"), Ok(4096));
        assert_eq!(concurrency("1"), Ok(1));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(lease("1h"), Ok(LEASE_MAX));
        assert!(partitions_text("0").is_err() && partitions_text("4097").is_err());
        assert!(concurrency("0").is_err() && concurrency("-1").is_err());
        assert!(positive_duration("0s").is_err() && duration("soon").is_err());
        assert!(lease("499ms").is_err() && lease("61m").is_err());
        assert!(namespace("a:b").is_err() && namespace("").is_err());
        assert!(queues("a,,b").is_err() && queues("imports,default").is_ok());
    }
}

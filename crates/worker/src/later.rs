//! Times that are some duration away, however long it is.

use std::time::Duration;

use tokio::time::Instant;

/// Longer than any process lives. The clock cannot tell times that are much further away.
const LONGEST: Duration = Duration::from_secs(50 * 365 * 24 * 3_600);

/// The time so much later, or that of half a century. A limit of `Duration::MAX` means
/// none, and the sum must not end the worker.
pub(crate) fn later(time: Instant, duration: Duration) -> Instant {
    let longest = time.checked_add(duration.min(LONGEST));
    longest.unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_duration_is_too_long() {
        let now = Instant::now();
        assert_eq!(
            later(now, Duration::from_secs(3)),
            now + Duration::from_secs(3)
        );
        let far = later(now, Duration::MAX);
        assert_eq!(far, now + LONGEST);
        assert!(later(far, Duration::MAX) > far);
    }
}

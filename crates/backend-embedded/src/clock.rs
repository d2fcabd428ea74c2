//! The store's clock: the system's, or one of a test or a simulation. A clock of
//! a test moves by hand, or with the (paused) time of tokio.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use drumline_protocol::Timestamp;
use tokio::time::Instant;

/// Tells the store's time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The system's wall clock. It may jump: due times follow it, leases do not.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the injected clock")]
    fn now(&self) -> Timestamp {
        // A time before 1970 is read as 1970: a clock that wrong is noticed
        // elsewhere.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(0).saturating_add(since)
    }
}

/// A clock that stands still until it is moved. Clones show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(start.as_millis())))
    }

    /// Sets the clock, back too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Moves the clock forward, in whole milliseconds.
    pub fn advance(&self, span: Duration) {
        let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A clock that goes by the time of tokio. In a test whose time is paused it
/// stands still while there is work, and jumps to the next timer when there is
/// none.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start: Timestamp,
    since: Instant,
}

impl TokioClock {
    /// A clock that shows `start` now.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        Self {
            start,
            since: Instant::now(),
        }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.start.saturating_add(self.since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use drumline_backend::Store as _;
    use drumline_protocol::PartitionCount;

    use super::*;
    use crate::EmbeddedStore;

    #[test]
    fn a_manual_clock_moves_only_by_hand_and_for_all_its_clones() {
        let clock = ManualClock::new(Timestamp::from_millis(5));
        let other = clock.clone();
        assert_eq!(other.now(), Timestamp::from_millis(5));
        clock.advance(Duration::from_secs(1));
        assert_eq!(other.now(), Timestamp::from_millis(1_005));
        clock.set(Timestamp::from_millis(3));
        assert_eq!(other.now(), Timestamp::from_millis(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_goes_by_the_clock_that_it_is_given() {
        let start = Timestamp::from_millis(1_795_000_000_000);
        let clock = Arc::new(TokioClock::starting_at(start));
        let store = EmbeddedStore::new(PartitionCount::DEFAULT, clock);
        assert_eq!(store.now(), start);
        let day = Duration::from_secs(24 * 3_600);
        tokio::time::sleep(day).await;
        assert_eq!(store.now(), start.saturating_add(day));
    }

    #[test]
    fn the_system_clock_is_past_2025() {
        assert!(SystemClock.now() > Timestamp::from_millis(1_735_689_600_000));
    }
}

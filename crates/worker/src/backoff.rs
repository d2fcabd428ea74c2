//! Delays between attempts. A delay grows with each attempt and has jitter, so a
//! fleet that has lost the same server does not come back to it in step.

use std::time::Duration;

use crate::random::Random;

/// The delays between calls of a store that is unavailable.
pub(crate) fn for_store(random: &Random) -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(1), random)
}

/// The delays between attempts to subscribe.
pub(crate) fn for_subscription(random: &Random) -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(5), random)
}

/// The delays between attempts to write a report, which is written `every` so
/// often at best.
pub(crate) fn for_report(every: Duration, random: &Random) -> Backoff {
    Backoff::new(every, Duration::from_secs(2), random)
}

/// Doubles from a first delay up to a longest one.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    random: Random,
}

impl Backoff {
    fn new(first: Duration, longest: Duration, random: &Random) -> Self {
        Self {
            first,
            longest,
            next: first,
            random: random.clone(),
        }
    }

    /// Starts again with the first delay: an attempt has succeeded.
    pub(crate) const fn reset(&mut self) {
        self.next = self.first;
    }

    /// Sleeps for the next delay, less up to a half. Cancel-safe.
    pub(crate) async fn sleep(&mut self) {
        let delay = self.next.mul_f64(0.5 + self.random.f64() / 2.0);
        self.next = (self.next * 2).min(self.longest);
        tokio::time::sleep(delay).await;
    }
}

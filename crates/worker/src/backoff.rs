//! Delays between tries that grow, with jitter: a fleet that has lost the same
//! server does not come back to it in step.

use std::time::Duration;

/// Doubles from a first delay up to a longest one.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// Starts over: something has worked.
    pub(crate) const fn reset(&mut self) {
        self.next = self.first;
    }

    /// Sleeps for the next delay, less up to a half. Cancel-safe.
    pub(crate) async fn sleep(&mut self) {
        let delay = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(self.longest);
        tokio::time::sleep(delay).await;
    }
}

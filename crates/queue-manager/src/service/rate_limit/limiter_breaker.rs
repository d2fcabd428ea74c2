//! The pause after a limiter did not answer: for a while it is not asked, and
//! then by a single request. So the other requests need not wait for a limiter
//! that is unavailable.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The time that the limiter is not asked after it did not answer.
const REST: Duration = Duration::from_secs(1);

/// A breaker in front of the limiter.
#[derive(Debug)]
pub(in crate::service) struct LimiterBreaker {
    epoch: Instant,
    /// In milliseconds since the epoch; 0: the limiter answers.
    ask_at: AtomicU64,
}

impl LimiterBreaker {
    pub(in crate::service) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            ask_at: AtomicU64::new(0),
        }
    }

    /// Returns true if the caller should ask now. When the time has come, only
    /// one of several callers gets true.
    pub(super) fn may_ask(&self) -> bool {
        let ask_at = self.ask_at.load(Ordering::Relaxed);
        if ask_at == 0 {
            return true;
        }
        self.now() >= ask_at
            && self
                .ask_at
                .compare_exchange(ask_at, self.later(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Notes that the limiter has answered.
    pub(super) fn answered(&self) {
        // Read first: every request does this, and none should write to memory
        // that all of them read.
        if self.ask_at.load(Ordering::Relaxed) != 0 {
            self.ask_at.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that the limiter has not answered. Returns true if that is news.
    pub(super) fn failed(&self) -> bool {
        self.ask_at.swap(self.later(), Ordering::Relaxed) == 0
    }

    fn later(&self) -> u64 {
        self.now().saturating_add(ms(REST))
    }

    fn now(&self) -> u64 {
        ms(self.epoch.elapsed())
    }
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_one_asks_again_when_it_has_rested() {
        let breaker = LimiterBreaker::new();
        assert!(breaker.may_ask() && breaker.may_ask());
        assert!(breaker.failed(), "the first failure is news");
        assert!(!breaker.failed(), "the second is not");
        assert!(!breaker.may_ask());
        tokio::time::advance(REST).await;
        assert!(breaker.may_ask());
        assert!(!breaker.may_ask(), "one is enough");
        breaker.answered();
        assert!(breaker.may_ask() && breaker.may_ask());
    }
}

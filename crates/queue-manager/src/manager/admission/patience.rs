//! When to ask a limiter that did not answer again: not at once, and then one
//! request alone finds out. The others need not wait for what is away.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long it is not asked after it did not answer.
const REST: Duration = Duration::from_secs(1);

/// See the module's text.
#[derive(Debug)]
pub(in crate::manager) struct Patience {
    epoch: Instant,
    /// In milliseconds since the epoch; 0: it answers.
    ask_at: AtomicU64,
}

impl Patience {
    pub(in crate::manager) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            ask_at: AtomicU64::new(0),
        }
    }

    /// Whether to ask now. Of several whose time has come, one is to.
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

    /// It has answered.
    pub(super) fn answered(&self) {
        // Read first: every request comes by here, and none should write to
        // what all of them read.
        if self.ask_at.load(Ordering::Relaxed) != 0 {
            self.ask_at.store(0, Ordering::Relaxed);
        }
    }

    /// It has not answered. Whether that is news.
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
        let patience = Patience::new();
        assert!(patience.may_ask() && patience.may_ask());
        assert!(patience.failed(), "the first failure is news");
        assert!(!patience.failed(), "the second is not");
        assert!(!patience.may_ask());
        tokio::time::advance(REST).await;
        assert!(patience.may_ask());
        assert!(!patience.may_ask(), "one is enough");
        patience.answered();
        assert!(patience.may_ask() && patience.may_ask());
    }
}

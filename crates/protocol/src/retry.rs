//! The retry policy: the delays before a failed attempt is tried again.
//!
//! Delays are exponential, with a share of jitter that the caller draws, so
//! that operations that failed together do not come back together.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A retry policy. Times are in milliseconds because the policy travels in
/// every header.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// The number of times that an operation is delayed before it fails. 0 =
    /// the first failure is final.
    pub max_retries: u32,
    /// The first delay, in milliseconds.
    pub initial_ms: u64,
    /// Each further delay is this many times the one before.
    pub factor: u32,
    /// No delay is longer, in milliseconds.
    pub max_ms: u64,
    /// The share of each delay that jitter may take off, in percent (0–100).
    pub jitter_percent: u8,
    /// The step after the last retry.
    pub exhausted: Exhausted,
    /// The number of lost workers after which the operation is called
    /// poisonous: it fails instead of taking down one more. 0 = the first loss
    /// is final.
    pub max_lost: u32,
}

/// The fate of an operation whose retries are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Exhausted {
    /// Completed, Failed.
    Fail,
    /// Suspended until a person looks at the operation.
    Suspend,
}

impl Default for RetryPolicy {
    /// Ten retries over about an hour and a half: long enough for a restart or
    /// a failover next door, short enough that a person notices the same day.
    fn default() -> Self {
        Self {
            max_retries: 10,
            initial_ms: 5_000,
            factor: 2,
            max_ms: 3_600_000,
            jitter_percent: 20,
            exhausted: Exhausted::Fail,
            // A deployment restarts a worker twice at most; the third loss in a
            // row is the operation's own doing, the rest is benefit of doubt.
            max_lost: 5,
        }
    }
}

/// A random number that the caller has drawn, evenly over `u32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jitter(pub u32);

impl RetryPolicy {
    /// The delay after failure number `failures` (1 = the first), or `None` if
    /// no retry is left.
    #[must_use]
    pub fn delay(&self, failures: u32, jitter: Jitter) -> Option<Duration> {
        if failures > self.max_retries {
            return None;
        }
        let factor = u64::from(self.factor.max(1)).saturating_pow(failures.saturating_sub(1));
        let full = self.initial_ms.saturating_mul(factor).min(self.max_ms);
        let share = u64::from(self.jitter_percent.min(100));
        let most = u128::from(full) * u128::from(share) / 100;
        let taken = most * u128::from(jitter.0) / u128::from(u32::MAX);
        let taken = u64::try_from(taken).unwrap_or(full);
        Some(Duration::from_millis(full.saturating_sub(taken)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Jitter = Jitter(0);
    const ALL: Jitter = Jitter(u32::MAX);

    #[test]
    fn delays_double_up_to_the_longest_and_end() {
        let policy = RetryPolicy {
            max_retries: 4,
            initial_ms: 100,
            max_ms: 300,
            ..RetryPolicy::default()
        };
        let delays: Vec<_> = (1..=5).map(|n| policy.delay(n, NONE)).collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(delays, [ms(100), ms(200), ms(300), ms(300), None]);
    }

    #[test]
    fn jitter_takes_off_its_share_at_most() {
        let policy = RetryPolicy {
            initial_ms: 1_000,
            jitter_percent: 20,
            ..RetryPolicy::default()
        };
        assert_eq!(policy.delay(1, NONE), Some(Duration::from_secs(1)));
        assert_eq!(policy.delay(1, ALL), Some(Duration::from_millis(800)));
    }

    #[test]
    fn absurd_policies_saturate() {
        let policy = RetryPolicy {
            max_retries: u32::MAX,
            initial_ms: u64::MAX,
            factor: u32::MAX,
            max_ms: u64::MAX,
            jitter_percent: 255,
            ..RetryPolicy::default()
        };
        assert_eq!(policy.delay(u32::MAX, ALL), Some(Duration::ZERO));
        assert_eq!(
            policy.delay(u32::MAX, NONE),
            Some(Duration::from_millis(u64::MAX))
        );
    }
}

//! Growing pauses between tries: of a connection, of a request, of a round of
//! work. (The pauses of an operation's retries are in [`retry`](crate::retry).)
//!
//! Pure: the caller draws the random number, and sleeps.

use std::time::Duration;

/// Pauses that double from a first one up to a longest one.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts with `first`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// The next pause in full length.
    #[must_use]
    pub fn full(&mut self) -> Duration {
        let pause = self.next.min(self.longest);
        self.next = pause.saturating_mul(2);
        pause
    }

    /// The next pause, less up to a half: processes that have lost the same
    /// server do not come back to it in step. `random` is drawn evenly from 0
    /// to 1.
    #[must_use]
    pub fn jittered(&mut self, random: f64) -> Duration {
        let pause = self.full();
        pause.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// Begins again with the first pause: something has worked.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_start_over() {
        let mut backoff = Backoff::new(ms(100), ms(300));
        assert_eq!(backoff.jittered(1.0), ms(100));
        assert_eq!(backoff.full(), ms(200));
        assert_eq!(backoff.jittered(0.0), ms(150));
        assert_eq!(backoff.full(), ms(300));
        backoff.reset();
        assert_eq!(backoff.jittered(0.0), ms(50));
    }

    #[test]
    fn no_number_of_failures_makes_a_pause_longer_than_the_longest() {
        let mut backoff = Backoff::new(ms(400), ms(5_000));
        for _ in 0..40 {
            assert!(backoff.full() <= ms(5_000));
        }
        assert_eq!(backoff.full(), ms(5_000));
        let mut longer = Backoff::new(Duration::MAX, ms(5_000));
        assert_eq!(longer.jittered(2.0), ms(5_000));
    }
}

//! The pause before the next try: doubling, with full jitter in its upper half,
//! so that a fleet does not come back in step.

use std::time::Duration;

/// Pauses between tries. Pure but for the random number, which is passed in.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            next: min,
        }
    }

    /// The next pause; `random` is in 0..1.
    pub(crate) fn pause(&mut self, random: f64) -> Duration {
        let whole = self.next.min(self.max);
        self.next = whole.saturating_mul(2);
        whole.mul_f64(0.5 + random / 2.0)
    }

    /// It went well for a while: begin again with short pauses.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_limit_and_starts_over() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(300));
        assert_eq!(backoff.pause(1.0), ms(100));
        assert_eq!(backoff.pause(1.0), ms(200));
        assert_eq!(backoff.pause(0.0), ms(150));
        assert_eq!(backoff.pause(1.0), ms(300));
        backoff.reset();
        assert_eq!(backoff.pause(0.0), ms(50));
    }
}

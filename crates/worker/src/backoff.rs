//! The worker's pauses between attempts: made here, by the thing that an attempt
//! waits for, with jitter from the worker's own source.

use std::time::Duration;

use drumline_protocol::backoff;

use drumline_backend::Random;

/// The pauses between calls of a store that is unavailable.
pub(crate) fn for_store(random: &Random) -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(1), random)
}

/// The pauses between attempts to subscribe.
pub(crate) fn for_subscription(random: &Random) -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(5), random)
}

/// The pauses between attempts to write a report, which is written `every` so
/// often at best.
pub(crate) fn for_report(every: Duration, random: &Random) -> Backoff {
    Backoff::new(every, Duration::from_secs(2), random)
}

/// Growing pauses that are slept through.
#[derive(Debug)]
pub(crate) struct Backoff {
    pauses: backoff::Backoff,
    random: Random,
}

impl Backoff {
    fn new(first: Duration, longest: Duration, random: &Random) -> Self {
        Self {
            pauses: backoff::Backoff::new(first, longest),
            random: random.clone(),
        }
    }

    /// Starts again with the first pause: an attempt has succeeded.
    pub(crate) const fn reset(&mut self) {
        self.pauses.reset();
    }

    /// Sleeps for the next pause, less up to a half. Cancel-safe.
    pub(crate) async fn sleep(&mut self) {
        let pause = self.pauses.jittered(self.random.f64());
        tokio::time::sleep(pause).await;
    }
}

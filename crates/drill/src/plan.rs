//! The size of a drill, and its length.

use std::fmt;
use std::time::Duration;

/// The size of a drill, and its length.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The time for which there is load and faults happen. What has been created is brought
    /// to its end afterwards.
    pub duration: Duration,
    /// Queue managers.
    pub managers: usize,
    /// Workers.
    pub workers: usize,
    /// Operations that a worker runs at once.
    pub concurrency: u16,
    /// Tokens. Four more stand still on purpose.
    pub tokens: usize,
    /// Operations per second, all tokens together.
    pub rate: u32,
    /// The lease of the workers.
    pub lease: Duration,
    /// The seed of every random number of the drill. The order in which processes do things
    /// is not drawn.
    pub seed: u64,
}

impl Plan {
    /// The longest time for which nothing more may be Completed once the faults have ended, as
    /// long as something is left: a minute, and ten leases for what was lost again and again.
    #[must_use]
    pub fn rest(&self) -> Duration {
        Duration::from_secs(60) + self.lease * 10
    }
}

/// For people.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} s; {} queue managers, {} workers with {} places and a lease of {:?}; {} tokens, {} operations a second; seed {}",
            self.duration.as_secs(),
            self.managers,
            self.workers,
            self.concurrency,
            self.lease,
            self.tokens,
            self.rate,
            self.seed
        )
    }
}

//! The doubt about all offers before a loss of the broker's connection.

use std::collections::HashSet;
use std::time::Duration;

use drumline_backend::store::Stamp;
use drumline_protocol::Partition;
use tokio::time::Instant;

/// A loss of the broker's connection, as this process has seen it.
#[derive(Debug)]
pub(super) struct Loss {
    /// The time of the loss, on the store's clock.
    pub(super) until: Stamp,
    seen: Instant,
}

impl Loss {
    pub(super) fn at(until: Stamp) -> Self {
        Self {
            until,
            seen: Instant::now(),
        }
    }

    /// The time since it was seen.
    pub(super) fn age(&self) -> Duration {
        self.seen.elapsed()
    }
}

/// The partitions whose offers are doubted.
#[derive(Debug)]
pub(super) struct Doubt {
    /// The time of the loss. Later offers are not doubted.
    pub(super) until: Stamp,
    /// The partitions that were not looked at to their end.
    pub(super) open: HashSet<Partition>,
    /// The last time that a page was looked at.
    moved: Instant,
    /// True when a queue had too many to ask about for too long: no queue is waited for
    /// any more.
    is_impatient: bool,
}

impl Doubt {
    pub(super) fn new(until: Stamp, open: impl Iterator<Item = Partition>) -> Self {
        Self {
            until,
            open: open.collect(),
            moved: Instant::now(),
            is_impatient: false,
        }
    }

    /// Returns true if no page was looked at for so long, once.
    pub(super) fn has_waited(&mut self, patience: Duration) -> bool {
        self.is_impatient |= self.moved.elapsed() >= patience;
        self.is_impatient
    }

    /// The doubt after a page of each open partition, with those that have more.
    pub(super) fn goes_on_with(self, open: HashSet<Partition>) -> Option<Self> {
        let moved = Instant::now();
        Some(Self {
            open,
            moved,
            ..self
        })
        .filter(|doubt| !doubt.open.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn one_queue_is_waited_for_once_and_the_doubt_goes_on() {
        let partitions = [1, 2].map(Partition::new);
        let mut doubt = Doubt::new(Stamp(7), partitions.into_iter());
        assert!(!doubt.has_waited(PATIENCE));
        advance(PATIENCE).await;
        assert!(doubt.has_waited(PATIENCE));
        let open = HashSet::from([partitions[0]]);
        let mut doubt = doubt.goes_on_with(open).expect("one has more");
        assert_eq!(doubt.until, Stamp(7));
        assert!(doubt.has_waited(PATIENCE));
        assert!(doubt.goes_on_with(HashSet::new()).is_none());
    }
}

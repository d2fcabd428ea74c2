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
}

//! The doubt about all offers before a loss of the broker's connection.

use std::collections::HashSet;
use std::time::Duration;

use drumline_backend::store::{self, Stamp};
use drumline_protocol::Partition;
use tokio::time::Instant;

use super::LostMessages;
use super::ages::stamp_of;
use crate::service::QueueManager;

/// The step of the store's clock: stamps of one step are in order, and later than its
/// time.
const STEP: Duration = Duration::from_millis(1);
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

impl LostMessages {
    /// Begins to doubt all offers. The markers may be lost as well, so everything is
    /// asked again.
    pub(super) fn doubt_all(&mut self, manager: &QueueManager, share: &[Partition]) {
        self.probes.clear();
        self.waiting.clear();
        self.cursors.clear();
        let until = stamp_of(manager.store().now().saturating_add(STEP));
        self.loss = Some(Loss::at(until));
        self.doubt = Some(Doubt {
            until,
            open: share.iter().copied().collect(),
        });
    }

    /// Doubts the partitions that another manager had at the last loss: it may have gone
    /// before it came to their ends. Offers from before a loss that is longer ago are
    /// found by their age.
    pub(super) fn doubt_taken_over(&mut self, share: &[Partition]) {
        let Some(loss) = &self.loss else { return };
        if self.doubt.is_none() && loss.age() > self.options.reconcile_grace {
            return;
        }
        let new = share.iter().filter(|one| !self.share.contains(one));
        let new: Vec<Partition> = new.copied().collect();
        if new.is_empty() {
            return;
        }
        for partition in &new {
            self.cursors.remove(partition);
        }
        match &mut self.doubt {
            Some(doubt) => doubt.open.extend(new),
            None => {
                self.doubt = Some(Doubt {
                    until: loss.until,
                    open: new.into_iter().collect(),
                });
            }
        }
    }

    /// Looks at one page of the offered set of each partition that is in doubt. Waits
    /// while too many of one queue are being asked about, but not for ever: behind a long
    /// backlog, or without a consumer, what that queue has too many of is left to the
    /// sweep, and the doubt of all others goes on.
    pub(super) async fn sweep_doubted(
        &mut self,
        manager: &QueueManager,
        share: &[Partition],
        full_since: Option<Instant>,
    ) -> store::Result<()> {
        let Some(doubt) = &self.doubt else {
            return Ok(());
        };
        if self.waiting.is_full() {
            let since = full_since.unwrap_or_else(Instant::now);
            if since.elapsed() < self.options.marker_patience {
                self.full_since = Some(since);
                return Ok(());
            }
            self.waiting.give_up_full();
        }
        let until = doubt.until;
        let open = share.iter().copied();
        let open: Vec<Partition> = open.filter(|one| doubt.open.contains(one)).collect();
        let (mut suspects, mut places) = (Vec::new(), Vec::new());
        for (partition, offered, next) in self.pages(manager, &open).await? {
            places.push((partition, next));
            let now = stamp_of(manager.store().now());
            // A stamp in the future shows that the clock was set back, and tells no age.
            let is_doubted = |stamp: Stamp| stamp <= until || stamp > now;
            suspects.extend(offered.into_iter().filter(|(_, stamp)| is_doubted(*stamp)));
        }
        let suspects = self.by_route(manager, suspects).await?;
        let asked = self.suspect(manager, suspects, true).await;
        let mut open = HashSet::new();
        for (partition, next) in places {
            match next {
                Some(next) => {
                    open.insert(partition);
                    self.cursors.insert(partition, next)
                }
                None => self.cursors.remove(&partition),
            };
        }
        self.doubt = Some(Doubt { until, open }).filter(|doubt| !doubt.open.is_empty());
        if self.doubt.is_none() {
            self.waiting.give_up_none();
        }
        asked
    }
}

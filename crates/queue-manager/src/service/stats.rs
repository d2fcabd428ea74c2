//! Statistics: what happened in the last hours, from the store's rollups.
//!
//! The cost depends on the slots and the keys that are read, and is bounded: a
//! question for more is answered for a shorter time.

use std::time::Duration;

use drumline_backend::store::{Resolution, Rollup, RollupKey};
use drumline_protocol::{QueueName, Timestamp};

use super::QueueManager;
use crate::error::Result;

/// The time that is looked at if a request names none.
const USUAL_SPAN: Duration = Duration::from_secs(3600);
/// Counts that are read for one answer: some megabyte.
const COUNTS: u64 = 10_000;
/// The longest time for which queues and message names are compared. It is read in slots of ten minutes.
const COMPARED: Duration = Duration::from_secs(3 * 3600);
/// The last minutes for which queues are compared.
const MINUTES: u64 = 10;

/// A question for statistics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatsQuery {
    /// The time to begin at; `None` for an hour ago.
    pub since: Option<Timestamp>,
    /// The queue of the operations.
    pub queue: Option<QueueName>,
    /// Their message name.
    pub message_name: Option<String>,
}

/// The counts of some slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The length of a slot.
    pub resolution: Resolution,
    /// The number of the first slot.
    pub first: u64,
    /// The counts of each slot. The last one is not over yet.
    pub slots: Vec<Rollup>,
    /// The time from which on queues and message names are compared.
    pub compared_since: Timestamp,
    /// The counts of each queue and message name in that time; those in which
    /// something happened.
    pub breakdown: Vec<(RollupKey, Rollup)>,
}

impl Stats {
    /// The counts of all slots together.
    #[must_use]
    pub fn total(&self) -> Rollup {
        Rollup::sum(&self.slots)
    }

    /// The slots with the times at which they begin.
    pub fn timed(&self) -> impl Iterator<Item = (Timestamp, &Rollup)> {
        let (numbers, resolution) = (self.first.., self.resolution);
        numbers
            .map(move |number| resolution.start(number))
            .zip(&self.slots)
    }
}

impl StatsQuery {
    fn selects(&self, key: &RollupKey) -> bool {
        let is_wanted = |queue: &QueueName, name: &String| {
            self.queue.as_ref().is_none_or(|wanted| wanted == queue)
                && self
                    .message_name
                    .as_ref()
                    .is_none_or(|wanted| wanted == name)
        };
        match key {
            RollupKey::Of {
                queue,
                message_name,
            } => is_wanted(queue, message_name),
            // It is not known what is in it.
            RollupKey::Total | RollupKey::Others => !self.is_filtered(),
        }
    }

    const fn is_filtered(&self) -> bool {
        self.queue.is_some() || self.message_name.is_some()
    }
}

impl QueueManager {
    /// Reads statistics of all organizations. What happened within the last minute
    /// may not be counted yet: processes write once a minute.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn stats(&self, query: &StatsQuery) -> Result<Stats> {
        let now = self.store().now();
        let since = query.since.unwrap_or_else(|| before(now, USUAL_SPAN));
        let resolution = if now.since(since) <= Resolution::Minute.kept() {
            Resolution::Minute
        } else {
            Resolution::TenMinutes
        };
        let compared_since = since.max(before(now, COMPARED));
        let mut keys = self
            .store()
            .rollup_keys(since.max(before(now, Resolution::TenMinutes.kept())), now)
            .await?;
        keys.push(RollupKey::Others);
        keys.retain(|one| query.selects(one));
        let wanted = if query.is_filtered() {
            keys.clone()
        } else {
            vec![RollupKey::Total]
        };
        let width = u64::try_from(wanted.len()).unwrap_or(u64::MAX).max(1);
        let most = (COUNTS / width).min(resolution.slots()).max(1);
        let last = resolution.slot(now);
        let first = resolution.slot(since).min(last);
        let first = first.max((last + 1).saturating_sub(most));
        let (slots, compared) = tokio::join!(
            self.sums(&wanted, resolution, first, last),
            self.compared(&keys, compared_since, now),
        );
        Ok(Stats {
            resolution,
            first,
            slots: slots?,
            compared_since: Resolution::TenMinutes
                .start(Resolution::TenMinutes.slot(compared_since)),
            breakdown: compared?,
        })
    }

    /// Reads what happened in the last hour, minute by minute: in one round trip.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub(crate) async fn last_hour(&self) -> Result<Stats> {
        let now = self.store().now();
        let resolution = Resolution::Minute;
        let last = resolution.slot(now);
        let first = last.saturating_sub(59);
        Ok(Stats {
            resolution,
            first,
            slots: self
                .sums(&[RollupKey::Total], resolution, first, last)
                .await?,
            compared_since: now,
            breakdown: Vec::new(),
        })
    }

    /// Reads what happened to the operations of each queue and message name in the last
    /// three hours.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub(crate) async fn last_hours(&self) -> Result<Vec<(RollupKey, Rollup)>> {
        let now = self.store().now();
        let since = before(now, COMPARED);
        let keys = self.store().rollup_keys(since, now).await?;
        self.compared(&keys, since, now).await
    }

    /// Reads what happened to the operations of each queue and message name in the
    /// last minutes that all processes have written. Returns the number of minutes,
    /// too.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub(crate) async fn last_minutes(&self) -> Result<(u64, Vec<(RollupKey, Rollup)>)> {
        let now = self.store().now();
        let keys = self
            .store()
            .rollup_keys(before(now, USUAL_SPAN), now)
            .await?;
        let resolution = Resolution::Minute;
        let first = resolution.slot(now).saturating_sub(MINUTES + 1);
        let found = self.store().rollups(&keys, resolution, first, MINUTES);
        Ok((MINUTES, by_key(&keys, &found.await?)))
    }

    /// The sums of some keys, slot by slot.
    async fn sums(
        &self,
        keys: &[RollupKey],
        resolution: Resolution,
        first: u64,
        last: u64,
    ) -> Result<Vec<Rollup>> {
        let count = (last + 1).saturating_sub(first);
        let found = self.store().rollups(keys, resolution, first, count).await?;
        Ok(found.iter().map(Rollup::sum).collect())
    }

    /// The sums of some slots, key by key.
    async fn compared(
        &self,
        keys: &[RollupKey],
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<(RollupKey, Rollup)>> {
        let resolution = Resolution::TenMinutes;
        let (first, last) = (resolution.slot(since), resolution.slot(now));
        let count = (last + 1).saturating_sub(first);
        let found = self.store().rollups(keys, resolution, first, count).await?;
        Ok(by_key(keys, &found))
    }
}

/// The sums of some slots, key by key; those in which something happened.
fn by_key(keys: &[RollupKey], slots: &[Vec<Rollup>]) -> Vec<(RollupKey, Rollup)> {
    let mut sums = vec![Rollup::default(); keys.len()];
    for slot in slots {
        for (sum, counts) in sums.iter_mut().zip(slot) {
            sum.add(counts);
        }
    }
    let sums = keys.iter().cloned().zip(sums);
    sums.filter(|(_, sum)| *sum != Rollup::default()).collect()
}

/// The time so long before `now`.
fn before(now: Timestamp, span: Duration) -> Timestamp {
    let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(ms))
}

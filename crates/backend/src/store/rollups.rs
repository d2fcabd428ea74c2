//! Rollups: what happened in each minute, counted; and failures, in groups.
//!
//! ```text
//! process ─ counts in memory ─┬─ once a minute ──→ add_rollup ─→ minute, ten minutes
//!                             └─ after failures ─→ add_failures ─→ groups
//! ```
//!
//! Every process counts what it does itself, and adds its counts to those of the
//! store in one call, so that no operation pays a round trip for being counted.
//! A process that is killed takes the counts of its last minute with it: rollups
//! are for people, and nothing is decided on them.
//!
//! | | slots | kept for |
//! |---|---|---|
//! | [`Resolution::Minute`] | 180 | 3 hours |
//! | [`Resolution::TenMinutes`] | 432 | 72 hours |
//!
//! A day has at most [`ROLLUP_KEYS`] keys; what finds no room is counted in
//! [`RollupKey::Others`].

use std::time::Duration;

use async_trait::async_trait;
use drumline_protocol::digest::digest;
#[cfg(doc)]
use drumline_protocol::mute::LONGEST_MUTE;
use drumline_protocol::{
    ErrorCode, FailureKey, Mute, OperationId, Organization, QueueName, Timestamp,
};

use super::error::Result;

/// Rollup keys of a day (UTC), [`RollupKey::Total`] and [`RollupKey::Others`] included. With
/// 612 slots and some 250 bytes for a key in a slot, all rollups take less than 20
/// MB.
pub const ROLLUP_KEYS: usize = 128;
/// Failure groups of an organization. When there are more, the one whose last failure
/// is the oldest goes.
pub const FAILURE_GROUPS: usize = 1_000;
/// The time after its last failure for which the groups of an organization are kept.
pub const FAILURES_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Hours in which the failures of a group are counted, the present one included.
pub const FAILURE_HOURS: usize = 24;
/// The time for which a repetition of a batch is recognised, from the first call on.
/// A caller repeats a batch no longer than that.
pub const BATCH_REMEMBERED: Duration = Duration::from_secs(15 * 60);
/// Buckets of a [`Histogram`].
pub const BUCKETS: usize = 24;

/// The operations that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RollupKey {
    /// All operations.
    Total,
    /// Those of a queue with a message name.
    Of {
        /// The queue.
        queue: QueueName,
        /// The message name.
        message_name: String,
    },
    /// Those that have no key of their own, because there were too many.
    Others,
}

impl RollupKey {
    /// The name of the key in a store: 64 bits. Two keys with one name would be
    /// counted together.
    #[must_use]
    pub fn digest(&self) -> u64 {
        match self {
            Self::Total => 0,
            Self::Others => u64::MAX,
            Self::Of {
                queue,
                message_name,
            } => digest(&[queue.as_str(), message_name]),
        }
    }
}

/// The length of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    /// One minute.
    Minute,
    /// Ten minutes.
    TenMinutes,
}

impl Resolution {
    /// Both, the finest first.
    pub const ALL: [Self; 2] = [Self::Minute, Self::TenMinutes];

    /// Minutes in a slot.
    #[must_use]
    pub const fn minutes(self) -> u64 {
        match self {
            Self::Minute => 1,
            Self::TenMinutes => 10,
        }
    }

    /// The number of slots that are kept.
    #[must_use]
    pub const fn slots(self) -> u64 {
        match self {
            Self::Minute => 180,
            Self::TenMinutes => 432,
        }
    }

    /// The time for which a slot is kept.
    #[must_use]
    pub const fn kept(self) -> Duration {
        Duration::from_secs(self.minutes() * self.slots() * 60)
    }

    /// The number of the slot that a time lies in, since 1970.
    #[must_use]
    pub fn slot(self, at: Timestamp) -> u64 {
        minute_of(at) / self.minutes()
    }

    /// The time at which a slot begins.
    #[must_use]
    pub fn start(self, slot: u64) -> Timestamp {
        let ms = slot.saturating_mul(self.minutes() * 60_000);
        Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))
    }
}

/// The number of the minute that a time lies in, since 1970.
#[must_use]
pub fn minute_of(at: Timestamp) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(0) / 60_000
}

/// The number of the day (UTC) that a minute lies in, since 1970.
#[must_use]
pub const fn day_of(minute: u64) -> u64 {
    minute / (24 * 60)
}

/// The number of the hour that a minute lies in, since 1970.
#[must_use]
pub const fn hour_of(minute: u64) -> u64 {
    minute / 60
}

/// Times, counted in buckets. Bucket *n* has those of at most 2ⁿ milliseconds that are
/// in no bucket before it; the last one has all that are longer than 70 minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram([u64; BUCKETS]);

impl Histogram {
    /// Counts a time.
    pub fn observe(&mut self, time: Duration) {
        let ms = u64::try_from(time.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        let bucket = match ms {
            0 | 1 => 0,
            more => (u64::BITS - (more - 1).leading_zeros()) as usize,
        };
        if let Some(count) = self.0.get_mut(bucket.min(BUCKETS - 1)) {
            *count = count.saturating_add(1);
        }
    }

    /// The number of times.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The numbers in the buckets.
    #[must_use]
    pub const fn buckets(&self) -> &[u64; BUCKETS] {
        &self.0
    }

    /// The longest time of a bucket; `None` for the last one, which has no end.
    #[must_use]
    pub fn upper_bound(bucket: usize) -> Option<Duration> {
        (bucket + 1 < BUCKETS).then(|| Duration::from_millis(1 << bucket))
    }

    /// The time that so many of a thousand do not exceed, as far as buckets tell: it
    /// may be off by a factor of two. `None` if nothing was counted. A time in the
    /// last bucket is given as its beginning.
    #[must_use]
    pub fn quantile(&self, per_mille: u64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = count
            .saturating_mul(per_mille)
            .div_ceil(1_000)
            .clamp(1, count);
        let mut before = 0_u64;
        for (bucket, within) in self.0.iter().enumerate() {
            if before + within >= rank {
                let from = match bucket {
                    0 => 0,
                    later => 1_000_u64 << (later - 1),
                };
                let to = Self::upper_bound(bucket).map_or(from, |_| 1_000_u64 << bucket);
                let share = (to - from).saturating_mul(rank - before) / within;
                return Some(Duration::from_micros(from + share));
            }
            before += within;
        }
        None
    }
}

/// The counts of the operations of a key in a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollup {
    /// Operations that were created.
    pub created: u64,
    /// Runs that were started.
    pub started: u64,
    /// Operations that Succeeded.
    pub succeeded: u64,
    /// Operations that Failed, and not because their time to start was over.
    pub failed: u64,
    /// Operations that were Canceled.
    pub canceled: u64,
    /// Operations whose time to start was over.
    pub expired: u64,
    /// The times from Ready to the start of the run.
    pub wait: Histogram,
    /// The times of runs.
    pub run: Histogram,
}

impl Rollup {
    /// The number of [`Self::numbers`].
    pub const NUMBERS: usize = 6 + 2 * BUCKETS;

    /// Operations that ended.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.succeeded
            .saturating_add(self.failed)
            .saturating_add(self.canceled)
            .saturating_add(self.expired)
    }

    /// The numbers of operations that ended, with the names of their outcomes.
    #[must_use]
    pub const fn ends(&self) -> [(&'static str, u64); 4] {
        [
            ("succeeded", self.succeeded),
            ("failed", self.failed),
            ("canceled", self.canceled),
            ("expired", self.expired),
        ]
    }

    /// Adds the numbers of another.
    pub fn add(&mut self, other: &Self) {
        for (place, number) in other.numbers().enumerate() {
            if let Some(own) = self.number_mut(place) {
                *own = own.saturating_add(number);
            }
        }
    }

    /// All numbers, in an order that never changes: stores keep them by place.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        let Self {
            created,
            started,
            succeeded,
            failed,
            canceled,
            expired,
            wait,
            run,
        } = self;
        let counts = [*created, *started, *succeeded, *failed, *canceled, *expired];
        let times = wait.0.iter().chain(&run.0).copied();
        counts.into_iter().chain(times)
    }

    /// The number at a place of [`Self::numbers`]; `None` behind the last one.
    pub fn number_mut(&mut self, place: usize) -> Option<&mut u64> {
        match place {
            0 => Some(&mut self.created),
            1 => Some(&mut self.started),
            2 => Some(&mut self.succeeded),
            3 => Some(&mut self.failed),
            4 => Some(&mut self.canceled),
            5 => Some(&mut self.expired),
            later if later < 6 + BUCKETS => self.wait.0.get_mut(later - 6),
            later => self.run.0.get_mut(later - 6 - BUCKETS),
        }
    }

    /// The sum of several.
    #[must_use]
    pub fn sum<'a>(several: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for one in several {
            sum.add(one);
        }
        sum
    }
}

/// The counts of one process in one minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollupBatch {
    /// A random name, by which a repetition is recognised.
    pub id: u64,
    /// The minute, since 1970.
    pub minute: u64,
    /// The counts, each key once.
    pub counts: Vec<(RollupKey, Rollup)>,
}

/// Failures that are the same to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureGroup {
    /// The name of the group.
    pub key: FailureKey,
    /// The message name.
    pub message_name: String,
    /// The error code.
    pub code: ErrorCode,
    /// The [pattern](drumline_protocol::failure::pattern) of the messages.
    pub pattern: String,
    /// The number of failures.
    pub count: u64,
    /// The time of the first failure.
    pub first: Timestamp,
    /// The time of the last failure.
    pub last: Timestamp,
    /// The operation that failed last.
    pub sample: OperationId,
}

impl FailureGroup {
    /// Adds the failures of the same group that another process or time has counted.
    pub fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.min(other.first);
        if other.last >= self.last {
            self.last = other.last;
            self.sample = other.sample;
        }
    }
}

/// The failures of a group in each of some hours, the oldest first.
pub type FailureHours = [u64; FAILURE_HOURS];

/// The failures that one process has counted in some seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureBatch {
    /// A random name, by which a repetition is recognised.
    pub id: u64,
    /// The minute in which the batch was made, since 1970.
    pub minute: u64,
    /// The groups, each once in an organization.
    pub groups: Vec<(Organization, FailureGroup)>,
}

/// The part of a [`Store`](super::Store) that is about rollups and failure groups.
#[async_trait]
pub trait RollupStore: Send + Sync {
    /// Adds counts to the slots of their minute. A key that finds no room in its
    /// day is added to [`RollupKey::Others`].
    ///
    /// # Errors
    /// When the store is unavailable. The same batch may be repeated for
    /// [`BATCH_REMEMBERED`], and is counted once.
    async fn add_rollup(&self, batch: &RollupBatch) -> Result<()>;

    /// Returns the keys with names that were counted on the days from `since` to
    /// `until`, in their order.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn rollup_keys(&self, since: Timestamp, until: Timestamp) -> Result<Vec<RollupKey>>;

    /// Returns the counts of these keys in `count` slots from `first` on: for each
    /// slot a list in the order of `keys`. Zeros stand where nothing was counted, or
    /// the slot is not kept any more. Costs some 100 bytes for each key and slot.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn rollups(
        &self,
        keys: &[RollupKey],
        resolution: Resolution,
        first: u64,
        count: u64,
    ) -> Result<Vec<Vec<Rollup>>>;

    /// Adds failures to their groups, and to the hour of the batch. An hour has the
    /// counts of at most [`FAILURE_GROUPS`] groups.
    ///
    /// # Errors
    /// As [`Self::add_rollup`].
    async fn add_failures(&self, batch: &FailureBatch) -> Result<()>;

    /// Returns the failure groups of an organization, the last failure first, at most
    /// `limit`.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn failure_groups(
        &self,
        organization: &Organization,
        limit: usize,
    ) -> Result<Vec<FailureGroup>>;

    /// Returns the failures of some groups of an organization in each of the
    /// [`FAILURE_HOURS`] hours up to `last`, in the order of `keys`. Zeros stand where
    /// nothing was counted.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn failure_hours(
        &self,
        organization: &Organization,
        keys: &[FailureKey],
        last: u64,
    ) -> Result<Vec<FailureHours>>;

    /// Returns a failure group of an organization, or `None` if there is no such group.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn failure_group(
        &self,
        organization: &Organization,
        key: FailureKey,
    ) -> Result<Option<FailureGroup>>;

    /// Returns the mutes of some failure groups of an organization, in the order of
    /// `keys`. A mute that has ended may still be there.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn mutes(
        &self,
        organization: &Organization,
        keys: &[FailureKey],
    ) -> Result<Vec<Option<Mute>>>;

    /// Mutes a failure group of an organization, in place of its mute before. The mute
    /// goes with its group, and ends within [`LONGEST_MUTE`].
    ///
    /// # Errors
    /// When the store is unavailable. May be repeated.
    async fn mute(&self, organization: &Organization, key: FailureKey, mute: &Mute) -> Result<()>;

    /// Removes the mute of a failure group. Returns true if there was one.
    ///
    /// # Errors
    /// When the store is unavailable. May be repeated.
    async fn unmute(&self, organization: &Organization, key: FailureKey) -> Result<bool>;
}

#[cfg(test)]
mod tests;

//! The limiter bounds how much one party may ask for, counted over all
//! processes.
//!
//! A [`LimitKey`] names the party that is limited, such as a caller or an
//! organization's batches. The party *acquires* a permit before it acts, and
//! *releases* the permit afterwards. [`Limits`] bound how many permits may be
//! held at the same time, how many may be acquired within a sliding window, and
//! for how long their holders may be busy within that window.
//!
//! A permit is a lease: its holder renews it while the work lasts, and it ends
//! by itself if the process dies before it releases the permit. The limiter's
//! own clock judges windows and leases, so a step of that clock grants some
//! permits too early or too late. The limiter protects a service from overload.
//! Nothing that must not happen twice may depend on it.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::store::Result;

/// The number of buckets that a window is counted in. The window slides by
/// whole buckets, so an entry is counted for up to a thirtieth of the window
/// too long, and never too short. More buckets cost more memory per key.
pub const BUCKETS: u32 = 30;

/// The key of a limited party: a hash of its parts, which include its kind and
/// the length of its window. A collision would only put two parties under one
/// limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LimitKey(pub [u8; 16]);

/// The id of one permit. Ids are unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PermitId(pub Uuid);

/// The bounds of a key. Zero in any of the first three is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most permits that may be held at the same time.
    pub concurrent: u32,
    /// The most permits that may be acquired within the window.
    pub requests: u64,
    /// The longest time that their holders may be busy within the window, all
    /// together. Counted when a permit is released.
    pub execution: Duration,
    /// The length of the window. Milliseconds count; zero counts as one.
    pub window: Duration,
    /// The time after which a permit ends that is neither renewed nor
    /// released.
    pub lease: Duration,
}

impl Limits {
    /// At most `concurrent` at the same time, and no window.
    #[must_use]
    pub const fn at_once(concurrent: u32, lease: Duration) -> Self {
        Self {
            concurrent,
            requests: 0,
            execution: Duration::ZERO,
            window: Duration::ZERO,
            lease,
        }
    }

    /// Returns true if anything is counted in the window.
    #[must_use]
    pub const fn has_window(&self) -> bool {
        self.requests > 0 || !self.execution.is_zero()
    }

    /// Returns true if anything is limited at all.
    #[must_use]
    pub const fn limits_nothing(&self) -> bool {
        self.concurrent == 0 && !self.has_window()
    }

    /// The length of a bucket, in milliseconds.
    #[must_use]
    pub fn bucket_ms(&self) -> u64 {
        let window = u64::try_from(self.window.as_millis()).unwrap_or(u64::MAX);
        window.div_ceil(u64::from(BUCKETS)).max(1)
    }
}

/// The limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// [`Limits::requests`].
    Requests,
    /// [`Limits::execution`].
    Execution,
    /// [`Limits::concurrent`].
    Concurrent,
}

/// The result of acquiring a permit. A refusal is not counted; otherwise a
/// caller that retries continuously would never get a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// The permit is held, or the request was counted without one.
    Granted,
    /// The permit is not held.
    Refused {
        /// The first limit that is reached, in the order of [`Limit`].
        limit: Limit,
        /// The time until there will be room, if no other caller takes it.
        /// Zero for [`Limit::Concurrent`]: the time of the next release is
        /// unknown.
        retry_after: Duration,
    },
}

/// The release of one permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// The key that the permit was acquired for.
    pub key: LimitKey,
    /// The permit.
    pub permit: PermitId,
    /// The time for which its holder was busy.
    pub busy: Duration,
    /// The limits with which it was acquired.
    pub limits: Limits,
}

/// The limiter counts permits per key, over all processes.
#[async_trait]
pub trait Limiter: Send + Sync + 'static {
    /// Acquires a permit, in one round trip. Without a permit (`None`) there
    /// must be room too, and the request is counted in the window, but nothing
    /// is held afterwards.
    ///
    /// A permit that is held already is granted again, and counted once. If the
    /// future is dropped, the permit may or may not be held: release it.
    ///
    /// # Errors
    /// When the store behind it is unavailable. The permit may or may not be
    /// held.
    async fn acquire(
        &self,
        key: LimitKey,
        permit: Option<PermitId>,
        limits: &Limits,
    ) -> Result<Acquired>;

    /// Renews the leases of permits; returns for each whether it was still
    /// held. A permit that was not held stays so: another caller may have its
    /// place.
    ///
    /// # Errors
    /// When the store behind it is unavailable. Some may have been renewed.
    async fn renew(&self, held: &[(LimitKey, PermitId)], lease: Duration) -> Result<Vec<bool>>;

    /// Releases permits. A permit that is not held any more is not counted, so
    /// releasing it twice is releasing it once.
    ///
    /// # Errors
    /// When the store behind it is unavailable. Some may have been released.
    async fn release(&self, releases: &[Release]) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_never_shorter_than_it_should_be() {
        for ms in [0, 1, 29, 30, 31, 300_000] {
            let limits = Limits {
                window: Duration::from_millis(ms),
                ..Limits::at_once(0, Duration::ZERO)
            };
            assert!(limits.bucket_ms() * u64::from(BUCKETS) >= ms.max(1), "{ms}");
        }
        let longest = Limits {
            window: Duration::MAX,
            ..Limits::at_once(0, Duration::ZERO)
        };
        assert!(longest.bucket_ms() > 0);
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        let none = Limits::at_once(0, Duration::ZERO);
        let concurrent = Limits::at_once(1, Duration::ZERO);
        let requests = Limits {
            requests: 1,
            ..none
        };
        let execution = Limits {
            execution: Duration::from_millis(1),
            ..none
        };
        assert!(none.limits_nothing() && !none.has_window());
        assert!(!concurrent.limits_nothing() && !concurrent.has_window());
        for windowed in [requests, execution] {
            assert!(windowed.has_window(), "{windowed:?}");
            assert!(!windowed.limits_nothing(), "{windowed:?}");
        }
    }
}

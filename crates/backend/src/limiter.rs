//! The limiter: how much somebody may ask for, counted over all processes.
//!
//! A [`Subject`] is whoever is limited: a caller, an organization's batches.
//! Whoever wants to do something for it *enters*, and *leaves* when it is done;
//! the subject's [`Limits`] say how many may be inside at the same time, and
//! how many may enter, and how long they may be busy, within a sliding window.
//!
//! Being inside is a lease: it is renewed while it lasts and ends by itself
//! when the process dies that should have left. The limiter's own clock judges
//! windows and leases; a step of that clock lets some in too early or too
//! late. So it protects a service from being asked for too much, and nothing
//! that must not happen twice may hang on it.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::store::Result;

/// Buckets that a window is counted in. The window slides by whole buckets, so
/// what has entered is counted for up to a thirtieth of the window too long,
/// and never too short. More buckets cost more memory per subject.
pub const BUCKETS: u32 = 30;

/// Whoever is limited: a hash of what makes it up, its kind and the length of
/// its window among it. A collision would only put two under one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject(pub [u8; 16]);

/// One who is inside. No two have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Visitor(pub Uuid);

/// How much a subject may ask for. Zero in any of the three is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many may be inside at the same time.
    pub concurrent: u32,
    /// How many may enter within the window.
    pub requests: u64,
    /// How long they may be busy within the window, all together; counted when
    /// they leave.
    pub execution: Duration,
    /// The length of the window. Milliseconds count; zero counts as one.
    pub window: Duration,
    /// How long one is inside who neither renews nor leaves.
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

    /// Whether anything is counted in the window.
    #[must_use]
    pub const fn has_window(&self) -> bool {
        self.requests > 0 || !self.execution.is_zero()
    }

    /// Whether anything is limited at all.
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

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// [`Limits::requests`].
    Requests,
    /// [`Limits::execution`].
    Execution,
    /// [`Limits::concurrent`].
    Concurrent,
}

/// What came of a wish to enter. Whoever is refused is not counted: those who
/// try again and again would never get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It is inside, or has been counted as one who passes.
    Admitted,
    /// It is not.
    Refused {
        /// The first limit that is reached, in the order of [`Limit`].
        limit: Limit,
        /// When there will be room, if nobody else takes it. Zero for
        /// [`Limit::Concurrent`]: nobody knows when the next one leaves.
        retry_after: Duration,
    },
}

/// One who leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// From where.
    pub subject: Subject,
    /// Who.
    pub visitor: Visitor,
    /// How long it was busy.
    pub busy: Duration,
    /// The limits with which it entered.
    pub limits: Limits,
}

/// The limiter: see the module's text.
#[async_trait]
pub trait Limiter: Send + Sync + 'static {
    /// Enters, in one round trip. `None` passes through: it is counted in the
    /// window, there must be room for it, and it is not inside afterwards.
    ///
    /// Whoever is inside and enters again is admitted, and counted once.
    /// Dropping the future leaves it open whether it has entered: leave.
    ///
    /// # Errors
    /// When the store behind it is away. Whether it has entered is open.
    async fn enter(
        &self,
        subject: Subject,
        visitor: Option<Visitor>,
        limits: &Limits,
    ) -> Result<Entered>;

    /// Renews the leases of some who are inside; for each, whether it still
    /// was. Who is not any more stays outside: another may have the place.
    ///
    /// # Errors
    /// When the store behind it is away. Some may have been renewed.
    async fn renew(&self, inside: &[(Subject, Visitor)], lease: Duration) -> Result<Vec<bool>>;

    /// Leaves. Who is not inside any more is not counted: leaving twice is
    /// leaving once.
    ///
    /// # Errors
    /// When the store behind it is away. Some may have left.
    async fn leave(&self, departures: &[Departure]) -> Result<()>;
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
}

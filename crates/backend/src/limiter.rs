//! The limiter bounds how much a subject may ask for, counted over all
//! processes.
//!
//! A [`Subject`] is the party that is limited, such as a caller or an
//! organization's batches. A visitor of the subject *enters* before it acts,
//! and *leaves* afterwards. The subject's [`Limits`] bound how many visitors
//! may be inside at the same time, how many may enter within a sliding window,
//! and how long they may be busy within that window.
//!
//! Being inside is a lease: it is renewed while the visit lasts, and ends by
//! itself if the process dies before it leaves. The limiter's own clock judges
//! windows and leases; a step of that clock lets some visitors in too early or
//! too late. So the limiter protects a service from overload. Nothing that must
//! not happen twice may depend on it.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::store::Result;

/// The number of buckets that a window is counted in. The window slides by
/// whole buckets, so an entry is counted for up to a thirtieth of the window
/// too long, and never too short. More buckets cost more memory per subject.
pub const BUCKETS: u32 = 30;

/// The key of a limited party: a hash of its parts, which include its kind and
/// the length of its window. A collision would only put two under one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject(pub [u8; 16]);

/// The id of one visitor that is inside. Ids are unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Visitor(pub Uuid);

/// The bounds of a subject. Zero in any of the three is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most visitors that may be inside at the same time.
    pub concurrent: u32,
    /// The most visitors that may enter within the window.
    pub requests: u64,
    /// The longest time that they may be busy within the window, all together;
    /// counted when they leave.
    pub execution: Duration,
    /// The length of the window. Milliseconds count; zero counts as one.
    pub window: Duration,
    /// The time after which a visitor that neither renews nor leaves is
    /// outside.
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

/// The result of entering. A refused visitor is not counted; otherwise a caller
/// that retries continuously would never get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// The visitor is inside, or has been counted as passing through.
    Admitted,
    /// The visitor is not inside.
    Refused {
        /// The first limit that is reached, in the order of [`Limit`].
        limit: Limit,
        /// The time until there will be room, if no other visitor takes it.
        /// Zero for [`Limit::Concurrent`]: the time when the next visitor
        /// leaves is unknown.
        retry_after: Duration,
    },
}

/// The end of a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The subject that the visitor leaves.
    pub subject: Subject,
    /// The visitor that leaves.
    pub visitor: Visitor,
    /// The time that the visitor was busy.
    pub busy: Duration,
    /// The limits with which the visitor entered.
    pub limits: Limits,
}

/// The limiter counts visits per subject, over all processes.
#[async_trait]
pub trait Limiter: Send + Sync + 'static {
    /// Enters, in one round trip. `None` passes through: there must be room,
    /// the entry is counted in the window, and the visitor is not inside
    /// afterwards.
    ///
    /// A visitor that is inside and enters again is admitted, and counted once.
    /// If the future is dropped, the visitor may or may not have entered:
    /// leave.
    ///
    /// # Errors
    /// When the store behind it is unavailable. The visitor may or may not have
    /// entered.
    async fn enter(
        &self,
        subject: Subject,
        visitor: Option<Visitor>,
        limits: &Limits,
    ) -> Result<Entered>;

    /// Renews the leases of visitors; returns for each whether it was still
    /// inside. A visitor that was not stays outside: another may have its
    /// place.
    ///
    /// # Errors
    /// When the store behind it is unavailable. Some may have been renewed.
    async fn renew(&self, inside: &[(Subject, Visitor)], lease: Duration) -> Result<Vec<bool>>;

    /// Leaves. A visitor that is not inside any more is not counted, so leaving
    /// twice is leaving once.
    ///
    /// # Errors
    /// When the store behind it is unavailable. Some may have left.
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

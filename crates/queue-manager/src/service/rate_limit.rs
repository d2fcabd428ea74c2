//! Admission: batches by organization, requests by caller.
//!
//! ```text
//!  admit_batch ─┐            ┌─ admitted: a permit, which is released when it is dropped
//!               ├─ limiter ──┤
//!  admit ───────┘            └─ refused: Busy or RateLimited
//! ```
//!
//! An admission costs a round trip. A release costs the request nothing:
//! [`permits`] releases permits after the answer is sent, and renews those of
//! requests that take long.
//!
//! While the limiter is unavailable, requests are admitted all the same, and are
//! counted as unprotected: a protection that stops the service is of no use,
//! and a request that needs the store finds by itself that the store is
//! unavailable. Batches are not admitted: they need the store anyway.

mod limiter_breaker;
mod permits;

use std::time::Duration;

use drumline_backend::limiter::{Acquired, Limit, LimitKey, Limits};
use drumline_backend::store;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::{Actor, QueueManager};
use crate::error::{Error, RateLimited, Result};
use crate::options::{Admission, Protection};

pub(super) use limiter_breaker::LimiterBreaker;
pub use permits::Permit;
pub(super) use permits::Permits;

/// A limiter that has not answered for so long counts as unavailable. It
/// usually answers within a millisecond; a limiter that takes a second would
/// slow down everything.
const LIMITER_TIMEOUT: Duration = Duration::from_secs(1);
/// The time after which a caller with too many requests at the same time may
/// try again. Most requests are done by then, and there is no better estimate.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// The way that a request uses the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// The manager works on the request until it is answered.
    Working,
    /// The request waits most of the time, and keeps nothing busy. It is
    /// counted as a request, but neither as execution time nor as a concurrent
    /// request.
    Waiting,
}

impl QueueManager {
    /// Admits a batch. Keep the permit while the batch is executed.
    ///
    /// Cancel-safe: a permit that was acquired meanwhile is released.
    ///
    /// # Errors
    /// [`Error::Busy`] when the organization has as many batches executed as it
    /// may have; when the store is unavailable.
    pub async fn admit_batch(&self, actor: &Actor) -> Result<Permit> {
        let Admission { batches, lease, .. } = self.options().admission;
        let limits = Limits::at_once(batches, lease);
        if limits.limits_nothing() {
            return Ok(Permit::unlimited());
        }
        let key = limit_key("batches", &[&actor.organization.0], &limits);
        let permit = self.permit(key, limits);
        match self.acquire(key, &permit, &limits).await? {
            Acquired::Granted => Ok(permit),
            Acquired::Refused { .. } => {
                permit.discard();
                self.metrics().batches_refused.inc();
                Err(Error::Busy { limit: batches })
            }
        }
    }

    /// Admits a request. Keep the permit until the request is answered.
    ///
    /// Cancel-safe: a permit that was acquired meanwhile is released.
    ///
    /// # Errors
    /// [`Error::RateLimited`] when the caller has used up its limits.
    pub async fn admit(&self, actor: &Actor, kind: RequestKind) -> Result<Permit> {
        let Admission {
            protection, lease, ..
        } = self.options().admission;
        let limits = protection.limits(lease);
        let is_exempt = actor.is_anonymous() && !protection.anonymous;
        if is_exempt || limits.limits_nothing() {
            return Ok(Permit::unlimited());
        }
        if !self.shared.breaker.may_ask() {
            self.metrics().unprotected.inc();
            return Ok(Permit::unlimited());
        }
        let names = [actor.organization.0.as_str(), &actor.caller];
        let key = limit_key("requests", &names, &limits);
        let permit = match kind {
            RequestKind::Working => self.permit(key, limits),
            RequestKind::Waiting => Permit::unlimited(),
        };
        let acquired = self.acquire(key, &permit, &limits);
        match timeout(LIMITER_TIMEOUT, acquired).await {
            Ok(Ok(Acquired::Granted)) => {
                self.shared.breaker.answered();
                Ok(permit)
            }
            Ok(Ok(Acquired::Refused { limit, retry_after })) => {
                self.shared.breaker.answered();
                permit.discard();
                self.metrics().rate_limited(limit);
                Err(RateLimited::new(limit, limits, retry_after.max(RETRY_AFTER_MIN)).into())
            }
            // The limiter may have granted the permit all the same: it will be
            // released.
            Ok(Err(error)) => {
                self.note_unavailable(Some(&error));
                Ok(permit)
            }
            Err(_elapsed) => {
                self.note_unavailable(None);
                Ok(permit)
            }
        }
    }

    /// Acquires a permit. Permits are released after the answer is sent, so a
    /// refused caller may have collided with its own previous request. It is
    /// refused only if it is refused again after all releases are flushed.
    async fn acquire(
        &self,
        key: LimitKey,
        permit: &Permit,
        limits: &Limits,
    ) -> store::Result<Acquired> {
        let limiter = self.shared.backend.limiter.as_ref();
        let acquired = limiter.acquire(key, permit.id(), limits).await?;
        let is_full = matches!(
            acquired,
            Acquired::Refused {
                limit: Limit::Concurrent,
                ..
            }
        );
        if !is_full {
            return Ok(acquired);
        }
        self.shared.permits.flush_releases(limiter).await;
        limiter.acquire(key, permit.id(), limits).await
    }

    fn note_unavailable(&self, error: Option<&store::Error>) {
        if self.shared.breaker.failed() {
            let error = error.map(tracing::field::display);
            tracing::warn!(
                error,
                "the limiter is unavailable; requests are admitted uncounted"
            );
        }
        self.metrics().unprotected.inc();
    }

    fn permit(&self, key: LimitKey, limits: Limits) -> Permit {
        self.shared.permits.permit(key, self.ids().uuid(), limits)
    }
}

impl Protection {
    fn limits(&self, lease: Duration) -> Limits {
        let Self {
            requests,
            execution,
            concurrent,
            window,
            anonymous: _,
        } = *self;
        Limits {
            concurrent,
            requests,
            execution,
            window,
            lease,
        }
    }
}

impl RateLimited {
    fn new(limit: Limit, limits: Limits, retry_after: Duration) -> Self {
        Self {
            limit,
            limits,
            retry_after,
        }
    }
}

/// The key of a limit. The length of the window is part of it: managers that are
/// configured differently for a while must not share its buckets.
fn limit_key(kind: &str, names: &[&str], limits: &Limits) -> LimitKey {
    let mut hash = Sha256::new();
    for part in [kind].iter().chain(names) {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(limits.bucket_ms().to_be_bytes());
    let mut half = [0; 16];
    for (to, from) in half.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    LimitKey(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_told_apart_by_everything_that_makes_them_up() {
        let limits = Protection::default().limits(Duration::from_secs(10));
        let longer = Limits {
            window: limits.window * 2,
            ..limits
        };
        let all = [
            limit_key("requests", &["a", "bc"], &limits),
            limit_key("requests", &["ab", "c"], &limits),
            limit_key("batches", &["a", "bc"], &limits),
            limit_key("requests", &["a", "bc"], &longer),
            limit_key("requests", &["a"], &limits),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[..place].contains(one), "{place}");
        }
        assert_eq!(all[0], limit_key("requests", &["a", "bc"], &limits));
    }
}

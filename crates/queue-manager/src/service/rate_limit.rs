//! Admission: batches by organization, requests by caller.
//!
//! ```text
//!  enter_batch ─┐            ┌─ admitted: a pass, which leaves when it is dropped
//!               ├─ limiter ──┤
//!  enter ───────┘            └─ refused: Busy or RateLimited
//! ```
//!
//! To come in costs a round trip. To leave costs the answer nothing: leaving,
//! and renewing the passes of requests that take long, is `permits`'s.
//!
//! While the limiter is unavailable, requests come in all the same, and are
//! counted as unprotected: a protection that stops the service is of no use,
//! and a request that needs the store finds by itself that the store is
//! unavailable. Batches do not come in: they need the store anyway.

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
const LONGEST: Duration = Duration::from_secs(1);
/// The time after which a caller with too many requests at the same time may
/// try again. Most requests are done by then, and there is no better estimate.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The way that a request uses the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// The manager works on the request until it is answered.
    Working,
    /// The request waits most of the time, and keeps nothing busy. It is
    /// counted as a request, but neither as execution time nor as a concurrent
    /// request.
    Waiting,
}

impl QueueManager {
    /// Admits a batch. Keep the pass while the batch is executed.
    ///
    /// Cancel-safe: a place that was taken meanwhile is given back.
    ///
    /// # Errors
    /// [`Error::Busy`] when the organization has as many batches executed as it
    /// may have; when the store is unavailable.
    pub async fn enter_batch(&self, actor: &Actor) -> Result<Permit> {
        let Admission { batches, lease, .. } = self.options().admission;
        let limits = Limits::at_once(batches, lease);
        if limits.limits_nothing() {
            return Ok(Permit::free());
        }
        let subject = subject("batches", &[&actor.organization.0], &limits);
        let pass = self.pass(subject, limits);
        match self.let_in(subject, &pass, &limits).await? {
            Acquired::Granted => Ok(pass),
            Acquired::Refused { .. } => {
                pass.void();
                self.metrics().batches_refused.inc();
                Err(Error::Busy { limit: batches })
            }
        }
    }

    /// Admits a request. Keep the pass until the request is answered.
    ///
    /// Cancel-safe: a place that was taken meanwhile is given back.
    ///
    /// # Errors
    /// [`Error::RateLimited`] when the caller has used up its limits.
    pub async fn enter(&self, actor: &Actor, stay: Stay) -> Result<Permit> {
        let Admission {
            protection, lease, ..
        } = self.options().admission;
        let limits = protection.limits(lease);
        let is_exempt = actor.is_anonymous() && !protection.anonymous;
        if is_exempt || limits.limits_nothing() {
            return Ok(Permit::free());
        }
        if !self.shared.breaker.may_ask() {
            self.metrics().unprotected.inc();
            return Ok(Permit::free());
        }
        let subject = subject("requests", &[&actor.organization.0, &actor.caller], &limits);
        let pass = match stay {
            Stay::Working => self.pass(subject, limits),
            Stay::Waiting => Permit::free(),
        };
        let entering = self.let_in(subject, &pass, &limits);
        match timeout(LONGEST, entering).await {
            Ok(Ok(Acquired::Granted)) => {
                self.shared.breaker.answered();
                Ok(pass)
            }
            Ok(Ok(Acquired::Refused { limit, retry_after })) => {
                self.shared.breaker.answered();
                pass.void();
                self.metrics().rate_limited(limit);
                Err(RateLimited::new(limit, limits, retry_after.max(TRY_AGAIN)).into())
            }
            // The limiter may have admitted it all the same: the pass will
            // leave.
            Ok(Err(error)) => {
                self.note_away(Some(&error));
                Ok(pass)
            }
            Err(_elapsed) => {
                self.note_away(None);
                Ok(pass)
            }
        }
    }

    /// Takes a place. Places are given back after the answer is sent, so a
    /// refused caller may have collided with its own previous request. It is
    /// refused only if it is refused again after all releases are flushed.
    async fn let_in(
        &self,
        subject: LimitKey,
        pass: &Permit,
        limits: &Limits,
    ) -> store::Result<Acquired> {
        let limiter = self.shared.backend.limiter.as_ref();
        let entered = limiter.acquire(subject, pass.visitor(), limits).await?;
        let is_full = matches!(
            entered,
            Acquired::Refused {
                limit: Limit::Concurrent,
                ..
            }
        );
        if !is_full {
            return Ok(entered);
        }
        self.shared.permits.flush_releases(limiter).await;
        limiter.acquire(subject, pass.visitor(), limits).await
    }

    fn note_away(&self, error: Option<&store::Error>) {
        if self.shared.breaker.failed() {
            let error = error.map(tracing::field::display);
            tracing::warn!(
                error,
                "the limiter is unavailable; requests are admitted uncounted"
            );
        }
        self.metrics().unprotected.inc();
    }

    fn pass(&self, subject: LimitKey, limits: Limits) -> Permit {
        self.shared.permits.pass(subject, self.ids().uuid(), limits)
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

/// The subject of a limit. The length of the window is part of it: managers
/// that are configured differently for a while must not share its buckets.
fn subject(kind: &str, names: &[&str], limits: &Limits) -> LimitKey {
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
            subject("requests", &["a", "bc"], &limits),
            subject("requests", &["ab", "c"], &limits),
            subject("batches", &["a", "bc"], &limits),
            subject("requests", &["a", "bc"], &longer),
            subject("requests", &["a"], &limits),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[..place].contains(one), "{place}");
        }
        assert_eq!(all[0], subject("requests", &["a", "bc"], &limits));
    }
}

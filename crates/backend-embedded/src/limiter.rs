//! The limiter in one process, by the backend's clock.

mod tally;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::limiter::{Acquired, Limit, LimitKey, Limiter, Limits, PermitId, Release};
use drumline_backend::store::Result;
use drumline_protocol::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use self::tally::Tally;
use crate::clock::Clock;

/// The interval at which idle keys are removed. Each holds half a kilobyte.
const SWEEP: Duration = Duration::from_secs(60);

/// The limiter of the embedded backend: all keys in one map.
#[derive(Debug)]
pub struct EmbeddedLimiter {
    clock: Arc<dyn Clock>,
    // The lock is held for a moment, never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: HashMap<LimitKey, Account>,
    /// `None`: not swept yet.
    sweep_at: Option<Timestamp>,
}

/// The state of one key.
#[derive(Debug, Default)]
struct Account {
    /// The permits that are held, and the ends of their leases.
    held: HashMap<PermitId, Timestamp>,
    /// Made when the first counted permit is acquired.
    tally: Option<Box<Tally>>,
}

impl EmbeddedLimiter {
    /// Makes a limiter without permits.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[async_trait]
impl Limiter for EmbeddedLimiter {
    async fn acquire(
        &self,
        key: LimitKey,
        permit: Option<PermitId>,
        limits: &Limits,
    ) -> Result<Acquired> {
        let now = self.clock.now();
        let mut state = self.state();
        state.sweep(now);
        let account = state.keys.entry(key).or_default();
        Ok(account.acquire(permit, limits, now))
    }

    async fn renew(&self, held: &[(LimitKey, PermitId)], lease: Duration) -> Result<Vec<bool>> {
        let now = self.clock.now();
        let mut state = self.state();
        let renewed = held.iter().map(|(key, permit)| {
            let account = state.keys.get_mut(key);
            let until = account.and_then(|account| account.held.get_mut(permit));
            until.is_some_and(|until| {
                *until = now.saturating_add(lease);
                true
            })
        });
        Ok(renewed.collect())
    }

    async fn release(&self, releases: &[Release]) -> Result<()> {
        let now = self.clock.now();
        let mut state = self.state();
        for release in releases {
            if let Some(account) = state.keys.get_mut(&release.key) {
                account.release(release, now);
            }
        }
        Ok(())
    }
}

impl State {
    /// Removes, now and then, the keys that have become empty.
    fn sweep(&mut self, now: Timestamp) {
        if self.sweep_at.is_some_and(|at| now < at) {
            return;
        }
        self.sweep_at = Some(now.saturating_add(SWEEP));
        self.keys.retain(|_, account| {
            account.held.retain(|_, until| *until > now);
            account.tally.take_if(|tally| tally.is_over(now));
            !account.held.is_empty() || account.tally.is_some()
        });
    }
}

impl Account {
    fn acquire(&mut self, permit: Option<PermitId>, limits: &Limits, now: Timestamp) -> Acquired {
        self.held.retain(|_, until| *until > now);
        if permit.is_some_and(|permit| self.held.contains_key(&permit)) {
            return Acquired::Granted;
        }
        let tally = limits.has_window().then(|| {
            let tally = self.tally.get_or_insert_default();
            tally.slide(limits.bucket_ms(), now);
            tally
        });
        if let Some(tally) = &tally
            && let Some((limit, retry_after)) = tally.objection(limits, now)
        {
            return Acquired::Refused { limit, retry_after };
        }
        let most = usize::try_from(limits.concurrent).unwrap_or(usize::MAX);
        if most > 0 && self.held.len() >= most {
            return Acquired::Refused {
                limit: Limit::Concurrent,
                retry_after: Duration::ZERO,
            };
        }
        if let Some(tally) = tally {
            tally.count(1, Duration::ZERO);
        }
        if let Some(permit) = permit {
            self.held.insert(permit, now.saturating_add(limits.lease));
        }
        Acquired::Granted
    }

    fn release(&mut self, release: &Release, now: Timestamp) {
        if self.held.remove(&release.permit).is_none() || !release.limits.has_window() {
            return;
        }
        let tally = self.tally.get_or_insert_default();
        tally.slide(release.limits.bucket_ms(), now);
        tally.count(0, release.busy);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::clock::ManualClock;

    const KEY: LimitKey = LimitKey([7; 16]);

    fn limiter() -> (ManualClock, EmbeddedLimiter) {
        let clock = ManualClock::new(Timestamp::from_millis(1_795_000_000_000));
        let limiter = EmbeddedLimiter::new(Arc::new(clock.clone()));
        (clock, limiter)
    }

    #[tokio::test]
    async fn a_lease_ends_when_it_should_and_not_before() {
        let (clock, limiter) = limiter();
        let limits = Limits::at_once(1, Duration::from_secs(10));
        let acquire = async |number| {
            let permit = Some(PermitId(Uuid::from_u128(number)));
            let acquired = limiter.acquire(KEY, permit, &limits).await.unwrap();
            acquired == Acquired::Granted
        };
        assert!(acquire(1).await);
        clock.advance(Duration::from_millis(9_999));
        assert!(!acquire(2).await);
        clock.advance(Duration::from_millis(1));
        assert!(acquire(2).await);
    }

    #[tokio::test]
    async fn subjects_that_nobody_asks_about_are_forgotten() {
        let (clock, limiter) = limiter();
        let limits = Limits {
            requests: 5,
            window: Duration::from_secs(30),
            ..Limits::at_once(5, Duration::from_secs(10))
        };
        for number in 0..100 {
            let permit = Some(PermitId(Uuid::from_u128(1)));
            let key = LimitKey([number; 16]);
            limiter.acquire(key, permit, &limits).await.unwrap();
        }
        assert_eq!(limiter.state().keys.len(), 100);
        clock.advance(SWEEP);
        limiter.acquire(KEY, None, &limits).await.unwrap();
        assert_eq!(limiter.state().keys.len(), 1);
    }
}

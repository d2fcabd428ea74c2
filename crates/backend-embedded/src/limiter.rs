//! The limiter in one process, by the backend's clock.

mod tally;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::limiter::{Departure, Entered, Limit, Limiter, Limits, Subject, Visitor};
use drumline_backend::store::Result;
use drumline_protocol::Timestamp;

use self::tally::Tally;
use crate::clock::Clock;

/// The interval at which idle subjects are removed. Each holds half a kilobyte.
const SWEEP: Duration = Duration::from_secs(60);

/// The limiter of the embedded backend: all subjects in one map.
#[derive(Debug)]
pub struct EmbeddedLimiter {
    clock: Arc<dyn Clock>,
    // The lock is held for a moment, never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    subjects: HashMap<Subject, Account>,
    /// `None`: not swept yet.
    sweep_at: Option<Timestamp>,
}

/// The state of one subject.
#[derive(Debug, Default)]
struct Account {
    /// The visitors that are inside, and the ends of their leases.
    inside: HashMap<Visitor, Timestamp>,
    /// Made when the first counted visitor enters.
    tally: Option<Box<Tally>>,
}

impl EmbeddedLimiter {
    /// Makes a limiter without visitors.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    /// Locks the state. A panic of another holder cannot leave the map
    /// half-changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Limiter for EmbeddedLimiter {
    async fn enter(
        &self,
        subject: Subject,
        visitor: Option<Visitor>,
        limits: &Limits,
    ) -> Result<Entered> {
        let now = self.clock.now();
        let mut state = self.state();
        state.sweep(now);
        let account = state.subjects.entry(subject).or_default();
        Ok(account.enter(visitor, limits, now))
    }

    async fn renew(&self, inside: &[(Subject, Visitor)], lease: Duration) -> Result<Vec<bool>> {
        let now = self.clock.now();
        let mut state = self.state();
        let renewed = inside.iter().map(|(subject, visitor)| {
            let account = state.subjects.get_mut(subject);
            let until = account.and_then(|account| account.inside.get_mut(visitor));
            until.is_some_and(|until| {
                *until = now.saturating_add(lease);
                true
            })
        });
        Ok(renewed.collect())
    }

    async fn leave(&self, departures: &[Departure]) -> Result<()> {
        let now = self.clock.now();
        let mut state = self.state();
        for departure in departures {
            if let Some(account) = state.subjects.get_mut(&departure.subject) {
                account.leave(departure, now);
            }
        }
        Ok(())
    }
}

impl State {
    /// Removes, now and then, the subjects that have become empty.
    fn sweep(&mut self, now: Timestamp) {
        if self.sweep_at.is_some_and(|at| now < at) {
            return;
        }
        self.sweep_at = Some(now.saturating_add(SWEEP));
        self.subjects.retain(|_, account| {
            account.inside.retain(|_, until| *until > now);
            account.tally.take_if(|tally| tally.is_over(now));
            !account.inside.is_empty() || account.tally.is_some()
        });
    }
}

impl Account {
    fn enter(&mut self, visitor: Option<Visitor>, limits: &Limits, now: Timestamp) -> Entered {
        self.inside.retain(|_, until| *until > now);
        if visitor.is_some_and(|visitor| self.inside.contains_key(&visitor)) {
            return Entered::Admitted;
        }
        let tally = limits.has_window().then(|| {
            let tally = self.tally.get_or_insert_default();
            tally.slide(limits.bucket_ms(), now);
            tally
        });
        if let Some(tally) = &tally
            && let Some((limit, retry_after)) = tally.objection(limits, now)
        {
            return Entered::Refused { limit, retry_after };
        }
        let most = usize::try_from(limits.concurrent).unwrap_or(usize::MAX);
        if most > 0 && self.inside.len() >= most {
            return Entered::Refused {
                limit: Limit::Concurrent,
                retry_after: Duration::ZERO,
            };
        }
        if let Some(tally) = tally {
            tally.count(1, Duration::ZERO);
        }
        if let Some(visitor) = visitor {
            self.inside
                .insert(visitor, now.saturating_add(limits.lease));
        }
        Entered::Admitted
    }

    fn leave(&mut self, departure: &Departure, now: Timestamp) {
        if self.inside.remove(&departure.visitor).is_none() || !departure.limits.has_window() {
            return;
        }
        let tally = self.tally.get_or_insert_default();
        tally.slide(departure.limits.bucket_ms(), now);
        tally.count(0, departure.busy);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::clock::ManualClock;

    const SUBJECT: Subject = Subject([7; 16]);

    fn limiter() -> (ManualClock, EmbeddedLimiter) {
        let clock = ManualClock::new(Timestamp::from_millis(1_795_000_000_000));
        let limiter = EmbeddedLimiter::new(Arc::new(clock.clone()));
        (clock, limiter)
    }

    #[tokio::test]
    async fn a_lease_ends_when_it_should_and_not_before() {
        let (clock, limiter) = limiter();
        let limits = Limits::at_once(1, Duration::from_secs(10));
        let enter = async |number| {
            let visitor = Some(Visitor(Uuid::from_u128(number)));
            let entered = limiter.enter(SUBJECT, visitor, &limits).await.unwrap();
            entered == Entered::Admitted
        };
        assert!(enter(1).await);
        clock.advance(Duration::from_millis(9_999));
        assert!(!enter(2).await);
        clock.advance(Duration::from_millis(1));
        assert!(enter(2).await);
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
            let visitor = Some(Visitor(Uuid::from_u128(1)));
            let subject = Subject([number; 16]);
            limiter.enter(subject, visitor, &limits).await.unwrap();
        }
        assert_eq!(limiter.state().subjects.len(), 100);
        clock.advance(SWEEP);
        limiter.enter(SUBJECT, None, &limits).await.unwrap();
        assert_eq!(limiter.state().subjects.len(), 1);
    }
}

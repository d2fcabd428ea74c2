//! Who may come in: batches by organization, requests by caller.
//!
//! ```text
//!  enter_batch ─┐            ┌─ admitted: a pass, which leaves when it is dropped
//!               ├─ limiter ──┤
//!  enter ───────┘            └─ refused: Busy or Protected
//! ```
//!
//! To come in costs a round trip. To leave costs the answer none: that, and
//! renewing the passes of whoever stays for long, is `attendance`'s.
//!
//! While the limiter is away, requests come in all the same, and are counted
//! as unprotected: a protection that stops the service protects nobody, and
//! what needs the store meets it away by itself. Batches do not come in: they
//! need the store anyway.

mod attendance;
mod patience;

use std::time::Duration;

use drumline_backend::limiter::{Entered, Limit, Limits, Subject};
use drumline_backend::store;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::{Caller, QueueManager};
use crate::error::{Error, Protected, Result};

pub(super) use attendance::Attendance;
pub use attendance::Pass;
pub(super) use patience::Patience;

/// A limiter that has not answered for so long counts as away. It answers
/// within a millisecond; one that takes a second would slow down everything.
const LONGEST: Duration = Duration::from_secs(1);
/// When a caller with too many requests at the same time may try again: most
/// requests are done by then, and nobody knows better.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How much organizations and callers may ask for at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// How many batches of one organization are executed at the same time, by
    /// all managers together; 0: any number. Default 2: a batch holds up to a
    /// thousand requests, and one organization's should leave room for those of
    /// others.
    pub batches: u32,
    /// How much a caller may ask for.
    pub protection: Protection,
    /// How long a place is held for a manager that is dead. Default 10 s;
    /// shorter ones are lost while the store is slow, longer ones keep others
    /// out after a crash.
    pub lease: Duration,
}

/// How much one caller may ask for within a sliding window, of all managers
/// together. 0 in a number is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// Requests within the window. Default 6,000.
    pub requests: u64,
    /// Execution time within the window. Default 20 min.
    pub execution: Duration,
    /// Requests at the same time. Default 52.
    pub concurrent: u32,
    /// The window. Default 300 s. It slides in steps of a thirtieth.
    pub window: Duration,
    /// Whether it holds for those who do not say who they are, too: all of an
    /// organization count as one caller then. Default no.
    pub anonymous: bool,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            batches: 2,
            protection: Protection::default(),
            lease: Duration::from_secs(10),
        }
    }
}

impl Default for Protection {
    /// The numbers that users of the Dynamics service know.
    fn default() -> Self {
        Self {
            requests: 6_000,
            execution: Duration::from_secs(20 * 60),
            concurrent: 52,
            window: Duration::from_secs(300),
            anonymous: false,
        }
    }
}

/// How a request uses the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// It is worked on until it is answered.
    Working,
    /// It waits most of the time, and keeps nobody busy: counted as a request,
    /// but neither as execution time nor as one at the same time.
    Waiting,
}

impl QueueManager {
    /// Comes in with a batch. Keep the pass while it is executed.
    ///
    /// Cancel-safe: a place that was taken meanwhile is given back.
    ///
    /// # Errors
    /// [`Error::Busy`] when the organization has as many batches executed as it
    /// may have; when the store is away.
    pub async fn enter_batch(&self, caller: &Caller) -> Result<Pass> {
        let Admission { batches, lease, .. } = self.options().admission;
        let limits = Limits::at_once(batches, lease);
        if limits.limits_nothing() {
            return Ok(Pass::free());
        }
        let subject = subject("batches", &[&caller.organization.0], &limits);
        let pass = self.pass(subject, limits);
        match self.let_in(subject, &pass, &limits).await? {
            Entered::Admitted => Ok(pass),
            Entered::Refused { .. } => {
                pass.void();
                self.metrics().batches_refused.inc();
                Err(Error::Busy { limit: batches })
            }
        }
    }

    /// Comes in with a request. Keep the pass until it is answered.
    ///
    /// Cancel-safe: a place that was taken meanwhile is given back.
    ///
    /// # Errors
    /// [`Error::Protected`] when the caller has used up what it may use.
    pub async fn enter(&self, caller: &Caller, stay: Stay) -> Result<Pass> {
        let Admission {
            protection, lease, ..
        } = self.options().admission;
        let limits = protection.limits(lease);
        let is_exempt = caller.is_anonymous() && !protection.anonymous;
        if is_exempt || limits.limits_nothing() {
            return Ok(Pass::free());
        }
        if !self.shared.patience.may_ask() {
            self.metrics().unprotected.inc();
            return Ok(Pass::free());
        }
        let subject = subject(
            "requests",
            &[&caller.organization.0, &caller.owner],
            &limits,
        );
        let pass = match stay {
            Stay::Working => self.pass(subject, limits),
            Stay::Waiting => Pass::free(),
        };
        let entering = self.let_in(subject, &pass, &limits);
        match timeout(LONGEST, entering).await {
            Ok(Ok(Entered::Admitted)) => {
                self.shared.patience.answered();
                Ok(pass)
            }
            Ok(Ok(Entered::Refused { limit, retry_after })) => {
                self.shared.patience.answered();
                pass.void();
                self.metrics().protected(limit);
                Err(Protected::new(limit, limits, retry_after.max(TRY_AGAIN)).into())
            }
            // It may have come in all the same: the pass will leave.
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

    /// Enters. Who leaves says so behind its answer; so a caller that has just
    /// got one may be met by itself, and is refused only when it is refused
    /// again after all goodbyes.
    async fn let_in(
        &self,
        subject: Subject,
        pass: &Pass,
        limits: &Limits,
    ) -> store::Result<Entered> {
        let limiter = self.shared.backend.limiter.as_ref();
        let entered = limiter.enter(subject, pass.visitor(), limits).await?;
        let is_full = matches!(
            entered,
            Entered::Refused {
                limit: Limit::Concurrent,
                ..
            }
        );
        if !is_full {
            return Ok(entered);
        }
        self.shared.attendance.say_goodbye(limiter).await;
        limiter.enter(subject, pass.visitor(), limits).await
    }

    fn note_away(&self, error: Option<&store::Error>) {
        if self.shared.patience.failed() {
            let error = error.map(tracing::field::display);
            tracing::warn!(error, "the limiter is away; requests come in uncounted");
        }
        self.metrics().unprotected.inc();
    }

    fn pass(&self, subject: Subject, limits: Limits) -> Pass {
        self.shared
            .attendance
            .pass(subject, self.ids().uuid(), limits)
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

impl Protected {
    fn new(limit: Limit, limits: Limits, retry_after: Duration) -> Self {
        Self {
            limit,
            limits,
            retry_after,
        }
    }
}

/// The subject of a limit. The length of the window is part of it: managers
/// that are configured otherwise for a while must not share its buckets.
fn subject(kind: &str, names: &[&str], limits: &Limits) -> Subject {
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
    Subject(half)
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

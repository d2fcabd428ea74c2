//! The throttle: handlers that fail too often are given a pause, and their
//! operations are postponed meanwhile.
//!
//! Each message name that fails has a [`Breaker`] on this worker. While the breaker
//! is open, the worker does not claim operations of the name: they are Suspended, and
//! the heartbeat says that this worker does not take the name. Queue managers resume
//! them when a worker takes the name again, a few at first. So operations that wait
//! cost nothing, however many there are. When the pause is over, one operation is let
//! through, and its end decides.
//!
//! The breakers are behind one mutex, which is never held across an await, and
//! which handlers without a [`Throttle`] never touch.

mod breaker;
pub(crate) mod postpone;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drumline_backend::membership::THROTTLED_MAX;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::breaker::{Admission, Breaker, Change};

/// The number of failures that are too many.
///
/// A handler that fails more than `failures` times `within` a time is paused. For
/// the time `pause`, this worker does not start the operations of its message name.
/// The operations that it meets are Suspended, with 0x80040328, until a worker takes
/// the name. After the pause one operation is tried. If it succeeds, all operations
/// are let through again. If it fails, there is another pause.
///
/// A run counts if it has failed or is to be tried again. Timeouts and panics are
/// among these. Runs that were cancelled, paused, given back, or suspended for a
/// person do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// The number of failures that are tolerated. With 0, the first failure opens
    /// the breaker.
    pub failures: u32,
    /// The age from which on a failure does not count. A short time keeps unrelated
    /// failures from adding up.
    pub within: Duration,
    /// The time that this worker takes none of the operations. The systems that the
    /// handler depends on have this time to recover. A longer pause only costs time.
    pub pause: Duration,
}

/// The breakers of a worker, by message name. Only names that fail have a breaker.
#[derive(Debug, Default)]
pub(crate) struct Throttles(Arc<Breakers>);

#[derive(Debug, Default)]
struct Breakers {
    by_name: Mutex<HashMap<String, Breaker>>,
    /// Notified when a name is taken no more, or again.
    changed: Notify,
}

/// The number of names above which names that have not failed lately are forgotten.
/// If one handler takes all names, the producers decide how many there are.
const NAMES: usize = 1000;

/// The permission to run one operation. Its holder reports the end of the run;
/// a ticket that is dropped without a report shows nothing about the handler.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// `None` if the end is not counted.
    counted: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    breakers: Arc<Breakers>,
    message_name: String,
    throttle: Throttle,
    is_probe: bool,
}

impl Throttles {
    /// The message names that this worker does not take now, at most
    /// [`THROTTLED_MAX`].
    pub(crate) fn closed_names(&self) -> Vec<String> {
        let now = Instant::now();
        let breakers = self.0.lock();
        let closed = breakers
            .iter()
            .filter(|(_name, breaker)| breaker.lets_none_through(now))
            .map(|(name, _breaker)| name.clone());
        closed.take(THROTTLED_MAX).collect()
    }

    /// Waits until a name is taken no more, or again after it was tried. The end of a
    /// pause is not noticed. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Admits an operation, if it may run now.
    ///
    /// # Errors
    /// When the operation is to wait. The error is the time until the next one is
    /// tried, as far as it is known.
    pub(crate) fn admit(
        &self,
        message_name: &str,
        throttle: Option<Throttle>,
    ) -> Result<Ticket, Duration> {
        let Some(throttle) = throttle else {
            return Ok(Ticket { counted: None });
        };
        let now = Instant::now();
        let admission = self
            .0
            .lock()
            .get_mut(message_name)
            .map_or(Admission::Pass, |breaker| breaker.admit(throttle, now));
        let is_probe = match admission {
            Admission::Pass => false,
            Admission::Probe => {
                self.0.changed.notify_one();
                true
            }
            Admission::Wait(delay) => return Err(delay),
        };
        Ok(Ticket {
            counted: Some(Counted {
                breakers: Arc::clone(&self.0),
                message_name: message_name.to_owned(),
                throttle,
                is_probe,
            }),
        })
    }
}

impl Ticket {
    /// Counts the end of the run. `None` says that the end tells nothing about the
    /// handler.
    pub(crate) fn ended(mut self, handler_succeeded: Option<bool>) {
        // Dropping the ticket gives a probe's place to the next operation.
        if let Some(succeeded) = handler_succeeded
            && let Some(counted) = self.counted.take()
        {
            counted.ended(succeeded);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(counted) = self.counted.take()
            && counted.is_probe
            && let Some(breaker) = counted.breakers.lock().get_mut(&counted.message_name)
        {
            breaker.probe_was_lost(Instant::now());
            counted.breakers.changed.notify_one();
        }
    }
}

impl Counted {
    fn ended(self, succeeded: bool) {
        let Self {
            breakers,
            message_name,
            throttle,
            is_probe,
        } = self;
        let now = Instant::now();
        let mut by_name = breakers.lock();
        let change = if succeeded {
            let Some(breaker) = by_name.get_mut(&message_name) else {
                return;
            };
            breaker.succeeded(is_probe)
        } else {
            if by_name.len() >= NAMES {
                by_name.retain(|_name, breaker| !breaker.is_idle(throttle, now));
            }
            let breaker = by_name.entry(message_name.clone()).or_default();
            breaker.failed(throttle, is_probe, now)
        };
        drop(by_name);
        if change.is_some() {
            breakers.changed.notify_one();
        }
        match change {
            Some(Change::Opened) => tracing::warn!(
                message_name, failures = throttle.failures,
                within = ?throttle.within, pause = ?throttle.pause,
                "a handler fails too often; its operations wait"
            ),
            Some(Change::Closed) => {
                tracing::info!(message_name, "a handler succeeds again; its operations run");
            }
            None => {}
        }
    }
}

impl Breakers {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Breaker>> {
        // Each change is a single call that leaves the map whole.
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

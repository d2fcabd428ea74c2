//! The throttle: handlers that fail too often are given a pause, and their
//! operations are postponed meanwhile.
//!
//! Each message name that fails has a [`Breaker`] on this worker. While the breaker
//! is open, operations of the name are postponed and not claimed. When the pause is
//! over, one operation is let through, and its end decides.
//!
//! The breakers are behind one mutex, which is never held across an await, and
//! which handlers without a [`Throttle`] never touch.

mod breaker;
pub(crate) mod postpone;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use self::breaker::{Admission, Breaker, Change};

/// The number of failures that are too many.
///
/// A handler that fails more than `failures` times `within` a time is paused. For
/// the time `pause`, this worker postpones the operations of its message name, with
/// 0x80040328, and does not start them. Then one operation is tried. If it
/// succeeds, all operations are let through again. If it fails, there is another
/// pause.
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
    /// The time that the operations are postponed. The systems that the handler
    /// depends on have this time to recover. A longer pause only costs time.
    pub pause: Duration,
}

/// The breakers of a worker, by message name. Only names that fail have a breaker.
#[derive(Debug, Default)]
pub(crate) struct Throttles(Arc<Mutex<HashMap<String, Breaker>>>);

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
    breakers: Arc<Mutex<HashMap<String, Breaker>>>,
    message_name: String,
    throttle: Throttle,
    is_probe: bool,
}

impl Throttles {
    /// Admits an operation, if it may run now.
    ///
    /// # Errors
    /// When the operation is to be postponed. The error is the delay.
    pub(crate) fn admit(
        &self,
        message_name: &str,
        throttle: Option<Throttle>,
    ) -> Result<Ticket, Duration> {
        let Some(throttle) = throttle else {
            return Ok(Ticket { counted: None });
        };
        let now = Instant::now();
        let admission = lock(&self.0)
            .get_mut(message_name)
            .map_or(Admission::Pass, |breaker| breaker.admit(throttle, now));
        let is_probe = match admission {
            Admission::Pass => false,
            Admission::Probe => true,
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
            && let Some(breaker) = lock(&counted.breakers).get_mut(&counted.message_name)
        {
            breaker.probe_was_lost(Instant::now());
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
        let mut breakers = lock(&breakers);
        let change = if succeeded {
            let Some(breaker) = breakers.get_mut(&message_name) else {
                return;
            };
            breaker.succeeded(is_probe)
        } else {
            if breakers.len() >= NAMES {
                breakers.retain(|_name, breaker| !breaker.is_idle(throttle, now));
            }
            let breaker = breakers.entry(message_name.clone()).or_default();
            breaker.failed(throttle, is_probe, now)
        };
        drop(breakers);
        match change {
            Some(Change::Opened) => tracing::warn!(
                message_name, failures = throttle.failures,
                within = ?throttle.within, pause = ?throttle.pause,
                "a handler fails too often; its operations are postponed"
            ),
            Some(Change::Closed) => {
                tracing::info!(message_name, "a handler succeeds again; its operations run");
            }
            None => {}
        }
    }
}

fn lock(breakers: &Mutex<HashMap<String, Breaker>>) -> MutexGuard<'_, HashMap<String, Breaker>> {
    // Each change is a single call that leaves the map whole.
    breakers.lock().unwrap_or_else(PoisonError::into_inner)
}

//! One run of an operation that this worker holds.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use drumline_backend::MemberId;
use drumline_backend::store::Holding;
use drumline_protocol::{Fence, Operation};
use tokio::time::Instant;
use tracing::Span;

use super::lease::HeldLease;
use super::output::Printed;
use super::report::Reporter;
use super::stop::{Stop, StopReason};

/// The token of a run. Never shown by `Debug`.
pub(crate) struct RunToken(pub(crate) String);

impl fmt::Debug for RunToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunToken(***)")
    }
}

/// One operation that this worker holds.
#[derive(Debug)]
pub(crate) struct Execution {
    pub(crate) operation: Operation,
    pub(crate) fence: Fence,
    /// The worker.
    pub(crate) owner: MemberId,
    /// The token by which managers know this run, if the worker has the secrets.
    pub(crate) token: Option<RunToken>,
    pub(crate) stop: Stop,
    /// The time at which the handler is dropped if it has not stopped by then.
    /// Set when the handler is asked to stop.
    pub(crate) stop_by: OnceLock<Instant>,
    pub(crate) reporter: Reporter,
    /// The output of the handler.
    pub(crate) printed: Printed,
    pub(crate) span: Span,
    pub(crate) deadline: Option<Instant>,
    pub(crate) lease: HeldLease,
    /// The end is being written, so a lock that is missing is no surprise.
    pub(crate) finishing: AtomicBool,
}

impl Execution {
    /// The holding of the lock.
    pub(crate) const fn holding(&self) -> Holding {
        Holding {
            owner: self.owner,
            fence: self.fence,
        }
    }

    /// Returns true if this run may still act in its operation's name. A lease
    /// that has just run out is lost from this call on, even if the thread that
    /// watches leases is late.
    pub(crate) fn may_act(&self) -> bool {
        if self.lease.left(Instant::now()).is_zero() {
            self.stop.request(StopReason::LeaseLost);
        }
        !self.stop.is_lost() && !self.finishing.load(Ordering::Acquire)
    }
}

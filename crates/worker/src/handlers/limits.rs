//! The limits of one handler.

use std::time::Duration;

use crate::throttle::Throttle;

/// The limits of one handler: how long it may take, and how often it may fail.
/// A limit that is not set is the worker's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Option<Duration>,
    pub(crate) retry_on_timeout: bool,
    pub(crate) throttle: Option<Throttle>,
}

impl Limits {
    /// No limit is set: the handler may run for ever, and must stop within the
    /// worker's grace.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            timeout: None,
            grace: None,
            retry_on_timeout: false,
            throttle: None,
        }
    }

    /// The time that one run may take. After it the handler is asked to stop,
    /// and the operation fails with [`HANDLER_TIMEOUT`](crate::ErrorCode::HANDLER_TIMEOUT).
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The time that the handler may take to stop, once asked. A handler that takes
    /// longer is dropped.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Lets a run that takes too long be tried again by the retry policy, instead
    /// of failing. For handlers that sometimes hang, not for handlers that take
    /// long.
    #[must_use]
    pub const fn retry_on_timeout(mut self) -> Self {
        self.retry_on_timeout = true;
        self
    }

    /// The number of failures after which the handler's operations are postponed.
    #[must_use]
    pub const fn throttle(mut self, throttle: Throttle) -> Self {
        self.throttle = Some(throttle);
        self
    }
}

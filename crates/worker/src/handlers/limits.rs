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
    /// Nothing set: it may run for ever, and stop within the worker's grace.
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
    /// and the operation fails with [`ErrorCode::HANDLER_TIMEOUT`].
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The time that it may take to stop, once asked. Then it is dropped.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// A run that takes too long is tried again by the retry policy, instead of
    /// failing. For handlers that hang rather than take long.
    #[must_use]
    pub const fn retry_on_timeout(mut self) -> Self {
        self.retry_on_timeout = true;
        self
    }

    /// The number of failures before its operations are put off.
    #[must_use]
    pub const fn throttle(mut self, throttle: Throttle) -> Self {
        self.throttle = Some(throttle);
        self
    }
}

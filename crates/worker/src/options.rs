//! What can be set about a worker.

use std::time::Duration;

use drumline_protocol::{QueueName, limits};

use crate::throttle::Throttle;

/// The shortest lease. Below, a slow disk of the store looks like a death.
pub const LEASE_MIN: Duration = Duration::from_millis(500);

/// The settings of a worker. [`Builder`](crate::Builder) has a method for each.
#[derive(Clone, Debug)]
pub struct Options {
    /// The queues that it serves; none = `default` alone.
    pub queues: Vec<QueueName>,
    /// How many operations it runs at once. Default 16. More than the work
    /// can bear makes everything slow; fewer leaves the machine idle.
    pub concurrency: usize,
    /// How long a lock may stand still before others take it over. Default
    /// 30 s. Longer: the operations of a dead worker wait longer. Shorter: a
    /// store that is away for a moment stops handlers (after three quarters).
    pub lease: Duration,
    /// `hostId`, for people. Default: `worker`.
    pub host: String,
    /// How long a handler may take to stop once asked, unless it has a grace
    /// of its own. Default 10 s. Then it is dropped.
    pub grace: Duration,
    /// How long running handlers may go on when the worker is drained. Default
    /// 25 s, within the 30 s that most supervisors grant. The grace is taken
    /// off its end: with 25 s and 10 s, handlers are asked to stop after 15 s.
    pub drain_timeout: Duration,
    /// How long nobody may know a message name before its operations are
    /// suspended for a person. Default 60 s: longer than a rolling
    /// deployment's gap.
    pub unhandled_after: Duration,
    /// How deep handlers may create operations: see
    /// [`Context::create`](crate::Context::create). Default 8, as for queue
    /// managers. Less keeps honest work from being done; more lets a handler
    /// that creates what it is called for go on for longer.
    pub depth: u32,
    /// How often handlers may fail before their operations are put off instead
    /// of burnt, unless they have a throttle of their own. Default: none, as
    /// often as they like. How many failures are too many depends on how many
    /// operations there are, so there is no number that suits everybody.
    pub throttle: Option<Throttle>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queues: Vec::new(),
            concurrency: 16,
            lease: Duration::from_secs(30),
            host: "worker".to_owned(),
            grace: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(25),
            unhandled_after: Duration::from_secs(60),
            depth: limits::DEPTH,
            throttle: None,
        }
    }
}

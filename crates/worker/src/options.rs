//! The settings of a worker.

use std::time::Duration;

use drumline_auth::RunSecrets;
use drumline_protocol::output::LAST_FAILED_BYTES;
use drumline_protocol::{QueueName, limits};

use crate::throttle::Throttle;

/// The shortest lease. With a shorter one, a slow disk of the store looks like
/// a death.
pub const LEASE_MIN: Duration = Duration::from_millis(500);

/// The settings of a worker. [`Builder`](crate::Builder) has a method for each.
#[derive(Clone, Debug)]
pub struct Options {
    /// The queues that the worker serves. Default: none, which means `default`
    /// alone.
    pub queues: Vec<QueueName>,
    /// The number of operations that the worker runs at once. Default 16. Too many
    /// make all of them slow. Too few leave the machine idle.
    pub concurrency: usize,
    /// The time that a lock may stand still before another worker takes it
    /// over. Default 30 s. With a longer lease, the operations of a dead worker
    /// wait longer. With a shorter lease, a store that is unavailable for a moment
    /// stops handlers (after three quarters of the lease).
    pub lease: Duration,
    /// `hostId`, for people. Default: `worker`.
    pub host: String,
    /// The time that a handler may take to stop once asked, unless it has a
    /// grace of its own. Default 10 s. A handler that takes longer is dropped.
    pub grace: Duration,
    /// The time that running handlers may go on when the worker is drained.
    /// Default 25 s, within the 30 s that most supervisors grant. The grace is
    /// taken off its end: with 25 s and 10 s, handlers are asked to stop after
    /// 15 s.
    pub drain_timeout: Duration,
    /// The time that a message name may be unknown to all workers before its
    /// operations are suspended for a person. Default 60 s: longer than a
    /// rolling deployment's gap.
    pub unhandled_after: Duration,
    /// The depth to which handlers may create operations: see
    /// [`Context::create`](crate::Context::create). Default 8, as for queue
    /// managers. A smaller depth may stop honest work. A larger depth lets a
    /// handler that creates operations for itself go on for longer.
    pub depth: u32,
    /// The number of failures after which a handler's operations are suspended
    /// instead of started, until the handler is tried again, unless the handler has
    /// a throttle of its own. Default:
    /// none, so handlers may fail as often as they like. The right number depends
    /// on the number of operations, so no default suits every deployment.
    pub throttle: Option<Throttle>,
    /// The most bytes that are kept of what an attempt has printed. Default 65536, which
    /// is the most that can be kept; 0 keeps nothing of any attempt. They are kept of the
    /// last attempt that has failed; of any other one, 4096 at most. Less costs the store
    /// less memory, and may cut off the reason of a failure.
    pub max_output: usize,
    /// The most bytes that are kept of what an attempt has printed that has succeeded.
    /// Default 1024; 4096 is the most; 0 keeps nothing. Most operations succeed, so that
    /// this decides about the memory that handlers take that print much.
    pub max_output_succeeded: usize,
    /// The secrets by which managers know the tokens of runs, the same for all
    /// workers and managers. Default: none, so runs have no tokens, and handlers
    /// need keys of their own where managers ask for keys.
    pub run_secrets: Option<RunSecrets>,
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
            max_output: LAST_FAILED_BYTES,
            max_output_succeeded: 1 << 10,
            run_secrets: None,
        }
    }
}

impl Options {
    /// The bytes that are kept of outputs.
    pub(crate) fn kept_output(&self) -> KeptOutput {
        KeptOutput {
            any: self.max_output.min(LAST_FAILED_BYTES),
            succeeded: self.max_output_succeeded.min(self.max_output),
        }
    }
}

/// The most bytes that are kept of what an attempt has printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptOutput {
    /// Of any attempt.
    pub(crate) any: usize,
    /// Of one that has succeeded.
    pub(crate) succeeded: usize,
}

//! How a queue manager behaves. Every field has a default that suits one
//! machine as well as a fleet.

use std::time::Duration;

use drumline_protocol::limits;

use crate::maintenance::Rhythm;

/// The options of a queue manager.
#[derive(Clone, Debug)]
pub struct Options {
    /// What it is called in the list of members: host and process, say.
    pub host: String,
    /// What a request may contain.
    pub limits: Limits,
    /// The longest that `wait` waits. Longer ones are cut to it: proxies on
    /// the way tend to give up after a minute. Default 60 s.
    pub longest_wait: Duration,
    /// How long an idempotency key is remembered. Clients that retry for a day
    /// are safe with the default of 26 h; longer costs the store some 60 bytes
    /// per key and hour.
    pub remember_keys: Duration,
    /// When maintenance looks at what.
    pub rhythm: Rhythm,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: "queue-manager".to_owned(),
            limits: Limits::default(),
            longest_wait: Duration::from_secs(60),
            remember_keys: Duration::from_secs(26 * 3600),
            rhythm: Rhythm::default(),
        }
    }
}

/// What a request may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body, payload included. Default 1 MiB. Bodies are
    /// held in memory and in the store while the operation lives.
    pub body_bytes: usize,
    /// How deep operations may create operations. Default 8.
    pub depth: u32,
    /// How many operations one page of a listing may have. Default 500.
    pub page: usize,
    /// How many bytes of operations one page collects before it ends early.
    /// Default 8 MiB.
    pub page_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            depth: limits::DEPTH,
            page: 500,
            page_bytes: 8 << 20,
        }
    }
}

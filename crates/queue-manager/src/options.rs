//! The options of a queue manager. Every field has a default that suits one
//! machine as well as a fleet.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drumline_api::{CreateOperation, Deployment, Grammar};
use drumline_protocol::{TokenPolicy, limits};
use drumline_tls::ServerTls;

use crate::access::Access;
use crate::quotas::Quotas;
use crate::recurrence::{self, Rule};
use crate::webhook::Webhooks;

/// The grammars of the texts in a request: rules of recurrence and addresses of
/// webhooks.
pub const GRAMMAR: Grammar = Grammar {
    recurrence_pattern: |text| match Rule::parse(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    },
    recurrence_time_zone: |name| match recurrence::time_zone(name) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    },
    webhook_url: |text| match drumline_egress::check(text) {
        Ok(_) => Ok(()),
        Err(why) => Err(why.to_owned()),
    },
};

/// The options of a queue manager.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name in the list of members: host and process, say.
    pub host: String,
    /// The limits of a request.
    pub limits: Limits,
    /// The limits of connections.
    pub http: Http,
    /// The longest that `wait` waits. Longer waits are cut to it: proxies on
    /// the way tend to give up after a minute. Default 60 s.
    pub longest_wait: Duration,
    /// The most streams of events at the same time. Default 256. A further one is
    /// answered 503. Each takes a connection, and the memory of the events that its
    /// client has not read yet.
    pub event_streams: usize,
    /// The time that an idempotency key is remembered. Clients that retry for a
    /// day are safe with the default of two; a longer time costs the store some
    /// 60 bytes per key and hour.
    pub remember_keys: Duration,
    /// The most requests that one `ExecuteMultiple` or `ExecuteTransaction` may
    /// hold. Default 1000. Larger ones keep a connection, and a transaction the
    /// store, for longer.
    pub max_batch_size: NonZeroUsize,
    /// Names of the requests that `ExecuteAsync` takes; `*`: any. Default
    /// `ImportSolution`.
    pub async_requests: Vec<String>,
    /// The limits of what organizations and callers may ask for at a time.
    pub admission: Admission,
    /// The limits of what organizations may have. Default: none.
    pub quotas: Arc<Quotas>,
    /// The most queues that each organization may use beside the default one.
    /// Default 32.
    pub queues: QueueLimit,
    /// The policy of a chain when its head fails or is cancelled, for
    /// operations that do not name one themselves. Default: it goes on, as in
    /// the Dynamics service. To hold it asks for a person each time.
    pub token_policy: TokenPolicy,
    /// The options of webhooks.
    pub webhooks: Webhooks,
    /// The file of the audit log, to which lines are added. Default: none.
    pub audit_log: Option<PathBuf>,
    /// The callers that are let in. Default: all, whatever the address.
    pub access: Access,
    /// The certificate of the HTTP port. Default none: the port has no TLS.
    pub tls: Option<Arc<ServerTls>>,
}

impl Options {
    /// The part of the options that a request is held to while it is read.
    #[must_use]
    pub fn deployment(&self) -> Deployment<'_> {
        Deployment {
            body_bytes: self.limits.body_bytes,
            page: self.limits.page,
            batch_items: self.max_batch_size.get(),
            async_requests: &self.async_requests,
            grammar: GRAMMAR,
        }
    }

    /// Returns true for an asynchronous request: one of an `ExecuteAsync`, or a create
    /// of a message name that is listed as one, whichever way it comes. A token asks
    /// for an order of its own. A series creates nothing by itself, and its
    /// occurrences have no order of requests.
    pub(crate) fn is_in_order_of_requests(&self, request: &CreateOperation) -> bool {
        let is_listed = || {
            let mut listed = self.async_requests.iter();
            listed.any(|name| *name == request.message_name)
        };
        request.in_order_of_requests
            || request.dependency_token.is_none()
                && request.recurrence_pattern.is_none()
                && is_listed()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: "queue-manager".to_owned(),
            limits: Limits::default(),
            http: Http::default(),
            longest_wait: Duration::from_secs(60),
            event_streams: 256,
            remember_keys: Duration::from_secs(48 * 3600),
            max_batch_size: MAX_BATCH_SIZE,
            async_requests: vec!["ImportSolution".to_owned()],
            admission: Admission::default(),
            quotas: Arc::default(),
            queues: QueueLimit::default(),
            token_policy: TokenPolicy::Continue,
            webhooks: Webhooks::default(),
            audit_log: None,
            access: Access::default(),
            tls: None,
        }
    }
}

/// The most queues that each organization may use beside the default one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimit(pub Option<NonZeroUsize>);

impl Default for QueueLimit {
    /// 32: each queue is up to 66 queues of the broker, and some thousands are a lot for
    /// RabbitMQ.
    fn default() -> Self {
        Self(NonZeroUsize::new(32))
    }
}

impl QueueLimit {
    /// The number for the store, which keeps it for processes that do not know it.
    pub(crate) fn most(self) -> usize {
        // Redis and Lua count exactly up to here.
        self.0.map_or(1 << 52, NonZeroUsize::get)
    }
}

/// The number that users of the Dynamics service know.
const MAX_BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// The limits of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body, payload included. Default 1 MiB. Bodies are
    /// held in memory and in the store while the operation lives.
    pub body_bytes: usize,
    /// Bytes of a request that holds requests; each of these is held to
    /// [`Self::body_bytes`]. Default 16 MiB.
    pub batch_bytes: usize,
    /// The depth to which operations may create operations. Default 8.
    pub depth: u32,
    /// The most operations on one page of a listing. Default 500.
    pub page: usize,
    /// The bytes of operations that one page collects before it ends early.
    /// Default 8 MiB.
    pub page_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            batch_bytes: 16 << 20,
            depth: limits::DEPTH,
            page: 500,
            page_bytes: 8 << 20,
        }
    }
}

/// The limits of connections over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http {
    /// The time that a connection may take until the headers of its next request
    /// are complete, idle time included. Default 75 s: longer than most gateways
    /// keep idle connections, so that the gateway closes first.
    pub header_timeout: Duration,
    /// The time that a TLS handshake may take. Default 10 s: several round trips on a
    /// bad network. A longer time lets a peer that says nothing keep its connection.
    pub handshake_timeout: Duration,
    /// The time that the body of a request may take. Default 60 s. A shorter time
    /// cuts large batches over slow links.
    pub body_timeout: Duration,
    /// The most open connections, streams of events and waiting requests included.
    /// Others wait to be accepted. Default 4096. Each takes a file of the process,
    /// and some 20 KB.
    pub connections: usize,
    /// Bytes of memory for bodies that are being read or worked on, counted by
    /// their `Content-Length`. A request that finds no room within five seconds is
    /// answered 503. Default 256 MiB. One body always finds room.
    pub body_memory: usize,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(75),
            handshake_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            connections: 4096,
            body_memory: 256 << 20,
        }
    }
}

/// The limits of what organizations and callers may ask for at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The batches of one organization that are executed at the same time, by
    /// all managers together; 0: any number. Default 2: a batch holds up to a
    /// thousand requests, and the batches of one organization should leave room
    /// for those of other organizations.
    pub batches: u32,
    /// The limits of one caller.
    pub protection: Protection,
    /// The time that a place is held for a manager that is dead. Default 10 s.
    /// A shorter lease is lost while the store is slow; a longer one keeps
    /// callers out after a crash.
    pub lease: Duration,
}

/// The limits of one caller within a sliding window, for all managers together.
/// 0 in a number is no limit.
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
    /// True if the limits apply to anonymous callers, too: all anonymous
    /// callers of an organization count as one caller then. Default no.
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

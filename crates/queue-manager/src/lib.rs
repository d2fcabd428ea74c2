//! Drumline's queue manager: takes operations in, lets clients watch and
//! control them, and looks after work that would otherwise stand still.
//!
//! ```text
//!  ingress/http ──┐                        ┌── store  (decides)
//!                 ├── service ─────────────┤
//!  ingress/amqp ──┘   QueueManager         └── dispatcher ── broker (delivers)
//!                          ▲
//!  maintenance ────────────┘  scheduler · relay · lease reaper · lost messages
//!                             redirect · pauses · notices · retention
//! ```
//!
//! [`service`] holds everything that clients can ask for, without any protocol.
//! Requests are read in [`drumline_api`], the errors are in [`error`].
//! [`ingress`] translates requests that come over HTTP and AMQP, and calls the
//! service. [`Maintenance`] may run in any number of processes, with or without
//! an ingress.
//!
//! Imports run one way, downwards:
//!
//! ```text
//! ingress     maintenance
//!        ╲   ╱
//!       service            everything that clients can ask for
//!          │
//! audit                    the lines of the audit log, and their file
//!          │
//! metrics, options         of the service; maintenance has options of its own
//!          │
//! quotas                   how much an organization may have, and their file
//!          │
//! webhook, recurrence      addresses, signatures, rules of series
//!          │
//!        error
//!          │
//! `drumline-api`, `drumline-auth`, `drumline-egress`, the ports of `drumline-backend`
//! ```
//!
//! Spans, with the OpenTelemetry conventions for HTTP and for messaging:
//!
//! | span | kind | one per |
//! |---|---|---|
//! | `{method} {route}` | server | request over HTTP, but for probes and metrics |
//! | `process requests` | consumer | request that came over AMQP, in all its tries |
//! | `create {queue}` | producer | create; its context goes into the record |
//! | `send {queue}` | client | publish of a new operation, under its create |
//!
//! Metrics are listed in [`metrics`]. No product is named: everything stands on
//! the ports.

pub mod access;
mod audit;
pub mod error;
pub mod ingress;
pub mod maintenance;
pub mod metrics;
pub mod options;
pub mod quotas;
pub mod recurrence;
pub mod service;
pub mod webhook;

pub use access::Access;
pub use audit::open_audit_log;
pub use error::{Error, Result};
pub use ingress::amqp::AmqpIngress;
pub use ingress::http::Server;
pub use maintenance::Maintenance;
pub use options::{GRAMMAR, Options, QueueLimit};
pub use service::{Actor, QueueManager};

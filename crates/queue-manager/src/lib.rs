//! Drumline's queue manager: takes operations in, lets clients watch and
//! control them, and looks after work that would otherwise stand still.
//!
//! ```text
//!  http ──┐                       ┌── store  (decides)
//!         ├── QueueManager ───────┤
//!  (…) ───┘        ▲              └── dispatcher ── broker (delivers)
//!                  │
//!             Maintenance: relay · due · leases · reconcile · notices · retention
//! ```
//!
//! [`QueueManager`] is the service without any protocol: the form of requests
//! is in [`request`], the errors in [`error`]. [`http`] puts it on the network.
//! [`Maintenance`] may run in any number of processes, with or without a
//! network face.
//!
//! Spans, with the OpenTelemetry conventions for HTTP and for messaging:
//!
//! | span | kind | one per |
//! |---|---|---|
//! | `{method} {route}` | server | request, but for probes and metrics |
//! | `process requests` | consumer | request that came over AMQP, above the one of HTTP |
//! | `create {queue}` | producer | create; its context goes into the record |
//! | `send {queue}` | client | publish of a new operation, under its create |
//!
//! Metrics are listed in [`metrics`].
//!
//! Everything here stands on the ports: no product is named.

pub mod error;
pub mod http;
pub mod intake;
pub mod maintenance;
pub mod manager;
pub mod metrics;
pub mod options;
pub mod recurrence;
pub mod request;
pub mod webhook;

pub use error::{Error, Result};
pub use http::Server;
pub use intake::Reception;
pub use maintenance::Maintenance;
pub use manager::{Caller, QueueManager};
pub use options::Options;

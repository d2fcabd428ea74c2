//! Drumline's traces and logs: set up once per process by the binary, used
//! everywhere through `tracing` and the three functions of [`context`].
//!
//! Libraries open `tracing` spans and never see OpenTelemetry. A
//! [`TraceContext`] crosses a process border in a record, a message or a
//! header: [`current_context`] takes it out of the current span, [`set_parent`]
//! and [`add_link`] put it into another.
//!
//! Without an exporter no span is built, but the context is carried on all the
//! same, and a context is invented if none came in: an operation has its trace
//! id from its creation on, whichever process records it later.
//!
//! Metrics are declared with [`metrics!`] by each service, which has a registry of
//! its own.
//!
//! Deliberately absent: any
//! reading of the environment, except by the OpenTelemetry SDK of its own
//! variables once it has been switched on.
//!
//! [`TraceContext`]: drumline_protocol::operation::TraceContext

pub mod context;
pub mod export;
mod logging;
pub mod metrics;
mod past;
mod setup;
mod w3c;

pub use context::{add_link, current_context, set_parent};
pub use logging::LogFormat;
pub use past::record_past_span;
pub use setup::{Error, Options, Result, Telemetry, init};

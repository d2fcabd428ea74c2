//! Drumline's worker as a library: runs handlers for the operations of its
//! queues, one holder at a time, in order per dependency token.
//!
//! ```
//! use drumline_worker::{Context, HandlerError, Worker};
//! # use drumline_protocol::PartitionCount;
//!
//! #[derive(serde::Deserialize)]
//! struct Solution {
//!     file: String,
//! }
//!
//! async fn import_solution(input: Solution, context: Context) -> Result<String, HandlerError> {
//!     context.progress(10, "unpacking");
//!     // …
//!     Ok(format!("imported {}", input.file))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), drumline_worker::Error> {
//! # let backend = drumline_backend_embedded::backend(PartitionCount::DEFAULT);
//! # let leases = backend.store.clone();
//! let worker = Worker::builder()
//!     .handler("ImportSolution", import_solution)
//!     .concurrency(8)
//!     .start(backend, leases)
//!     .await?;
//! // … until the process is asked to end:
//! worker.drain().await;
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! ```text
//! broker ─→ sources ─→ delivery queue ─→ slot: claim ─→ execute ─→ finish ─→ next of the chain
//!              ↑         │         │            │          ↑ │        │
//!          heartbeat  unhandled    │            └──── committer ──────┘ ─→ store
//!        (own lanes) (no handler)  │                         │
//!                             redistribute                children ─→ store
//!                          (to other workers)
//!                                            lease thread ─→ store, by itself
//! ```
//!
//! A message says "this operation may be runnable", and the claim in the store
//! decides. The message is acknowledged as soon as the claim is decided, never
//! after a run. While a handler runs, a thread of its own renews the lease. The
//! answers of the store tell that thread if a client wants to pause or cancel the
//! operation. The end of a run is one commit, guarded by the fence of that run.
//!
//! # The parts
//!
//! ```text
//! builder, running   put a worker together, start it, stop it
//!   ↓
//! offers             from the broker to a slot
//!   ↓
//! heartbeat          the beat of this worker, the list of live members
//!   ↓
//! run                from the claim to the end of one operation
//!   ↓
//! handlers           functions, commands, web services, and what they return
//!   ↓
//! context            what a handler sees of its run: reports, children, stop
//!   ↓
//! options, throttle, publisher, metrics, backoff, random
//!   ↓
//! the ports of `drumline-backend`
//! ```
//!
//! A part names only parts below it, which `.ci/architecture` checks.
//!
//! Invariants: no part names a product behind the ports. No handler runs without
//! its lease being renewed. Every task has an owner that can wait for it.

mod backoff;
mod builder;
mod context;
mod handlers;
mod heartbeat;
mod later;
pub mod metrics;
mod offers;
mod options;
mod publisher;
mod run;
mod running;
mod throttle;

pub use builder::{Builder, Error, Worker};
pub use context::Context;
pub use context::children::{CreateError, DATA_BYTES, NewChild};
pub use context::report::{CheckpointError, REPORT_BYTES};
pub use context::stop::StopReason;
pub use drumline_auth::RunSecrets;
pub use drumline_backend::critical::TaskEnd;
pub use drumline_backend::{Random, TaskFailure};
pub use drumline_protocol::{ErrorCode, Fault};
pub use handlers::outcome::{Disposition, HandlerError, IntoOutcome, Outcome};
pub use handlers::{ALL_OTHERS, Handler, HandlerFuture, Limits};
pub use handlers::{command, handlers_file, http, supervise};
pub use options::{LEASE_MIN, Options};
pub use run::leases::LeaseStore;
pub use running::{Drained, MetricsReader, RunningWorker};
pub use throttle::Throttle;

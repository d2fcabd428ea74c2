//! Drumline for programs written in Rust: workers on Redis and RabbitMQ, and
//! producers over HTTP. The one crate of Drumline that such a program names.
//!
//! # A worker
//!
//! ```no_run
//! use drumline_sdk::{Context, HandlerError};
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
//! fn main() -> drumline_sdk::Result<()> {
//!     drumline_sdk::run(|worker| worker.handler("ImportSolution", import_solution))
//! }
//! ```
//!
//! [`run`] takes the settings of `drumline worker` from the environment and
//! from `drumline.toml` ([`Settings`]), logs on standard error, and returns when
//! SIGTERM or SIGINT has drained the worker.
//!
//! A program that has a runtime, a log or settings of its own calls
//! [`Connection::run`]. A program that stops its workers by itself, or has
//! several, calls [`Connection::connect`] and [`Servers::start`]:
//!
//! ```no_run
//! use drumline_sdk::{Connection, Result, Worker};
//! # async fn import_solution(_: String, _: drumline_sdk::Context) -> drumline_sdk::Outcome { drumline_sdk::Outcome::Done(None) }
//!
//! # async fn example() -> Result<()> {
//! let connection = Connection::to("redis://redis:6379", "amqp://rabbit:5672").namespace("team-a");
//! let worker = Worker::builder()
//!     .handler("ImportSolution", import_solution)
//!     .host("imports-1")
//!     .concurrency(8);
//! connection.run(worker).await
//! # }
//! ```
//!
//! Handlers get a [`Context`] and return a `Result`. [`HandlerError`] says
//! which errors fail an operation, retry it, or suspend it for a person.
//!
//! # A producer
//!
//! [`client`] is the crate `drumline-client`: it creates, watches and controls
//! operations through a queue manager.
//!
//! # Structure
//!
//! ```text
//! run ─┬─ settings    variables, drumline.toml, defaults
//!      └─ connection ─ servers ─┬─ drumline-process   patience, SIGTERM, SIGINT
//!                               └─ drumline-worker
//! ```
//!
//! Deliberately absent: handlers files and health endpoints, which
//! `drumline worker` has, and a backend in one process, which `drumline dev`
//! has.

mod connection;
mod error;
mod process;
mod servers;
mod settings;

pub use drumline_client as client;
pub use drumline_telemetry as telemetry;
pub use drumline_worker as worker;

pub use drumline_protocol::{
    DependencyToken, Fence, Operation, OperationId, OperationType, Organization, QueueName,
};
pub use drumline_worker::{
    ALL_OTHERS, Builder, CheckpointError, Context, CreateError, DATA_BYTES, Disposition, Drained,
    ErrorCode, Fault, Handler, HandlerError, HandlerFuture, IntoOutcome, LEASE_MIN, Limits,
    NewChild, Options, Outcome, REPORT_BYTES, RunningWorker, StopReason, TaskEnd, TaskFailure,
    Throttle, Worker,
};

pub use connection::Connection;
pub use error::{Error, Result};
pub use process::run;
pub use servers::Servers;
pub use settings::{Mistake, Settings};

//! Handlers: functions in Rust, commands, and web services.
//!
//! ```text
//! handlers_file ─→ command (under a supervisor), http ─┐
//!                           function of the program ───┴─→ registry ─→ run
//! ```
//!
//! A handler is given a [`Context`] and returns an [`Outcome`]. It knows nothing
//! of claims, leases and commits.

pub mod command;
pub(crate) mod error_body;
pub(crate) mod function;
pub mod handlers_file;
pub mod http;
mod input;
pub(crate) mod limits;
pub(crate) mod outcome;
pub(crate) mod registry;
pub mod supervise;

use std::future::Future;
use std::pin::Pin;

use crate::context::Context;
use crate::handlers::outcome::Outcome;

pub use self::limits::Limits;

/// The message name of a handler for all that no other handler takes.
pub const ALL_OTHERS: &str = "*";

/// The future of a handler's run.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Does what one message name asks for.
///
/// Most handlers are plain functions: see
/// [`Builder::handler`](crate::Builder::handler). Implement this where the
/// payload is not known when the program is written, as the ready-made
/// [`command`] and [`http`] handlers do.
///
/// The future is dropped when the handler does not stop in time, or at once
/// when the operation is lost. Everything that the handler has started elsewhere
/// must end with the future.
pub trait Handler: Send + Sync + 'static {
    /// Runs one operation to its end.
    fn run(&self, context: Context) -> HandlerFuture;
}

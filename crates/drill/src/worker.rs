//! The worker of a drill: the worker that users build, with a handler that writes down what it
//! does.

use std::sync::Arc;

use drumline_worker::{Builder, Context, Worker};

use crate::recorder::{Recorder, Step};
use crate::target::WorkerSettings;

/// The message name of the drill's operations.
pub const MESSAGE: &str = "Drill";

/// A worker for the operations of a drill: that of a process of its own
/// ([`Target::worker_process`](crate::Target::worker_process)).
///
/// # Errors
/// When the journal cannot be opened.
pub fn worker(settings: &WorkerSettings, host: String) -> anyhow::Result<Builder> {
    let recorder = Recorder::start(&settings.recorder)?;
    let handler = move |step: Step, context: Context| Arc::clone(&recorder).step(step, context);
    Ok(Worker::builder()
        .handler(MESSAGE, handler)
        .host(host)
        .concurrency(usize::from(settings.concurrency))
        .lease(settings.lease))
}

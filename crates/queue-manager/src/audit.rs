//! The audit: an entry for each change that was asked for, and for each request that
//! was denied. All are lines of a file (the audit log), and the newest ones are in the
//! store (the audit stream), where people look.
//!
//! ```text
//! ingress ── Entry ── record ─┬─ queue (bounded) ── writer ── file
//!                             │      └ full: counted    └ cannot write: counted, reported
//!                             └─ stream ── store
//! ```
//!
//! The audit never holds a request up, and never stops the service. A line that cannot
//! be written is lost, counted in `drumline_audit_lost`, and reported in the log and in
//! `/readyz`. The file is opened again when its name stands for another file, so a
//! tool such as logrotate may rename it at any time.

mod entry;
mod limit;
mod short;
mod stream;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use drumline_backend::{CriticalTasks, Store};
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;

pub(crate) use entry::{Entry, Outcome, Subject};
pub(crate) use limit::{PerMinute, Told};
use stream::Stream;
use writer::Writer;

/// Checks that the file of an audit log can be written, and creates it if it is not
/// there.
///
/// # Errors
/// When it cannot.
pub fn open_audit_log(path: &Path) -> std::io::Result<()> {
    writer::open(path).map(drop)
}

/// Lines that wait to be written. A disk that stands still for longer loses lines.
const QUEUE: usize = 8192;
/// Lines that are written together.
const BATCH: usize = 512;

/// The owner of the tasks of the audit.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) metrics: &'a Arc<Metrics>,
    pub(crate) critical: &'a CriticalTasks,
    pub(crate) tasks: &'a TaskTracker,
    /// Ends the tasks when all that was recorded before is written.
    pub(crate) closing: CancellationToken,
}

/// The audit of a manager.
#[derive(Debug)]
pub(crate) struct Audit {
    /// The lines of the file; `None` if there is no file.
    lines: Option<mpsc::Sender<String>>,
    stream: Stream,
    /// The reason why the last lines were not written.
    trouble: Arc<Mutex<Option<String>>>,
    /// The reason why the store did not take the last entries.
    stream_trouble: Arc<Mutex<Option<String>>>,
}

/// The targets of an entry beside the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Targets {
    is_in_stream: bool,
}

impl Audit {
    /// Starts the writers. The batches of the stream are named from `first_batch` on.
    pub(crate) fn start(
        path: Option<PathBuf>,
        store: Arc<dyn Store>,
        first_batch: u64,
        around: &Surroundings<'_>,
    ) -> Self {
        let (trouble, stream_trouble) = (Arc::default(), Arc::default());
        let lines = path.map(|path| {
            let (lines, queue) = mpsc::channel(QUEUE);
            let task = Task {
                queue,
                metrics: Arc::clone(around.metrics),
                trouble: Arc::clone(&trouble),
            };
            let closing = around.closing.clone();
            let run = task.run(Writer::new(path), closing);
            let guarded = around.critical.guard("audit log", &around.closing, run);
            around.tasks.spawn(guarded);
            lines
        });
        let stream = Stream::start(store, first_batch, Arc::clone(&stream_trouble), around);
        Self {
            lines,
            stream,
            trouble,
            stream_trouble,
        }
    }

    /// The reason why the last lines or entries were not written; `None` if they
    /// were.
    pub(crate) fn trouble(&self) -> Option<String> {
        let of_file = self.trouble.lock().clone();
        of_file.or_else(|| self.stream_trouble.lock().clone())
    }

    /// Decides whether an entry about such a request is written anywhere; `None` if not,
    /// so that no entry need be made. Counts what is left out.
    pub(crate) fn admit(
        &self,
        action: &str,
        outcome: Outcome,
        metrics: &Metrics,
    ) -> Option<Targets> {
        let is_in_stream = self.stream.admits(action, outcome, metrics);
        let is_anywhere = is_in_stream || self.lines.is_some();
        is_anywhere.then_some(Targets { is_in_stream })
    }

    /// Has an entry written, soon, where it was admitted.
    pub(crate) fn record(&self, entry: &Entry, targets: Targets, metrics: &Metrics) {
        if targets.is_in_stream {
            self.stream.add(entry, metrics);
        }
        let Some(lines) = &self.lines else { return };
        let mut line = entry.line();
        line.push('\n');
        match lines.try_send(line) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => metrics.audit_lost(1),
        }
    }
}

/// The task that writes the file.
struct Task {
    queue: mpsc::Receiver<String>,
    metrics: Arc<Metrics>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Task {
    async fn run(mut self, mut writer: Writer, closing: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            let receiving = self.queue.recv_many(&mut batch, BATCH);
            let received = closing.run_until_cancelled(receiving).await;
            let count = match received {
                Some(count) => count,
                None => {
                    // Nothing comes any more; what is here is written.
                    self.queue.close();
                    self.queue.recv_many(&mut batch, BATCH).await
                }
            };
            if count == 0 {
                return;
            }
            let lines = std::mem::take(&mut batch);
            let written = tokio::task::spawn_blocking(move || {
                let written = writer.write(lines.concat().as_bytes());
                (writer, written)
            });
            let written = match written.await {
                Ok((back, written)) => {
                    writer = back;
                    written
                }
                // The runtime ends.
                Err(_ended) => return,
            };
            match written {
                Ok(()) => self.recovered(),
                Err(error) => self.failed(&error, count),
            }
        }
    }

    fn recovered(&self) {
        if self.trouble.lock().take().is_some() {
            tracing::info!("the audit log is written again");
        }
    }

    fn failed(&self, error: &std::io::Error, count: usize) {
        self.metrics.audit_lost(count);
        let before = self.trouble.lock().replace(error.to_string());
        if before.is_none() {
            tracing::error!(%error, "the audit log cannot be written; its lines are lost until it can");
        }
    }
}

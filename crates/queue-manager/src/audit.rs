//! The audit log: one line of JSON for each change that was asked for, and for each
//! request that was denied.
//!
//! ```text
//! ingress ── Entry ── record ── queue (bounded) ── writer ── file
//!                        └ full: counted            └ cannot write: counted, reported
//! ```
//!
//! The log never holds a request up, and never stops the service. A line that cannot
//! be written is lost, counted in `drumline_audit_lost`, and reported in the log and in
//! `/readyz`. The file is opened again when its name stands for another file, so a
//! tool such as logrotate may rename it at any time.

mod entry;
mod limit;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use drumline_backend::CriticalTasks;
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;

pub(crate) use entry::{Entry, Outcome, Subject};
pub(crate) use limit::{Denials, Told};
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

/// The audit log of a manager; nothing is written if it has no file.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    lines: Option<mpsc::Sender<String>>,
    /// The reason why the last lines were not written.
    trouble: Arc<Mutex<Option<String>>>,
}

impl Audit {
    /// Starts the writer. `closing` ends it when all that was recorded before is
    /// written.
    pub(crate) fn start(
        path: Option<PathBuf>,
        metrics: &Arc<Metrics>,
        critical: &CriticalTasks,
        tasks: &TaskTracker,
        closing: CancellationToken,
    ) -> Self {
        let Some(path) = path else {
            return Self::default();
        };
        let (lines, queue) = mpsc::channel(QUEUE);
        let trouble = Arc::default();
        let task = Task {
            queue,
            metrics: Arc::clone(metrics),
            trouble: Arc::clone(&trouble),
        };
        let run = task.run(Writer::new(path), closing.clone());
        tasks.spawn(critical.guard("audit log", &closing, run));
        Self {
            lines: Some(lines),
            trouble,
        }
    }

    /// Returns true if entries are written anywhere.
    pub(crate) const fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// The reason why the last lines were not written; `None` if they were.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Has an entry written, soon.
    pub(crate) fn record(&self, entry: &Entry, metrics: &Metrics) {
        let Some(lines) = &self.lines else { return };
        // An entry consists of texts and numbers, which can be written.
        let Ok(mut line) = serde_json::to_string(entry) else {
            return;
        };
        line.push('\n');
        match lines.try_send(line) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => metrics.audit_lost(1),
        }
    }
}

/// The task that writes.
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

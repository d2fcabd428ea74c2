//! The reports of a running handler: kept in memory, written now and then.
//!
//! Reporting never waits. The latest report wins, and the run writes it when some
//! time has passed since the last write. So a handler may report a thousand times
//! a second, and the store sees four of these reports. The last report is written
//! together with the end of the operation, and cannot be lost.

use std::sync::{Mutex, MutexGuard, PoisonError};

use drumline_backend::store::ReportParts;
use drumline_protocol::{Progress, Report, limits};
use serde::Serialize;
use tokio::sync::Notify;

/// The largest result or checkpoint, in bytes of JSON. Both travel with every
/// read of the operation. Larger data belong into a file of the handler's.
pub const REPORT_BYTES: usize = 1 << 20;

/// The reason that a checkpoint could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The checkpoint cannot be written as JSON.
    #[error("the checkpoint cannot be written as JSON")]
    NotJson(#[from] serde_json::Error),
    /// The checkpoint is too large.
    #[error("the checkpoint has {bytes} bytes; {REPORT_BYTES} are allowed")]
    TooLarge {
        /// The size of the checkpoint.
        bytes: usize,
    },
}

/// The report of one run.
#[derive(Debug)]
pub(crate) struct Reporter {
    draft: Mutex<Draft>,
    changed: Notify,
    written: Notify,
}

#[derive(Debug)]
struct Draft {
    report: Report,
    /// Counts the changes.
    edition: u64,
    /// The latest edition that has changed the checkpoint.
    checkpointed: u64,
    /// The latest edition that is in the store.
    written: u64,
}

impl Reporter {
    /// Starts from the report of earlier runs.
    pub(crate) fn new(report: Report) -> Self {
        Self {
            draft: Mutex::new(Draft {
                report,
                edition: 0,
                checkpointed: 0,
                written: 0,
            }),
            changed: Notify::new(),
            written: Notify::new(),
        }
    }

    fn draft(&self) -> MutexGuard<'_, Draft> {
        // The panic of a handler that reports must not end other tasks.
        self.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Draft)) {
        let mut draft = self.draft();
        draft.edition += 1;
        change(&mut draft);
        drop(draft);
        self.changed.notify_one();
    }

    pub(crate) fn progress(&self, percent: u8, text: &str) {
        let progress = Progress {
            percent: percent.min(100),
            text: limits::cut(text, limits::MESSAGE_CHARS).to_owned(),
        };
        self.change(|draft| draft.report.progress = Some(progress));
    }

    pub(crate) fn checkpoint<T: Serialize + ?Sized>(
        &self,
        value: &T,
    ) -> Result<(), CheckpointError> {
        let json = serde_json::to_string(value)?;
        if json.len() > REPORT_BYTES {
            return Err(CheckpointError::TooLarge { bytes: json.len() });
        }
        self.change(|draft| {
            draft.report.checkpoint = Some(json);
            draft.checkpointed = draft.edition;
        });
        Ok(())
    }

    /// The latest report.
    pub(crate) fn latest(&self) -> Report {
        self.draft().report.clone()
    }

    /// Waits for something to write. Cancel-safe.
    pub(crate) async fn unwritten(&self) {
        loop {
            {
                let draft = self.draft();
                if draft.edition > draft.written {
                    return;
                }
            }
            self.changed.notified().await;
        }
    }

    /// The report to write, the parts of it to write, and its edition for
    /// [`Self::wrote`].
    ///
    /// A checkpoint that is in the store is neither copied nor written again.
    pub(crate) fn edition(&self) -> (Report, ReportParts, u64) {
        let draft = self.draft();
        if draft.checkpointed > draft.written {
            return (draft.report.clone(), ReportParts::All, draft.edition);
        }
        let report = Report {
            progress: draft.report.progress.clone(),
            checkpoint: None,
            result: draft.report.result.clone(),
            fault: draft.report.fault.clone(),
            extensions: draft.report.extensions.clone(),
        };
        (report, ReportParts::AllButCheckpoint, draft.edition)
    }

    /// Notes that an edition is in the store.
    pub(crate) fn wrote(&self, edition: u64) {
        let mut draft = self.draft();
        draft.written = draft.written.max(edition);
        drop(draft);
        self.written.notify_waiters();
    }

    /// Waits until everything that was reported so far is in the store.
    /// Cancel-safe.
    pub(crate) async fn flushed(&self) {
        let wanted = self.draft().edition;
        loop {
            let written = self.written.notified();
            if self.draft().written >= wanted {
                return;
            }
            written.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_latest_report_is_written() {
        let reporter = Reporter::new(Report::default());
        for percent in 0..=100 {
            reporter.progress(percent, "x");
        }
        reporter.unwritten().await;
        let (report, _, edition) = reporter.edition();
        assert_eq!(report.progress.unwrap().percent, 100);
        reporter.wrote(edition);
        reporter.flushed().await;
    }

    #[test]
    fn a_checkpoint_is_written_until_it_is_in_the_store() {
        let checkpoint = Some("7".to_owned());
        let reporter = Reporter::new(Report {
            checkpoint: checkpoint.clone(),
            ..Report::default()
        });
        reporter.progress(1, "x");
        let (report, parts, first) = reporter.edition();
        let without = (None, ReportParts::AllButCheckpoint);
        assert_eq!((report.checkpoint, parts), without, "of an earlier run");
        assert_eq!(reporter.latest().checkpoint, checkpoint);
        reporter.checkpoint(&8).unwrap();
        reporter.progress(2, "x");
        // The write before the checkpoint is answered late.
        reporter.wrote(first);
        let (report, parts, second) = reporter.edition();
        let with = (Some("8".to_owned()), ReportParts::All);
        assert_eq!((report.checkpoint, parts), with);
        reporter.progress(3, "x");
        assert_eq!(reporter.edition().1, ReportParts::All, "it was not written");
        reporter.wrote(second);
        assert_eq!(reporter.edition().1, ReportParts::AllButCheckpoint);
    }

    #[test]
    fn what_is_too_large_is_refused_and_changes_nothing() {
        let reporter = Reporter::new(Report::default());
        let large = "x".repeat(REPORT_BYTES);
        assert!(reporter.checkpoint(&large).is_err());
        assert_eq!(reporter.latest(), Report::default());
    }

    #[test]
    fn progress_ends_at_a_hundred() {
        let reporter = Reporter::new(Report::default());
        reporter.progress(255, "");
        assert_eq!(reporter.latest().progress.unwrap().percent, 100);
    }
}

//! `executions.jsonl`: a line when an execution starts, one when it ends.
//!
//! The start is written before any lock is taken and the end after it is
//! given back, so that the journal shows whether two executions were there at
//! the same time, not whether a lock kept them apart. Times are those of the
//! machine's monotonic clock, which all processes share and no program sets.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The end of the execution that this line is about.
    #[serde(flatten)]
    pub(crate) event: Event,
    /// When, in nanoseconds of the machine's monotonic clock.
    pub(crate) at_ns: u64,
    /// The commit's place in the main line, from 1.
    pub(crate) number: u64,
    /// The commit.
    pub(crate) commit: String,
    /// The operation.
    pub(crate) operation: String,
    /// The fence of the start.
    pub(crate) fence: u64,
    /// The process.
    pub(crate) pid: u32,
}

/// The two ends of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub(crate) enum Event {
    /// It starts.
    Start,
    /// It ends by itself. A killed one does not.
    End {
        /// The outcome.
        outcome: Outcome,
    },
}

/// The outcome of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// The commit was applied.
    Applied,
    /// An earlier execution had applied it, and did not live to say so.
    AlreadyApplied,
    /// Why it was not applied.
    Refused(String),
}

/// The journal of one replica.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
}

impl Journal {
    /// The journal in a replica's folder; it need not exist.
    pub(crate) fn new(replica: &Path) -> Self {
        Self {
            path: replica.join("executions.jsonl"),
        }
    }

    /// Appends a line.
    pub(crate) fn append(&self, line: &Line) -> Result<()> {
        let cannot = || Error::io("cannot append to", &self.path);
        let mut text = serde_json::to_vec(line).map_err(|error| cannot()(error.into()))?;
        text.push(b'\n');
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)
            // One write: lines of two processes do not mix.
            .and_then(|mut file| file.write_all(&text))
            .map_err(cannot())
    }

    /// Every line, in the order in which they were written.
    pub(crate) fn lines(&self) -> Result<Vec<Line>> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("cannot read", &self.path)(error)),
        };
        (1..)
            .zip(text.lines())
            .map(|(line, text)| {
                serde_json::from_str(text).map_err(|source| Error::Journal {
                    path: self.path.clone(),
                    line,
                    source,
                })
            })
            .collect()
    }
}

/// Nanoseconds of the machine's monotonic clock.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000) + u64::try_from(now.tv_nsec).unwrap_or_default()
}

/// The findings in a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Commits that are applied.
    pub(crate) commits: u64,
    /// Executions that were started.
    pub(crate) starts: usize,
    /// Executions that did not end by themselves.
    pub(crate) killed: usize,
}

/// Checks that executions were in the order of the commits, never two at a
/// time, and that each commit was applied once; the error says what was not.
pub(crate) fn check(lines: &[Line]) -> Result<Summary, String> {
    let mut summary = Summary::default();
    let mut open: Option<&Line> = None;
    let mut applied: u64 = 0;
    let mut last_fence = 0;
    for line in lines {
        let what = format!(
            "commit {} (pid {}, fence {})",
            line.number, line.pid, line.fence
        );
        match &line.event {
            Event::Start => {
                if line.number != applied && line.number != applied + 1 {
                    return Err(format!("{what} started when {applied} were applied"));
                }
                if line.fence < last_fence {
                    return Err(format!("{what} started after the fence {last_fence}"));
                }
                last_fence = line.fence;
                summary.starts += 1;
                // The one before was killed: its end can come no more.
                summary.killed += usize::from(open.is_some());
                open = Some(line);
            }
            Event::End { outcome } => {
                let mine = open.take().filter(|open| {
                    (open.pid, open.fence, open.number) == (line.pid, line.fence, line.number)
                });
                if mine.is_none() {
                    return Err(format!("{what} ended while another one was running"));
                }
                applied = match outcome {
                    Outcome::Applied if line.number == applied + 1 => line.number,
                    // The execution that did it was killed before it said so.
                    Outcome::AlreadyApplied => line.number,
                    Outcome::Applied => return Err(format!("{what} was applied twice")),
                    Outcome::Refused(why) => return Err(format!("{what} was refused: {why}")),
                };
            }
        }
    }
    summary.killed += usize::from(open.is_some());
    summary.commits = applied;
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, fence: u64, event: Event) -> Line {
        Line {
            event,
            at_ns: 0,
            number,
            commit: String::new(),
            operation: String::new(),
            fence,
            pid: u32::try_from(fence).unwrap(),
        }
    }

    fn start(number: u64, fence: u64) -> Line {
        line(number, fence, Event::Start)
    }

    fn end(number: u64, fence: u64, outcome: Outcome) -> Line {
        line(number, fence, Event::End { outcome })
    }

    #[test]
    fn a_killed_execution_may_have_applied_its_commit() {
        let lines = [
            start(1, 1),
            end(1, 1, Outcome::Applied),
            start(2, 2),
            start(2, 3),
            end(2, 3, Outcome::AlreadyApplied),
        ];
        let expected = Summary {
            commits: 2,
            starts: 3,
            killed: 1,
        };
        assert_eq!(check(&lines), Ok(expected));
    }

    #[test]
    fn two_at_a_time_are_seen() {
        let lines = [
            start(1, 1),
            start(1, 2),
            end(1, 1, Outcome::Applied),
            end(1, 2, Outcome::AlreadyApplied),
        ];
        let error = check(&lines).unwrap_err();
        assert!(error.contains("while another one was running"), "{error}");
    }

    #[test]
    fn a_commit_too_early_is_seen() {
        let error = check(&[start(2, 1)]).unwrap_err();
        assert!(error.contains("started when 0 were applied"), "{error}");
    }

    #[test]
    fn a_commit_applied_twice_is_seen() {
        let lines = [
            start(1, 1),
            end(1, 1, Outcome::Applied),
            start(1, 2),
            end(1, 2, Outcome::Applied),
        ];
        let error = check(&lines).unwrap_err();
        assert!(error.contains("applied twice"), "{error}");
    }

    #[test]
    fn a_fence_that_goes_back_is_seen() {
        let lines = [start(1, 2), end(1, 2, Outcome::Applied), start(2, 1)];
        let error = check(&lines).unwrap_err();
        assert!(error.contains("after the fence 2"), "{error}");
    }

    #[test]
    fn a_line_survives_writing_and_reading() {
        let line = end(7, 9, Outcome::Refused("why".to_owned()));
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
    }
}

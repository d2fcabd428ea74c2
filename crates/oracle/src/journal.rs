//! The journal of a run: what handlers, clients and the fenced sink have done, written down by
//! themselves, one line each.
//!
//! | line | says |
//! |---|---|
//! | `run` | a handler starts, reports its success, or ends; with the fence of its lock |
//! | `alive` | a worker process is not stopped: every [`ALIVE_INTERVAL`] |
//! | `call` | a client asks the service, or knows how a call has ended |
//! | `write` | the sink has accepted or refused a write of a handler |
//!
//! Lines are short and appended with one write each, so that lines of several
//! processes do not mix and a killed process loses no line that it wrote.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// The time between two signs of life of a worker process. Short beside every lease, so that
/// a stopped process is told from a busy one.
pub const ALIVE_INTERVAL: Duration = Duration::from_millis(50);

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "camelCase")]
pub enum Line {
    /// Of a handler.
    Run(Entry),
    /// Of a worker process.
    Alive(Alive),
    /// Of a client.
    Call(Call),
    /// Of the sink.
    Write(SinkWrite),
}

/// A start, a report or an end of a handler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The kind of event.
    pub event: Event,
    /// The operation.
    pub id: String,
    /// Its token, as a number.
    pub token: usize,
    /// Its place in the order of creation of the token.
    pub index: usize,
    /// The process.
    pub pid: u32,
    /// The fence of this holding of the lock.
    pub fence: u64,
    /// The number of the attempt, from 1.
    #[serde(default)]
    pub attempt: u32,
    /// The trace that the handler is part of: 32 hexadecimal digits, or nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace: String,
    /// The time on the machine's monotonic clock.
    pub at_ns: u64,
}

/// The things that matter about a handler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The handler began.
    #[default]
    Start,
    /// The handler is about to return a success.
    Report,
    /// The handler is about to return, or was dropped.
    End,
}

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// The process.
    pub pid: u32,
    /// The time on the machine's monotonic clock.
    pub at_ns: u64,
}

/// A call of a client, or the end of it. A call without an end was under way when the journal
/// was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The number of the call: an end has the number of its start.
    pub call: u64,
    /// The name under which the client calls.
    pub caller: String,
    /// `create`, or the name of an action.
    pub action: String,
    /// The name of the operation that is to be created. Of an action: the id.
    pub key: String,
    /// The start of the call, or its end.
    pub phase: Phase,
    /// The time on the machine's monotonic clock.
    pub at_ns: u64,
}

/// The start of a call, or its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// It is about to be sent.
    Invoke,
    /// It was answered with this operation.
    Ok {
        /// The id.
        id: String,
    },
    /// It was refused: nothing was done.
    Fail {
        /// The refusal.
        why: String,
    },
    /// It was not answered, and may or may not have been done.
    Unknown {
        /// The failure.
        why: String,
    },
}

/// A write that the sink has decided about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkWrite {
    /// The number of the decision: the order in which the sink has decided.
    pub number: u64,
    /// The token of the operation, as a number: the resource that is written to.
    pub token: usize,
    /// The place of the operation in the token.
    pub index: usize,
    /// The operation.
    pub id: String,
    /// The fence of the writer.
    pub fence: u64,
    /// False if a greater fence had written before.
    pub accepted: bool,
    /// The time on the machine's monotonic clock.
    pub at_ns: u64,
}

/// The lines of a run by kind, in order of time.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Those of handlers.
    pub runs: Vec<Entry>,
    /// Those of processes.
    pub alive: Vec<Alive>,
    /// Those of clients.
    pub calls: Vec<Call>,
    /// Those of the sink, in its order.
    pub writes: Vec<SinkWrite>,
}

impl History {
    /// Reads whole journals. Without a last line that is being written: its end of line is
    /// not there yet.
    ///
    /// # Errors
    /// When a file cannot be read, or a line is none.
    pub fn read<P: AsRef<Path>>(journals: &[P]) -> Result<Self> {
        let mut lines = Vec::new();
        for path in journals {
            let path = path.as_ref();
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("read {}", path.display()))?;
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            for line in whole.lines() {
                let line = serde_json::from_str(line);
                lines.push(line.with_context(|| format!("a line of {}", path.display()))?);
            }
        }
        Ok(Self::of(lines))
    }

    /// Sorts lines.
    #[must_use]
    pub fn of(lines: Vec<Line>) -> Self {
        let mut history = Self::default();
        for line in lines {
            match line {
                Line::Run(entry) => history.runs.push(entry),
                Line::Alive(alive) => history.alive.push(alive),
                Line::Call(call) => history.calls.push(call),
                Line::Write(write) => history.writes.push(write),
            }
        }
        history.runs.sort_by_key(|entry| entry.at_ns);
        history.alive.sort_by_key(|alive| alive.at_ns);
        history.calls.sort_by_key(|call| call.at_ns);
        history.writes.sort_by_key(|write| write.number);
        history
    }
}

/// A file that lines are appended to.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    /// Opens a journal for appending.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(path);
        Ok(Self(
            file.with_context(|| format!("open {}", path.display()))?,
        ))
    }

    /// Appends one line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        (&self.0).write_all(&text).context("append to the journal")
    }
}

/// The machine's monotonic clock: the same for all processes.
#[must_use]
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_being_written_is_left_out() {
        let path = std::env::temp_dir().join(format!("journal-{}.jsonl", std::process::id()));
        // A test of the same process id may have left it behind.
        drop(std::fs::remove_file(&path));
        let journal = Journal::open(&path).unwrap();
        let alive = Line::Alive(Alive { pid: 1, at_ns: 2 });
        journal.append(&alive).unwrap();
        let read = |path: &Path| History::read(&[path]).map(|history| history.alive.len());
        (&journal.0).write_all(b"{\"kind\":").unwrap();
        assert_eq!(read(&path).unwrap(), 1);
        (&journal.0).write_all(b"\n").unwrap();
        assert!(read(&path).is_err(), "a whole line is one");
        std::fs::remove_file(&path).unwrap();
    }
}

//! The journal of the handlers, written by themselves: one line per start and
//! end.
//!
//! Lines are short and appended with one write each, so that lines of several
//! processes do not mix and a killed process loses no line that it wrote.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// A start or an end of a handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The time on the machine's monotonic clock.
    pub at_ns: u64,
}

/// The two things that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The handler began.
    Start,
    /// The handler is about to return, or was dropped.
    End,
}

/// The machine's monotonic clock: the same for all processes.
#[must_use]
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Appends one line.
///
/// # Errors
/// When the file cannot be written.
pub fn append(file: &mut File, entry: &Entry) -> Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    file.write_all(&line).context("append to the journal")
}

/// Opens a journal for appending.
///
/// # Errors
/// When the file cannot be opened.
pub fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

/// Reads a whole journal.
///
/// # Errors
/// When the file cannot be read or a line is not an entry.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    text.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("journal line {line:?}")))
        .collect()
}

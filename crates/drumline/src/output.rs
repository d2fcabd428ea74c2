//! The output of commands on standard output: text for people, or JSON, one
//! value per line, for programs.
//!
//! This is the only place that writes there. Everything but the answer itself
//! (progress, hints, the log) goes to standard error, so that pipes stay clean.

pub(crate) mod history;
pub(crate) mod operation;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod time;

use std::io::{self, IsTerminal, Write};

use drumline_client::{Explained, OperationView};
use serde::Serialize;

use crate::cli::values::Format;
use time::Now;

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    now: Now,
}

impl Output {
    /// Standard output in this format; times are shown relative to `now`.
    pub(crate) const fn new(format: Format, now: Now) -> Self {
        Self { format, now }
    }

    /// Returns true if a program reads the output.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// The time that shown times are relative to.
    pub(crate) const fn now(self) -> Now {
        self.now
    }

    /// A value as one line of JSON.
    pub(crate) fn json(self, value: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        write(&text)
    }

    /// A line of text.
    pub(crate) fn line(self, text: &str) -> io::Result<()> {
        line(text)
    }

    /// Prints one operation, with all its attributes.
    pub(crate) fn operation(self, operation: &OperationView) -> io::Result<()> {
        match self.format {
            Format::Json => self.json(operation),
            Format::Text => line(&operation::details(operation, self.now)),
        }
    }

    /// Prints the same, and why it does not run or does not end.
    pub(crate) fn explained(self, explained: &Explained) -> io::Result<()> {
        match self.format {
            Format::Json => self.json(explained),
            Format::Text => line(&operation::explained(explained, self.now)),
        }
    }

    /// Prints the result of an operation, in one line.
    pub(crate) fn outcome(self, operation: &OperationView) -> io::Result<()> {
        match self.format {
            Format::Json => self.json(operation),
            Format::Text => line(&operation::one_line(operation, self.now)),
        }
    }
}

/// A line on standard output, at once.
pub(crate) fn line(text: &str) -> io::Result<()> {
    write(format!("{text}\n").as_bytes())
}

/// Prints a line on standard error: a hint, or progress without a terminal.
pub(crate) fn hint(text: &str) {
    // Standard error is gone: there is nothing to print to.
    let _nobody = writeln!(io::stderr().lock(), "{text}");
}

/// An error and its causes in one text.
pub(crate) fn reasons(error: &anyhow::Error) -> String {
    drumline_process::reasons(error.as_ref())
}

/// Returns true if a person looks at standard error.
pub(crate) fn watched() -> bool {
    io::stderr().is_terminal()
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

//! The output of the program: the handler's lines on stdout, complaints on stderr.
//!
//! Output that cannot be written is dropped: a reader that closed the pipe does
//! not want it, and an import does not fail for want of an audience.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::error::Error;

/// Prints one line.
pub(crate) fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    drop(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
}

/// Says why the command failed.
pub(crate) fn complain(error: &Error) {
    drop(writeln!(io::stderr(), "{error}"));
}

/// Reports how far an import is.
pub(crate) fn progress(done: usize, all: usize, text: &str) {
    let percent = done.saturating_mul(100) / all.max(1);
    say(&json!({ "progress": percent, "text": text }).to_string());
}

/// Reports where to go on after a stop.
pub(crate) fn checkpoint(value: &Value) {
    say(&json!({ "checkpoint": value }).to_string());
}

/// Reports what the import achieved.
pub(crate) fn result(value: &Value) {
    say(&value.to_string());
}

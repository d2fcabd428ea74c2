//! The output of commands on standard output: text for people, or JSON, one
//! value per line, for programs.
//!
//! This is the only place that writes there, and every text from outside is
//! [cleaned](clean) on its way. Everything but the answer itself
//! (progress, hints, the log) goes to standard error, so that pipes stay clean.

pub(crate) mod attempts;
pub(crate) mod clean;
pub(crate) mod history;
pub(crate) mod operation;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod time;

use std::io::{self, IsTerminal, Write};

use drumline_client::{Explained, OperationView};
use serde::Serialize;

use crate::cli::values::Format;
use crate::client_error::ClientError;
use crate::exit::Failure;
use table::Table;
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
        line(&json_line(value)?)
    }

    /// Prints an error on standard error.
    pub(crate) fn error(self, failure: &Failure) {
        error(self.format, failure);
    }

    /// A line of text.
    pub(crate) fn line(self, text: &str) -> io::Result<()> {
        line(text)
    }

    /// Ends a list from a server: prints the rows of `shown` entries, or that there are
    /// none; says how to see more.
    pub(crate) fn end_of_list(
        self,
        what: &str,
        shown: usize,
        rows: &Table,
        has_more: bool,
    ) -> io::Result<()> {
        if self.is_json() {
            return Ok(());
        }
        match shown {
            0 => hint(&format!("no {what}")),
            _ => self.line(&rows.text())?,
        }
        if has_more {
            hint(&format!("the newest {shown}; --limit shows more"));
        }
        Ok(())
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

    /// Prints why it does not run or does not end, in one line.
    pub(crate) fn explanation(self, explained: &Explained) -> io::Result<()> {
        line(&operation::explanation(explained, self.now))
    }

    /// Prints the operation that does the work of another one again.
    pub(crate) fn again(self, of: &str, operation: &OperationView) -> io::Result<()> {
        match self.format {
            Format::Json => self.json(operation),
            Format::Text => line(&format!(
                "{of}  runs again as {}",
                operation::one_line(operation, self.now)
            )),
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

/// A value as JSON in one line: a payload is shown as it was sent, and may have
/// line breaks between its values.
fn json_line(value: &impl Serialize) -> io::Result<String> {
    Ok(clean::clean_json(&serde_json::to_string(value)?))
}

/// A line on standard output, at once.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let text = clean::clean_lines(text) + "\n";
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints a line on standard error: a hint, or progress without a terminal.
pub(crate) fn hint(text: &str) {
    // Standard error is gone: there is nothing to print to.
    let _nobody = writeln!(io::stderr().lock(), "{}", clean::clean_lines(text));
}

/// Prints an error on standard error, in the format of the output.
pub(crate) fn error(format: Format, failure: &Failure) {
    let text = match format {
        Format::Text => None,
        Format::Json => json_line(&Told::from(failure)).ok(),
    };
    hint(&text.unwrap_or_else(|| format!("error: {}", reasons(&failure.error))));
}

/// An error for programs.
#[derive(Debug, Serialize)]
struct Told {
    error: ToldError,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldError {
    /// The error and its causes.
    message: String,
    /// The exit code of the process.
    exit_code: u8,
    /// The error code of the service, if the error is one of the service.
    code: Option<String>,
    name: Option<String>,
    /// The remedy, if there is one.
    hint: Option<String>,
}

impl From<&Failure> for Told {
    fn from(failure: &Failure) -> Self {
        let mut causes = failure.error.chain();
        let of_client = causes.find_map(|cause| cause.downcast_ref::<ClientError>());
        let message = match of_client {
            // Its text for people has code and remedy in it.
            Some(error) => {
                let contexts = failure.error.chain().map_while(|cause| {
                    let is_other = cause.downcast_ref::<ClientError>().is_none();
                    is_other.then(|| cause.to_string())
                });
                let texts: Vec<_> = contexts.chain([error.0.to_string()]).collect();
                texts.join(": ")
            }
            None => reasons(&failure.error),
        };
        Self {
            error: ToldError {
                message,
                exit_code: failure.exit as u8,
                code: of_client.and_then(|error| Some(error.0.code()?.to_string())),
                name: of_client.and_then(|error| Some(error.0.name()?.to_owned())),
                hint: of_client.and_then(ClientError::hint),
            },
        }
    }
}

/// An error and its causes in one text.
pub(crate) fn reasons(error: &anyhow::Error) -> String {
    drumline_process::reasons(error.as_ref())
}

/// Returns true if a person looks at standard error.
pub(crate) fn watched() -> bool {
    io::stderr().is_terminal()
}

//! Handlers from a file: `command` and `http` without a line of Rust.
//!
//! ```toml
//! # For all handlers that have none of their own; default: none.
//! throttle = { failures = 100, within = "1m", pause = "30s" }
//!
//! [[handler]]
//! message = "ImportSolution"          # exact name, or "*" for all others
//! command = ["./import.sh", "--strict"]
//! timeout = "30m"                     # default: none
//! grace = "10s"                       # from SIGTERM to SIGKILL; default 10s
//! directory = "."                     # default: where this file is
//! inherit = ["AWS_REGION", "APP_*"]   # of the worker's environment; default: the usual
//! env = { LANG = "C.UTF-8" }          # added to the environment
//! retry_codes = [1]                   # exit codes besides 75
//! suspend_codes = [2]                 # exit codes besides 77
//! retry_on_timeout = true             # default: a timeout is a failure
//! throttle = { failures = 20, within = "1m", pause = "30s" }
//!
//! [[handler]]
//! message = "*"
//! http = "https://hooks.example.com/drumline"
//! headers = { Authorization = "Bearer …" }
//! private = true                      # the name may be of a private network
//! timeout = "30s"
//! ```
//!
//! All mistakes are reported at once, each with its line. A program that is not there
//! is a mistake, too.

mod entry;
mod table;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use self::entry::{handler, throttle};
use self::table::{Mistakes, Table};
use super::Limits;
use super::command::{Command, SERVER, program};
use super::http::Endpoint;

/// The handlers of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlersFile {
    /// The handlers, in the order of the file. Message names are unique.
    pub handlers: Vec<FileHandler>,
}

/// One `[[handler]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHandler {
    /// The message name, or `*`.
    pub message: String,
    /// The timeout, the grace and the throttle.
    pub limits: Limits,
    /// The action for each operation.
    pub action: Action,
}

/// The action of a handler from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Runs a command.
    Command(Command),
    /// Posts to a web service.
    Http(Endpoint),
}

/// The reason that a file of handlers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file has mistakes.
    #[error("{}", lines(mistakes))]
    Mistakes {
        /// All mistakes, in the order of the file.
        mistakes: Vec<Mistake>,
    },
    /// The web client cannot be set up.
    #[error("http handlers cannot be used")]
    Http(#[from] reqwest::Error),
}

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The number of the line, from 1.
    pub line: usize,
    /// The mistake, for people.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

fn lines(mistakes: &[Mistake]) -> String {
    let lines: Vec<_> = mistakes.iter().map(Mistake::to_string).collect();
    lines.join("\n")
}

impl HandlersFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When the file cannot be read, or has mistakes. A command whose program or
    /// directory is not there is a mistake.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let path = std::path::absolute(path).map_err(failed)?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        Self::parse_with(&text, directory, program::missing)
    }

    /// Reads the text of a file that lies in `directory`. Does not look for the
    /// programs of its commands.
    ///
    /// # Errors
    /// When the text has mistakes.
    pub fn parse(text: &str, directory: &Path) -> Result<Self, Error> {
        Self::parse_with(text, directory, |_command| None)
    }

    /// Reads the text of a file, and checks each command.
    fn parse_with(
        text: &str,
        directory: &Path,
        check: impl Fn(&Command) -> Option<String>,
    ) -> Result<Self, Error> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut mistakes = Mistakes::new(text);
        for error in errors {
            let at = error.span().unwrap_or_default().start;
            mistakes.add(at, error.message());
        }
        let mut root = Table::new(root.get_ref(), 0, &mut mistakes);
        let of_all = throttle(&mut root);
        let mut handlers = Vec::new();
        let mut names = HashMap::new();
        for (at, table) in root.tables("handler") {
            let mut table = Table::new(table, at, root.mistakes());
            let handler = handler(&mut table, directory);
            table.finish();
            let Some(mut handler) = handler else { continue };
            handler.limits.throttle = handler.limits.throttle.or(of_all);
            if names.insert(handler.message.clone(), at).is_some() {
                let name = &handler.message;
                root.mistakes()
                    .add(at, format!("there are two handlers for {name:?}"));
            }
            if let Action::Command(command) = &handler.action
                && let Some(what) = check(command)
            {
                root.mistakes().add(at, what);
            }
            handlers.push(handler);
        }
        root.finish();
        if handlers.is_empty() && mistakes.is_empty() {
            mistakes.add(0, "there is no [[handler]]");
        }
        match mistakes.into_list() {
            list if list.is_empty() => Ok(Self { handlers }),
            mistakes => Err(Error::Mistakes { mistakes }),
        }
    }

    /// Gives commands the service's address, for operations that they create:
    /// `DRUMLINE_SERVER` in their environment. The worker's own value of the
    /// variable is not passed on then. A command whose `env` sets the variable
    /// keeps its value.
    #[must_use]
    pub fn server(mut self, url: &str) -> Self {
        for handler in &mut self.handlers {
            if let Action::Command(command) = &mut handler.action {
                let own = (SERVER.to_owned(), url.to_owned());
                command.environment.insert(0, own);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests;

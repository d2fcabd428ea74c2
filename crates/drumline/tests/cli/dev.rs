//! A `drumline dev` to talk to.

use std::process::Command;

use serde_json::Value;

use crate::run::{Ended, Process, drumline, end, text};

/// An id that the service has never given.
pub(crate) const UNKNOWN: &str = "01a1f9dc-5cfa-7000-80ef-5fc7104f4284";

/// A running `drumline dev`.
pub(crate) struct Dev {
    process: Process,
    /// The address that it listens on.
    pub(crate) url: String,
}

impl Dev {
    /// Starts one, and waits until it is ready.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more flags.
    pub(crate) fn start_with(flags: &[&str]) -> Self {
        Self::start_on("127.0.0.1:0", flags)
    }

    /// Starts one on another address.
    pub(crate) fn start_on(listen: &str, flags: &[&str]) -> Self {
        let mut command = drumline();
        command
            .args(["dev", "--listen", listen, "--log", "off"])
            .args(flags);
        let process = Process::start(&mut command);
        let url = process.url();
        Self { process, url }
    }

    /// Asks it to end, and gives its exit code.
    pub(crate) fn terminate(self) -> i32 {
        self.process.terminate()
    }

    /// A client command against it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = drumline();
        command.args(arguments).env("DRUMLINE_SERVER", &self.url);
        command
    }

    /// Runs a client command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        end(&mut self.command(arguments))
    }

    /// Runs a client command that must succeed with one JSON value.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ended = end(self.command(arguments).args(["--output", "json"]));
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        let mut values = ended.json();
        assert_eq!(values.len(), 1, "{arguments:?}: {ended:?}");
        values.remove(0)
    }

    /// Submits, and gives the id.
    pub(crate) fn submit(&self, arguments: &[&str]) -> String {
        let all: Vec<&str> = std::iter::once("submit")
            .chain(arguments.iter().copied())
            .collect();
        text(&self.json(&all), "id")
    }

    /// The status of an operation.
    pub(crate) fn status(&self, id: &str) -> String {
        text(&self.json(&["get", id]), "status")
    }

    /// Waits until a running operation has reported progress, hence runs.
    pub(crate) fn until_running(&self, id: &str) {
        while self.status(id) != "InProgress" {
            std::thread::yield_now();
        }
    }
}

//! The table of docs/metrics.md, written from the registration.
//!
//! The list of spans on the same page is written by hand: spans are opened in
//! two crates. A test reads the sources of all crates and compares.

use drumline_protocol::page;
use drumline_telemetry::metrics::table;

use super::register;

/// Returns the table of every metric that `/metrics` of a queue manager can show.
#[must_use]
pub fn part() -> String {
    let (_metrics, described) = register();
    page::part("metrics", &table(&described))
}

#[cfg(test)]
mod tests;

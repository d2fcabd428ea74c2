//! The table of docs/metrics.md, written from the registration.
//!
//! The list of spans on the same page is written by hand: spans are opened in
//! two crates. A test reads the sources of all crates and compares.

use std::fmt::Write as _;

use drumline_protocol::page;
use prometheus_client::metrics::MetricType;

use super::register;
use super::registration::Described;

/// Returns the table of every metric that `/metrics` can show.
#[must_use]
pub fn part() -> String {
    let (_metrics, described) = register();
    let mut text = "\
| metric | type | unit | labels | meaning |
|---|---|---|---|---|
"
    .to_owned();
    for metric in &described {
        let name = shown_name(metric);
        let kind = metric.kind.as_str();
        let unit = metric.unit.as_ref().map_or("", |unit| unit.as_str());
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let (labels, help) = (labels.join(", "), metric.help);
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "| `{name}` | {kind} | {unit} | {labels} | {help} |");
    }
    page::part("metrics", &text)
}

/// The name as a query has it: a counter is marked at the end.
fn shown_name(metric: &Described) -> String {
    let end = match metric.kind {
        MetricType::Counter => "_total",
        MetricType::Gauge | MetricType::Histogram | MetricType::Info | MetricType::Unknown => "",
    };
    format!("{}{end}", metric.name)
}

#[cfg(test)]
mod tests;

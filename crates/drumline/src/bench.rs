//! `drumline bench`: the speed of Drumline, on this machine and these servers.
//!
//! The measurements are those of `drumline-bench`; here they get a target, and
//! their report is printed, beside an earlier one if a file of it is named. Everything happens in a namespace of its own, which
//! is removed afterwards.

use std::path::Path;

use anyhow::Context as _;
use drumline_bench::compare::Compared;
use drumline_bench::{Comparison, Plan, Report, Verdict};
use serde::Serialize;

use crate::cli::tools::{Bench, BenchWorker};
use crate::exit::{Exit, Failure, Result};
use crate::output::progress::Activity;
use crate::output::table::table;
use crate::output::time::Now;
use crate::output::{self, Output};
use crate::run::backend::target;
use crate::run::catch_signals;
use crate::run::worker::run_for_a_parent;

/// Measures, and prints the result.
pub(crate) async fn run(bench: &Bench, now: Now) -> Result<Exit> {
    let out = Output::new(bench.output.output, now);
    // Before minutes are spent on measuring.
    let earlier = bench.compare.as_deref().map(read).transpose()?;
    let target = target::prepare(bench)
        .await
        .map_err(|error| Failure::caused(Exit::Unavailable, error))?;
    let plan = plan(bench);
    let mut signals = catch_signals()?;
    let activity = Activity::new();
    let measured = tokio::select! {
        measured = drumline_bench::run(target.as_ref(), &plan, |what| activity.tell(what)) => {
            measured.map_err(|error| Failure::caused(Exit::Failed, error))
        }
        signal = signals.next() => Err(Failure::new(Exit::Interrupted, signal)),
    };
    drop(activity);
    // Also after a failure: the leftovers are of no use.
    if let Err(error) = target.remove().await {
        output::hint(&format!(
            "the namespace could not be removed: {}",
            output::reasons(&error)
        ));
    }
    let report = measured?;
    let comparison = earlier.map(|earlier| Comparison::new(&report, &earlier));
    print(&report, comparison.as_ref(), out)?;
    Ok(Exit::Ok)
}

/// Reads an earlier report.
fn read(path: &Path) -> Result<Report> {
    let report = || {
        let text = std::fs::read_to_string(path)?;
        anyhow::Ok(serde_json::from_str(&text)?)
    };
    report()
        .with_context(|| {
            format!(
                "{} is no report of `drumline bench --output json`",
                path.display()
            )
        })
        .map_err(|error| Failure::caused(Exit::Data, error))
}

/// A worker process of the bench.
pub(crate) async fn work(settings: &BenchWorker) -> Result<Exit> {
    let worker = drumline_bench::worker(settings.concurrency);
    run_for_a_parent(worker, &settings.connection, "bench worker").await
}

fn plan(bench: &Bench) -> Plan {
    Plan {
        only: bench.only.clone(),
        seconds: bench.seconds,
        rounds: bench.rounds,
        callers: bench.callers,
        batch: bench.batch,
        concurrency: bench.concurrency,
        tokens: bench.tokens,
        held: bench.held,
        processes: bench.processes,
    }
}

/// The report as a program reads it.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<&'a Comparison>,
}

fn print(report: &Report, comparison: Option<&Comparison>, out: Output) -> std::io::Result<()> {
    if out.is_json() {
        return out.json(&Told { report, comparison });
    }
    let mut headings = vec!["MEASURED", "MEDIAN", "UNIT", "OF FLOOR"];
    if comparison.is_some() {
        headings.extend(["BEFORE", "NOW"]);
    }
    headings.push("ROUNDS");
    let mut rows = table(&headings);
    for figure in &report.figures {
        let share = figure.of_baseline.map(|share| format!("{share:.2}"));
        let mut row = vec![
            figure.name.clone(),
            number(figure.value),
            figure.unit.clone(),
            share.unwrap_or_default(),
        ];
        if let Some(comparison) = comparison {
            row.extend(match comparison.of(&figure.name) {
                Some(compared) => [before(compared), verdict(compared).to_owned()],
                None => [String::new(), String::new()],
            });
        }
        let rounds: Vec<_> = figure.rounds.iter().map(|round| number(*round)).collect();
        row.push(rounds.join(" "));
        rows.add_row(row);
    }
    for column in [1, 3] {
        rows.align_right(column);
    }
    out.line(&format!("{}\n{}\n", report.backend, report.setup))?;
    out.line(&rows.text())?;
    match comparison {
        Some(comparison) => out.line(&format!("\n{}", summary(comparison))),
        None => Ok(()),
    }
}

/// The earlier figure, and that it is a share of the floor where it is one.
fn before(compared: &Compared) -> String {
    if compared.of_floor {
        format!("{:.2} of floor", compared.before)
    } else {
        format!("{} {}", number(compared.before), compared.unit)
    }
}

/// The result, in a word.
fn verdict(compared: &Compared) -> &'static str {
    let bytes = compared.unit == "bytes";
    match compared.verdict {
        Verdict::Same => "same",
        Verdict::Better if bytes => "smaller",
        Verdict::Better => "faster",
        Verdict::Worse if bytes => "larger",
        Verdict::Worse => "slower",
    }
}

/// The figures that are worse, in sentences.
fn summary(comparison: &Comparison) -> String {
    let worse: Vec<_> = comparison
        .worse()
        .map(|compared| {
            let (name, ratio) = (&compared.name, compared.ratio);
            format!("{name} ({}, {ratio:.2} of before)", verdict(compared))
        })
        .collect();
    let mut text = if comparison.figures.is_empty() {
        "Nothing to compare: the reports have no figure in common.".to_owned()
    } else if worse.is_empty() {
        "Nothing is worse than in the earlier report.".to_owned()
    } else {
        format!("Worse than in the earlier report: {}.", worse.join("; "))
    };
    if !comparison.same_setup {
        text += "\nThe earlier report is of other servers, or of a run with other settings: differences may come from that.";
    }
    text
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_figures_are_a_report() {
        let text = include_str!("../../../docs/performance.json");
        let committed: Report = serde_json::from_str(text).unwrap();
        let comparison = Comparison::new(&committed, &committed);
        assert!(comparison.figures.len() > 4, "{comparison:?}");
        assert_eq!(comparison.worse().count(), 0);
        assert_eq!(
            summary(&comparison),
            "Nothing is worse than in the earlier report."
        );
    }
}

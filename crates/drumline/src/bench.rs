//! `drumline bench`: the speed of Drumline, on this machine and these servers.
//!
//! The measurements are those of `drumline-bench`; here they get a target, and
//! their report is printed. Everything happens in a namespace of its own, which
//! is removed afterwards.

use drumline_bench::{Plan, Report};

use crate::cli::tools::{Bench, BenchWorker};
use crate::exit::{Exit, Failure, Result};
use crate::output::progress::Activity;
use crate::output::table::table;
use crate::output::time::Now;
use crate::output::{self, Output};
use crate::run::backend::{Connected, target};
use crate::run::catch_signals;

/// Measures, and prints the result.
pub(crate) async fn run(bench: &Bench, now: Now) -> Result<Exit> {
    let out = Output::new(bench.output.output, now);
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
    print(&measured?, out)?;
    Ok(Exit::Ok)
}

/// A worker process of the bench.
pub(crate) async fn work(settings: &BenchWorker) -> Result<Exit> {
    let mut signals = catch_signals()?;
    let connected = Connected::to_servers(&settings.connection, "bench worker").await?;
    let worker = drumline_bench::worker(settings.concurrency)
        .start(connected.backend().clone(), connected.lease_store())
        .await
        .map_err(|error| Failure::caused(Exit::Failed, error))?;
    worker.until_ready().await;
    output::line("ready")?;
    signals.next().await;
    worker.drain().await;
    connected.disconnect().await;
    Ok(Exit::Ok)
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
        processes: bench.processes,
    }
}

fn print(report: &Report, out: Output) -> std::io::Result<()> {
    if out.is_json() {
        return out.json(report);
    }
    let mut rows = table(&["MEASURED", "MEDIAN", "UNIT", "OF FLOOR", "ROUNDS"]);
    for figure in &report.figures {
        let share = figure.of_baseline.map(|share| format!("{share:.2}"));
        let rounds: Vec<_> = figure.rounds.iter().map(|round| number(*round)).collect();
        rows.add_row([
            figure.name.clone(),
            number(figure.value),
            figure.unit.to_owned(),
            share.unwrap_or_default(),
            rounds.join(" "),
        ]);
    }
    for column in [1, 3] {
        rows.align_right(column);
    }
    out.line(&format!("{}\n{}\n", report.backend, report.setup))?;
    out.line(&rows.text())
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

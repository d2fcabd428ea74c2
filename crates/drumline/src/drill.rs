//! `drumline drill`: whole processes under load, hurt, and each promise judged.
//!
//! The drill is that of `drumline-drill`; here it gets servers and a namespace of its own on
//! them, and its verdict is printed. Processes and namespace are removed afterwards, also when a
//! signal ends the drill.

use std::path::Path;

use drumline_drill::oracle::{Outcome, Verdict};
use drumline_drill::{Drilled, Plan, WorkerSettings, recorder, report};
use drumline_process::host_id;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use crate::cli::drill::{Drill, DrillWorker};
use crate::exit::{Exit, Failure, Result};
use crate::output::progress::Activity;
use crate::output::table::table;
use crate::output::time::Now;
use crate::output::{self, Output};
use crate::run::backend::drill_target::DrillTarget;
use crate::run::catch_signals;
use crate::run::worker::run_for_a_parent;

/// Drills, and prints the verdict.
pub(crate) async fn run(drill: &Drill, now: Now) -> Result<Exit> {
    let out = Output::new(drill.output.output, now);
    if let Some(path) = &drill.report {
        // Before minutes are spent.
        write(path, "")?;
    }
    let plan = plan(drill);
    let target = DrillTarget::prepare(&drill.servers, drill.wipe_broker.as_deref())
        .await
        .map_err(|error| Failure::caused(Exit::Unavailable, error))?;
    let mut signals = catch_signals()?;
    let folder = std::env::temp_dir().join(format!("drumline-drill-{:08x}", fastrand::u32(..)));
    let activity = Activity::new();
    let begun = Instant::now();
    let tell = |what: &str| activity.tell(&format!("{:>4} s  {what}", begun.elapsed().as_secs()));
    let prepared = drumline_drill::Drill::prepare(plan, &folder).await;
    let mut running = prepared.map_err(|error| Failure::caused(Exit::Failed, error))?;
    let ran = tokio::select! {
        ran = running.run(&target, &tell) => ran.map_err(|error| Failure::caused(Exit::Failed, error)),
        signal = signals.next() => Err(Failure::new(Exit::Interrupted, signal)),
    };
    tell("stops all processes, and removes the namespace");
    running.end().await;
    if let Err(error) = drumline_drill::Target::remove(&target).await {
        output::hint(&format!(
            "the namespace {} could not be removed: {}",
            target.namespace(),
            output::reasons(&error)
        ));
    }
    drop(activity);
    let outcome = ran.as_ref().ok().map(|drilled| drilled.verdict.outcome());
    let is_kept = drill.keep
        || match &ran {
            Ok(_) => outcome != Some(Outcome::Kept),
            Err(failure) => failure.exit != Exit::Interrupted,
        };
    if is_kept {
        output::hint(&format!("logs and journals are in {}", folder.display()));
    } else if let Err(error) = std::fs::remove_dir_all(&folder) {
        output::hint(&format!(
            "{} could not be removed: {error}",
            folder.display()
        ));
    }
    let drilled = ran?;
    if let Some(path) = &drill.report {
        let page =
            report::html(&drilled).map_err(|error| Failure::caused(Exit::Internal, error))?;
        write(path, &page)?;
    }
    print(&drilled, out)?;
    Ok(exit(drilled.verdict.outcome()))
}

/// The exit code of a verdict.
const fn exit(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Kept => Exit::Ok,
        Outcome::Broken => Exit::Failed,
        Outcome::Void => Exit::Void,
    }
}

fn plan(drill: &Drill) -> Plan {
    Plan {
        duration: drill.duration,
        managers: usize::from(drill.managers),
        workers: usize::from(drill.workers),
        concurrency: drill.concurrency.get(),
        tokens: usize::from(drill.tokens),
        rate: drill.rate.get(),
        lease: drill.lease,
        seed: drill.seed.unwrap_or_else(|| fastrand::u64(..)),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| {
        let text = format!(
            "--report {}: {error}\n  what to do: name a file in a folder that this user may write",
            path.display()
        );
        Failure::new(Exit::Usage, text)
    })
}

/// A worker process of the drill.
pub(crate) async fn work(settings: &DrillWorker) -> Result<Exit> {
    let worker = WorkerSettings {
        recorder: recorder::Options {
            journal: settings.journal.clone(),
            sink: settings.sink,
        },
        concurrency: settings.concurrency.get(),
        lease: settings.lease,
    };
    let builder = drumline_drill::worker(&worker, host_id())
        .map_err(|error| Failure::caused(Exit::Failed, error))?;
    run_for_a_parent(builder, &settings.connection, "drill worker").await
}

/// The verdict as a program reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    outcome: Outcome,
    #[serde(flatten)]
    verdict: &'a Verdict,
    faults: Vec<serde_json::Value>,
    servers: &'a str,
    setup: String,
}

fn print(drilled: &Drilled, out: Output) -> std::io::Result<()> {
    let verdict = &drilled.verdict;
    if out.is_json() {
        let faults = drilled.faults.happened.iter();
        let faults = faults.map(|one| json!({"atNs": one.at_ns, "what": one.what}));
        return out.json(&Told {
            outcome: verdict.outcome(),
            verdict,
            faults: faults.collect(),
            servers: &drilled.target,
            setup: drilled.plan.to_string(),
        });
    }
    out.line(&format!("{}\n{}\n", drilled.target, drilled.plan))?;
    let mut rows = table(&["PROMISE", "TESTED", "VIOLATED", ""]);
    for one in &verdict.promises {
        let heading = report::heading(one.promise);
        rows.add_row(match one.not_tested {
            Some(why) => vec![
                heading,
                String::new(),
                String::new(),
                format!("not tested: {why}"),
            ],
            None => vec![
                heading,
                one.tested.to_string(),
                one.violations.len().to_string(),
                one.promise.unit().to_owned(),
            ],
        });
    }
    rows.align_right(1);
    rows.align_right(2);
    out.line(&rows.text())?;
    for text in verdict.faults() {
        out.line(&format!("\n{text}"))?;
    }
    let tally = &verdict.tally;
    out.line(&format!(
        "\n{} faults. {} operations, {} starts of handlers, {} taken over, {} stale writes refused by the sink.",
        drilled.faults.happened.len(),
        tally.operations,
        tally.runs,
        tally.take_overs,
        tally.refused_writes
    ))?;
    let (outcome, _class, sentence) = report::words(verdict.outcome());
    out.line(&format!("{outcome}. {sentence}"))
}

#[cfg(test)]
mod tests {
    use drumline_drill::oracle::{Evidence, Final, Needs, judge};

    use super::*;

    #[test]
    fn a_false_history_ends_with_a_code_and_a_void_one_with_another() {
        // It succeeded, and no handler was started.
        let succeeded = Final {
            id: "a".to_owned(),
            status: 30,
            ..Final::default()
        };
        let mut evidence = Evidence {
            finals: vec![succeeded],
            ..Evidence::default()
        };
        assert_eq!(exit(judge(&evidence).outcome()), Exit::Failed);
        evidence.finals.clear();
        assert_eq!(exit(judge(&evidence).outcome()), Exit::Ok);
        evidence.needs = Needs {
            take_overs: true,
            ..Needs::default()
        };
        assert_eq!(exit(judge(&evidence).outcome()), Exit::Void);
    }
}

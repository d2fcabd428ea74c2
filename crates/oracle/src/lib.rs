//! Judges the history of a run against Drumline's promises.
//!
//! ```text
//! handlers ─ start, report, end, with the fence ─┐
//! processes ─ signs of life ─────────────────────┤
//! clients ── invoke, ok, fail, unknown ──────────┼─► journal ─┐
//! a sink ─── accepted and refused writes ────────┘            ├─► judge ─► verdict
//! the service ── lists and histories at the end ──────────────┘
//! ```
//!
//! | module | is |
//! |---|---|
//! | [`journal`] | the lines, and files of them |
//! | [`evidence`] | everything that is known about a run |
//! | [`verdict`] | each promise, its tests and its violations |
//! | `calls` | P1 |
//! | `holders` | P2 |
//! | `order` | P3 and P4 |
//! | `changes` | P5 and P8 |
//!
//! A run counts only if the faults have happened that it was made for: see [`Needs`].
//!
//! Nothing here starts, waits for or asks anything.

pub mod evidence;
pub mod journal;
pub mod verdict;

mod calls;
mod changes;
mod holders;
mod order;
mod runs;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use evidence::{Blocked, Evidence, Final, Needs, Probe};
pub use verdict::{Outcome, Promise, Tally, Tested, Verdict};

use crate::journal::Phase;
use crate::runs::Runs;

/// Judges a run.
#[must_use]
pub fn judge(evidence: &Evidence) -> Verdict {
    let runs = Runs::of(evidence);
    let mut tally = count(evidence, &runs);
    let mut order = order::judge(evidence, &runs);
    let holders = holders::judge(evidence, &runs, &mut order, &mut tally);
    let promises = vec![
        calls::judge(evidence, &runs),
        holders,
        order.unless_tested("no operation was behind another one"),
        order::blocking(evidence),
        changes::transitions(evidence),
        traces(evidence, &runs),
        access(evidence),
        changes::records(evidence, &runs),
    ];
    Verdict {
        promises,
        void: void(&evidence.needs, &tally),
        tally,
    }
}

/// Counts what needs no judgement.
fn count(evidence: &Evidence, runs: &Runs<'_>) -> Tally {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let finals = &evidence.finals;
    let with = |status| number(finals.iter().filter(|one| one.status == status).count());
    let calls = &evidence.history.calls;
    let phase =
        |is: fn(&Phase) -> bool| number(calls.iter().filter(|call| is(&call.phase)).count());
    Tally {
        operations: number(finals.len()),
        succeeded: with(30),
        failed: with(31),
        canceled: with(32),
        runs: number(runs.all().count()),
        calls: phase(|phase| matches!(phase, Phase::Invoke)),
        unknown_calls: phase(|phase| matches!(phase, Phase::Unknown { .. })),
        ..Tally::default()
    }
}

/// Judges P6: all runs of an operation belong to the trace of the request that created it.
fn traces(evidence: &Evidence, runs: &Runs<'_>) -> Tested {
    let mut result = Tested::new(Promise::P6);
    let mut known: HashMap<&str, &str> = evidence
        .finals
        .iter()
        .filter_map(|one| Some((one.id.as_str(), one.trace.as_deref()?)))
        .collect();
    for run in runs.all().filter(|run| !run.start.trace.is_empty()) {
        result.tested += 1;
        let trace = run.start.trace.as_str();
        let of_operation = *known.entry(&run.start.id).or_insert(trace);
        if trace != of_operation {
            let run = run.words();
            result.violated(format!("{run} is in the trace {trace}, not {of_operation}"));
        }
    }
    result.unless_tested("no handler has written down its trace")
}

/// Judges P7 by the answers to requests that were made for this.
fn access(evidence: &Evidence) -> Tested {
    let mut result = Tested::new(Promise::P7);
    for probe in &evidence.probes {
        // A manager that was just killed answers nothing.
        let Some(answered) = probe.answered else {
            continue;
        };
        result.tested += 1;
        if answered != probe.expected {
            result.violated(format!(
                "{} was answered {answered}, not {}",
                probe.what, probe.expected
            ));
        }
    }
    result.unless_tested("no request was made that had to be denied")
}

/// The faults that have not happened, in words.
fn void(needs: &Needs, tally: &Tally) -> Vec<String> {
    let mut missing = Vec::new();
    if needs.take_overs && tally.take_overs == 0 {
        missing.push("no run was taken over: workers were hurt while they had nothing".to_owned());
    }
    if needs.refused_writes && tally.refused_writes == 0 {
        missing.push("the sink had no write of a lost holder to refuse".to_owned());
    }
    let absent = needs.counted.iter().filter(|(_, count)| *count == 0);
    missing.extend(absent.map(|(what, _)| format!("it has not happened: {what}")));
    missing
}

//! P2: one holder, by the history of locks, the signs of life of processes, and the sink.

use std::collections::HashMap;

use crate::evidence::{Evidence, Final};
use crate::runs::{HoldEnd, Run, Runs};
use crate::verdict::{Promise, Tally, Tested};

/// The share of a lease for which a process must have been silent before its lock is taken
/// over: a renewal may have been on its way when the process was stopped.
const SILENT_SHARE: u64 = 2;

/// Judges P2, and the part of P3 that is about two operations at once.
pub(crate) fn judge(
    evidence: &Evidence,
    runs: &Runs<'_>,
    order: &mut Tested,
    tally: &mut Tally,
) -> Tested {
    let mut result = Tested::new(Promise::P2);
    let lease_ns = u64::try_from(evidence.lease.as_nanos()).unwrap_or(u64::MAX);
    for text in &runs.stray {
        result.violated(text.clone());
    }
    for of_token in runs.by_token.values() {
        for (place, run) in of_token.iter().enumerate() {
            result.tested += 1;
            if matches!(run.hold, HoldEnd::Dropped | HoldEnd::NoHistory) {
                tally.unjudged_runs += 1;
            }
            if run.ended_ns.is_none() && runs.lives(run.start.pid, lease_ns / SILENT_SHARE) {
                let run = run.words();
                result.violated(format!("{run} has no end, and its process lives on"));
            }
            let behind = of_token.get(place + 1..).unwrap_or_default();
            let same = behind.iter().any(|next| next.start.id == run.start.id);
            if same && run.hold.is_lost() {
                tally.take_overs += 1;
            }
            // The first one behind a lost lock is judged; what it excuses, it excuses for all.
            let next = behind
                .iter()
                .find(|next| run.ended_ns.is_none_or(|ended| next.start.at_ns < ended));
            if let Some(next) = next {
                overlap(runs, run, next, lease_ns, (&mut result, order), tally);
            }
        }
    }
    let by_id = runs.by_id();
    for one in &evidence.finals {
        counts(&mut result, one, by_id.get(one.id.as_str()));
    }
    writes(evidence, runs, (&mut result, order), tally);
    result.unless_tested("no handler was started")
}

/// Judges a run that another one of its token has begun beside.
fn overlap(
    runs: &Runs<'_>,
    run: &Run<'_>,
    next: &Run<'_>,
    lease_ns: u64,
    (holder, order): (&mut Tested, &mut Tested),
    tally: &mut Tally,
) {
    let of = if run.start.id == next.start.id {
        holder
    } else {
        order
    };
    let (one, other) = (run.words(), next.words());
    let began = next.start.at_ns;
    match run.hold {
        // The process must have stood still, also where nothing is known about the lock.
        HoldEnd::By("leaseExpired") | HoldEnd::Dropped => {}
        HoldEnd::By(event) => {
            of.violated(format!(
                "{other} began beside {one}, whose lock was given back ({event})"
            ));
            return;
        }
        HoldEnd::Open => {
            of.violated(format!("{other} began although {one} holds the lock"));
            return;
        }
        HoldEnd::Unclaimed => {
            of.violated(format!("{other} began beside {one}, which has no claim"));
            return;
        }
        HoldEnd::NoHistory => {
            of.violated(format!("{other} began beside {one}"));
            return;
        }
    }
    let from = run.start.at_ns.min(began).saturating_sub(lease_ns);
    let silence = runs.silence_ns(run.start.pid, from, began);
    if silence < lease_ns / SILENT_SHARE {
        let ms = silence / 1_000_000;
        of.violated(format!(
            "{other} took over from {one}, whose process was never silent for longer than {ms} ms"
        ));
    } else if run.ended_ns.is_some() {
        tally.stale_runs += 1;
    }
}

/// Judges the numbers of an operation, and its outcome.
fn counts(result: &mut Tested, one: &Final, runs: Option<&Vec<&Run<'_>>>) {
    let Final {
        id,
        status,
        starts,
        at_most_once,
        accepted,
        ..
    } = one;
    let runs = runs.map_or(&[][..], Vec::as_slice);
    let seen = u64::try_from(runs.len()).unwrap_or(u64::MAX);
    if seen > *starts {
        result.violated(format!("{id} started {seen} times, counted {starts}"));
    }
    if let Some(reasons) = one.reasons
        && *starts > 1 + reasons
    {
        result.violated(format!(
            "{id} started {starts} times, but has {reasons} reasons"
        ));
    }
    if *at_most_once && seen > 1 {
        result.violated(format!(
            "{id} must not start twice, and started {seen} times"
        ));
    }
    if *status != 30 {
        return;
    }
    let Some(last) = runs.last() else {
        result.violated(format!("{id} succeeded without a start"));
        return;
    };
    let Some(fence) = accepted else { return };
    match runs.iter().find(|run| run.start.fence == *fence) {
        None => result.violated(format!(
            "{id} has an outcome of fence {fence}, which never ran"
        )),
        Some(run) if !run.reported => {
            let run = run.words();
            result.violated(format!(
                "{run} has reported no success, and one was accepted"
            ));
        }
        Some(run) if run.start.fence != last.start.fence => {
            let (run, last) = (run.words(), last.words());
            result.violated(format!(
                "the outcome of {run} was accepted, and {last} started"
            ));
        }
        Some(_) => {}
    }
}

/// Judges the decisions of the sink.
fn writes(
    evidence: &Evidence,
    runs: &Runs<'_>,
    (holder, order): (&mut Tested, &mut Tested),
    tally: &mut Tally,
) {
    let writes = &evidence.history.writes;
    let by_fence: HashMap<(&str, u64), &Run<'_>> = runs
        .all()
        .map(|run| ((run.start.id.as_str(), run.start.fence), run))
        .collect();
    let mut last: HashMap<usize, (u64, usize, &str)> = HashMap::new();
    let mut effects: HashMap<(&str, u64), ()> = HashMap::new();
    for write in writes {
        let run = by_fence.get(&(write.id.as_str(), write.fence));
        if !write.accepted {
            tally.refused_writes += 1;
            let is_excused =
                run.is_some_and(|run| run.hold.is_lost() || run.hold == HoldEnd::Dropped);
            if !is_excused {
                let (id, fence) = (&write.id, write.fence);
                holder.violated(format!(
                    "the sink has refused {id} with fence {fence}, which had not lost its lock"
                ));
            }
            continue;
        }
        tally.accepted_writes += 1;
        effects.insert((&write.id, write.fence), ());
        if let Some((fence, index, id)) = last.get(&write.token) {
            if write.fence < *fence {
                holder.violated(format!(
                    "the sink accepted fence {} of {} after fence {fence} of {id}",
                    write.fence, write.id
                ));
            }
            if write.index < *index {
                order.violated(format!(
                    "token {}: the sink accepted {} after its successor {id}",
                    write.token, write.id
                ));
            }
        }
        last.insert(write.token, (write.fence, write.index, &write.id));
    }
    if writes.is_empty() {
        return;
    }
    for one in evidence.finals.iter().filter(|one| one.status == 30) {
        let Some(fence) = one.accepted else { continue };
        if !effects.contains_key(&(one.id.as_str(), fence)) {
            holder.violated(format!(
                "{} succeeded with fence {fence}, and the sink has no write of it",
                one.id
            ));
        }
    }
}

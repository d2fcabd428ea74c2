//! P5: nothing moves but along the table of transitions. P8: every start, loss and act is on
//! record. Both by the histories of operations.

use std::collections::{HashMap, HashSet};

use drumline_api::history::{EntryView, HistoryView};
use drumline_protocol::Status;
use drumline_protocol::page::states::arrows;

use crate::evidence::{Evidence, Final};
use crate::journal::{Call, Phase};
use crate::runs::{Run, Runs};
use crate::verdict::{Promise, Tested};

/// The reason why neither promise was tested.
const NO_HISTORY: &str = "no history was read";

/// Judges P5.
pub(crate) fn transitions(evidence: &Evidence) -> Tested {
    let mut result = Tested::new(Promise::P5);
    let legal: HashSet<(&str, Status, Status)> = arrows()
        .into_iter()
        .map(|(event, from, to)| (event.name(), from, to))
        .collect();
    for (id, view) in histories(evidence) {
        for pair in view.entries.windows(2) {
            let [first, second] = pair else { continue };
            // Entries were dropped between them.
            if second.number != first.number + 1 {
                continue;
            }
            result.tested += 1;
            let event = in_words(&second.event);
            let arrow = status(first).zip(status(second));
            if !arrow.is_some_and(|(from, to)| legal.contains(&(event.as_str(), from, to))) {
                let (from, to) = (&first.status, &second.status);
                result.violated(format!("{id} went from {from} to {to} by {event}"));
            }
        }
    }
    result.unless_tested(NO_HISTORY)
}

/// Judges P8.
pub(crate) fn records(evidence: &Evidence, runs: &Runs<'_>) -> Tested {
    let mut result = Tested::new(Promise::P8);
    let by_id = runs.by_id();
    let acts = acts(evidence);
    for one in &evidence.finals {
        let Some(view) = &one.changes else { continue };
        record(&mut result, one, view);
        if view.omitted > 0 {
            continue;
        }
        for run in by_id.get(one.id.as_str()).into_iter().flatten() {
            start(&mut result, view, run);
        }
        for (action, caller) in acts.get(one.id.as_str()).into_iter().flatten() {
            let is_there = view.entries.iter().any(|entry| {
                entry.actor.kind == "caller"
                    && entry.actor.name == *caller
                    && (entry.event == *action || (*action == "cancel" && entry.event == "discard"))
            });
            if !is_there {
                let id = &one.id;
                result.violated(format!("{id}: the {action} by {caller} is not on record"));
            }
        }
    }
    result.unless_tested(NO_HISTORY)
}

/// Judges the entries by themselves, and beside the operation.
fn record(result: &mut Tested, one: &Final, view: &HistoryView) {
    let id = &one.id;
    let kept = u64::try_from(view.entries.len()).unwrap_or(u64::MAX);
    result.tested += kept;
    if !one.is_completed() {
        // It has changed since it was listed, and is not Completed, which is found elsewhere.
        return;
    }
    if kept + view.omitted != one.version {
        result.violated(format!(
            "{id} has version {}, and its history has {kept} entries and {} dropped ones",
            one.version, view.omitted
        ));
    }
    let last = view.entries.last().and_then(status).map(Status::code);
    if last != Some(one.status) {
        result.violated(format!(
            "{id} has status {}, and its last entry says {last:?}",
            one.status
        ));
    }
    let nameless = view
        .entries
        .iter()
        .filter(|entry| entry.actor.name.is_empty());
    for entry in nameless {
        result.violated(format!(
            "{id}: nothing says who made entry {}",
            entry.number
        ));
    }
    if view.omitted == 0 {
        // A worker that is lost while it is to pause or to cancel ends that, and does not count.
        let is_loss = |at: usize| {
            let before = at
                .checked_sub(1)
                .and_then(|before| view.entries.get(before));
            view.entries
                .get(at)
                .is_some_and(|entry| entry.event == "leaseExpired")
                && before.and_then(status) == Some(Status::InProgress)
        };
        let losses = (0..view.entries.len()).filter(|at| is_loss(*at));
        let losses = u64::try_from(losses.count()).unwrap_or(u64::MAX);
        if losses != one.lost {
            result.violated(format!(
                "{id} lost {} workers, and {losses} losses are on record",
                one.lost
            ));
        }
    }
}

/// Judges the record of a start.
fn start(result: &mut Tested, view: &HistoryView, run: &Run<'_>) {
    let mut claims = view.entries.iter().filter(|entry| entry.event == "claim");
    if !claims.any(|entry| entry.attempt == run.start.attempt) {
        result.violated(format!("{} is not on record", run.words()));
    }
}

/// The acts that were answered, by operation: action and caller.
fn acts(evidence: &Evidence) -> HashMap<&str, Vec<(&str, &str)>> {
    let mut acts: HashMap<&str, Vec<(&str, &str)>> = HashMap::new();
    for call in &evidence.history.calls {
        let Call {
            action,
            caller,
            phase: Phase::Ok { id },
            ..
        } = call
        else {
            continue;
        };
        if action != "create" {
            acts.entry(id).or_default().push((action, caller));
        }
    }
    acts
}

fn histories(evidence: &Evidence) -> impl Iterator<Item = (&str, &HistoryView)> {
    let finals = evidence.finals.iter();
    finals.filter_map(|one| Some((one.id.as_str(), one.changes.as_ref()?)))
}

fn status(entry: &EntryView) -> Option<Status> {
    Status::ALL
        .into_iter()
        .find(|status| status.name() == entry.status)
}

/// The words of an event as the core has them: `lease expired` of `leaseExpired`.
fn in_words(event: &str) -> String {
    let mut words = String::with_capacity(event.len());
    for letter in event.chars() {
        if letter.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

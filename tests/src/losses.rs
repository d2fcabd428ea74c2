//! Losses of asynchronous replication: a primary that is lost may have answered what it had
//! not sent to its replica yet.
//!
//! Such losses are found in the journal and left out, and everything else is judged.
//! A start of a listed operation is left out only if it ran alone: two holders stay a fault.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::Result;
use drumline_oracle::journal::{Entry, Event, History, Phase};
use drumline_oracle::{Final, Verdict, judge};
use serde_json::Value;

use crate::fleet::Fleet;
use crate::load::{Disturbed, evidence, good};

/// Answers that were lost with a primary.
#[derive(Debug, Default)]
pub struct Losses {
    /// The operations that were accepted and are in no list.
    pub creates: BTreeSet<String>,
    /// The starts of handlers by claims that are in no history.
    pub starts: Vec<Entry>,
}

/// Has all promises judged about operations that have come to rest, without those that were
/// lost. Returns the losses beside the verdict.
///
/// # Errors
/// When a promise is broken.
pub async fn judged_with_losses(fleet: &Fleet, operations: &[Value]) -> Result<(Verdict, Losses)> {
    let mut evidence = evidence(fleet, operations, &Disturbed::new()).await?;
    let losses = Losses::find(&evidence.finals, &evidence.history);
    losses.leave_out(&mut evidence.history);
    let verdict = judge(&evidence);
    good(fleet, &verdict)?;
    Ok((verdict, losses))
}

impl Losses {
    fn find(finals: &[Final], history: &History) -> Self {
        let listed: HashSet<&str> = finals.iter().map(|one| one.id.as_str()).collect();
        let mut creates = BTreeSet::new();
        for call in history.calls.iter().filter(|call| call.action == "create") {
            if let Phase::Ok { id } = &call.phase
                && !listed.contains(id.as_str())
            {
                creates.insert(id.clone());
            }
        }
        let mut starts_of: HashMap<&str, Vec<&Entry>> = HashMap::new();
        for entry in starts(&history.runs) {
            starts_of.entry(entry.id.as_str()).or_default().push(entry);
        }
        let mut starts = Vec::new();
        for one in finals {
            let seen = starts_of
                .get(one.id.as_str())
                .map_or(&[][..], Vec::as_slice);
            starts.extend(uncounted(one, seen, &history.runs).into_iter().cloned());
        }
        Self { creates, starts }
    }

    /// Removes the lines about all that was lost.
    fn leave_out(&self, history: &mut History) {
        let mut names: HashSet<String> = HashSet::new();
        for call in &history.calls {
            if let Phase::Ok { id } = &call.phase
                && self.creates.contains(id)
            {
                names.insert(call.key.clone());
            }
        }
        history.calls.retain(|call| !names.contains(&call.key));
        let mut fences: BTreeMap<&str, HashSet<u64>> = BTreeMap::new();
        for start in &self.starts {
            let of_one = fences.entry(start.id.as_str()).or_default();
            of_one.insert(start.fence);
        }
        let is_lost = |id: &str, fence: u64| {
            let of_one = fences.get(id);
            self.creates.contains(id) || of_one.is_some_and(|fences| fences.contains(&fence))
        };
        let runs = &mut history.runs;
        runs.retain(|entry| !is_lost(&entry.id, entry.fence));
        let writes = &mut history.writes;
        writes.retain(|write| !is_lost(&write.id, write.fence));
    }
}

fn starts(runs: &[Entry]) -> impl Iterator<Item = &Entry> {
    runs.iter().filter(|entry| entry.event == Event::Start)
}

/// The starts of an operation that the service has not counted. The claim of each was made
/// again later, with the same number and a greater fence.
fn uncounted<'a>(one: &Final, seen: &[&'a Entry], runs: &[Entry]) -> Vec<&'a Entry> {
    let counted = usize::try_from(one.starts).unwrap_or(usize::MAX);
    let excess = seen.len().saturating_sub(counted);
    if excess == 0 {
        return Vec::new();
    }
    let repeated = seen.iter().copied().filter(|start| {
        let same = seen.iter().filter(|other| other.fence == start.fence);
        let mut later = seen.iter().filter(|other| other.at_ns > start.at_ns);
        let is_repeated =
            later.any(|other| other.fence > start.fence && other.attempt == start.attempt);
        same.count() == 1 && is_repeated && was_alone(start, runs)
    });
    repeated.take(excess).collect()
}

/// Returns true if no other handler of its token ran beside a run.
fn was_alone(start: &Entry, runs: &[Entry]) -> bool {
    let end = end_of(start, runs);
    let of_token = starts(runs).filter(|other| other.token == start.token);
    let mut beside = of_token.filter(|other| {
        let is_itself = other.id == start.id && other.fence == start.fence;
        !is_itself && other.at_ns < end && end_of(other, runs) > start.at_ns
    });
    end < u64::MAX && beside.next().is_none()
}

/// The time at which a run ended: the end of time if it has no end.
fn end_of(start: &Entry, runs: &[Entry]) -> u64 {
    let mut ends = runs.iter().filter(|entry| entry.event == Event::End);
    let end = ends.find(|end| end.id == start.id && end.fence == start.fence);
    end.map_or(u64::MAX, |end| end.at_ns)
}

#[cfg(test)]
mod tests {
    use drumline_oracle::journal::{Call, Line};

    use super::*;

    fn run(id: &str, fence: u64, attempt: u32, from_ns: u64, until_ns: u64) -> [Line; 2] {
        let line = |event, at_ns| {
            Line::Run(Entry {
                event,
                id: id.to_owned(),
                fence,
                attempt,
                at_ns,
                ..Entry::default()
            })
        };
        [line(Event::Start, from_ns), line(Event::End, until_ns)]
    }

    fn created(id: &str) -> [Line; 2] {
        let line = |phase| {
            Line::Call(Call {
                call: 0,
                caller: String::new(),
                action: "create".to_owned(),
                key: format!("name of {id}"),
                phase,
                at_ns: 0,
            })
        };
        [line(Phase::Invoke), line(Phase::Ok { id: id.to_owned() })]
    }

    fn ended(id: &str, starts: u64) -> Final {
        Final {
            id: id.to_owned(),
            starts,
            ..Final::default()
        }
    }

    fn fences(losses: &Losses) -> Vec<u64> {
        losses.starts.iter().map(|start| start.fence).collect()
    }

    #[test]
    fn a_create_that_is_in_no_list_is_left_out_with_its_runs() {
        let lines = [
            created("a"),
            created("b"),
            run("a", 1, 1, 0, 9),
            run("b", 2, 1, 10, 19),
        ];
        let mut history = History::of(lines.concat());
        let losses = Losses::find(&[ended("a", 1)], &history);
        assert_eq!(losses.creates, BTreeSet::from(["b".to_owned()]));
        losses.leave_out(&mut history);
        assert!(history.calls.iter().all(|call| call.key == "name of a"));
        assert_eq!((history.calls.len(), history.runs.len()), (2, 2));
    }

    #[test]
    fn a_start_is_left_out_only_if_its_claim_was_made_again_and_it_ran_alone() {
        let lost = [run("a", 1, 1, 0, 9), run("a", 2, 1, 20, 29)].concat();
        let history = History::of(lost.clone());
        assert_eq!(fences(&Losses::find(&[ended("a", 1)], &history)), [1]);
        // Both are on record.
        assert_eq!(fences(&Losses::find(&[ended("a", 2)], &history)), [0; 0]);
        // Two holders at once.
        let history = History::of([run("a", 1, 1, 0, 25), run("a", 2, 1, 20, 29)].concat());
        assert_eq!(fences(&Losses::find(&[ended("a", 1)], &history)), [0; 0]);
        // A fence that falls.
        let history = History::of([run("a", 2, 1, 0, 9), run("a", 1, 1, 20, 29)].concat());
        assert_eq!(fences(&Losses::find(&[ended("a", 1)], &history)), [0; 0]);

        let mut history = History::of(lost);
        let losses = Losses::find(&[ended("a", 1)], &history);
        losses.leave_out(&mut history);
        assert!(history.runs.iter().all(|entry| entry.fence == 2));
    }
}

//! Holds the entries of the handlers against the promises P1 to P3.
//!
//! A holding is one start of a handler: from its start to its end, or to the
//! moment in which its process was killed. A process that was stopped
//! (SIGSTOP) past its lease holds nothing from that moment on: the end that
//! its handler writes when it is continued is a zombie's. A process that is
//! drained holds what it has until its handlers end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use crate::journal::{Entry, Event};

/// The share of a lease that must pass before another worker takes over. A
/// renewal may have been due when the process was hurt.
const LEASE_SHARE: u32 = 3;
/// The most that the clocks of the service and of this check may differ.
const CLOCKS_NS: u64 = 100_000_000;

/// The harm that was done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// It was killed, or stopped past its lease: it cannot renew its leases.
    Silenced,
    /// It was asked to end, and gives back what it has.
    Drained,
}

/// A process that was hurt, and the time.
#[derive(Clone, Copy, Debug)]
pub struct Hurt {
    /// The process.
    pub pid: u32,
    /// The harm.
    pub harm: Harm,
    /// The time on the clock of the journal. Taken before the signal was sent.
    pub at_ns: u64,
}

/// The service's last word about an operation.
#[derive(Clone, Debug)]
pub struct Final {
    /// The operation.
    pub id: String,
    /// Its dependency token as a number, and its place in the order of creation;
    /// `None` without a token.
    pub place: Option<(usize, usize)>,
    /// The time of its completion, on the clock of the journal.
    pub completed_ns: Option<u64>,
    /// Its number.
    pub status: u8,
    /// The number of starts that the service counted.
    pub starts: u64,
    /// The number of starts that have a reason other than being the first:
    /// retries, drained or lost workers, pauses and postponements while it ran.
    pub reasons: u64,
}

#[derive(Clone, Debug)]
struct Holding {
    id: String,
    index: usize,
    fence: u64,
    start: u64,
    end: u64,
    /// True if its process was silenced before the handler ended.
    cut: bool,
}

/// Every violation found, in words; empty is good. `lease` is that of the workers.
#[must_use]
pub fn violations(
    journal: &[Entry],
    hurts: &[Hurt],
    finals: &[Final],
    lease: Duration,
) -> Vec<String> {
    let lease_ns = u64::try_from((lease / LEASE_SHARE).as_nanos()).unwrap_or(u64::MAX);
    let mut found = Vec::new();
    let mut by_token: BTreeMap<usize, Vec<Holding>> = BTreeMap::new();
    for (token, holding) in holdings(journal, hurts, &mut found) {
        by_token.entry(token).or_default().push(holding);
    }
    for (token, holdings) in &mut by_token {
        holdings.sort_by_key(|holding| holding.start);
        for pair in holdings.windows(2) {
            let [first, second] = pair else { continue };
            if second.start < first.end {
                found.push(format!("token {token}: {first:?} overlaps {second:?}"));
            }
            if first.cut && second.id == first.id && second.start < first.end + lease_ns {
                found.push(format!(
                    "token {token}: {second:?} took over before the lease of {first:?} had ended"
                ));
            }
            if second.index < first.index {
                found.push(format!("token {token}: {second:?} after {first:?}"));
            }
            if second.fence <= first.fence {
                found.push(format!(
                    "token {token}: the fence fell from {first:?} to {second:?}"
                ));
            }
        }
    }
    let mut seen: HashMap<&str, u64> = HashMap::new();
    for holding in by_token.values().flatten() {
        *seen.entry(&holding.id).or_default() += 1;
    }
    for operation in finals {
        let Final {
            id,
            status,
            starts,
            reasons,
            ..
        } = operation;
        if !matches!(status, 30..=32) {
            found.push(format!("{id} ended with status {status}"));
        }
        let seen = seen.get(id.as_str()).copied().unwrap_or(0);
        if seen > *starts {
            found.push(format!("{id} started {seen} times, counted {starts}"));
        }
        if *starts > 1 + reasons {
            found.push(format!(
                "{id} started {starts} times, but has {reasons} reasons"
            ));
        }
        if *status == 30 && seen == 0 {
            found.push(format!("{id} succeeded without a start"));
        }
    }
    found.extend(overtakers(&by_token, finals));
    let known: HashSet<&str> = finals
        .iter()
        .map(|operation| operation.id.as_str())
        .collect();
    let mut unknown: Vec<&str> = seen
        .keys()
        .copied()
        .filter(|id| !known.contains(id))
        .collect();
    unknown.sort_unstable();
    found.extend(
        unknown
            .iter()
            .map(|id| format!("{id} ran, and the service does not know it")),
    );
    found
}

/// The number of runs whose process was silenced and that another worker has taken
/// over.
#[must_use]
pub fn taken_over(journal: &[Entry], hurts: &[Hurt]) -> usize {
    let holdings = holdings(journal, hurts, &mut Vec::new());
    let is_followed = |(_, holding): &&(usize, Holding)| {
        holdings
            .iter()
            .any(|(_, other)| other.id == holding.id && other.start > holding.start)
    };
    let cut = holdings.iter().filter(|(_, holding)| holding.cut);
    cut.filter(is_followed).count()
}

/// Operations that started before one was Completed that was created before, also
/// if that one never ran.
fn overtakers(by_token: &BTreeMap<usize, Vec<Holding>>, finals: &[Final]) -> Vec<String> {
    let mut found = Vec::new();
    let mut first_starts: HashMap<&str, u64> = HashMap::new();
    for holding in by_token.values().flatten() {
        let start = first_starts.entry(&holding.id).or_insert(holding.start);
        *start = holding.start.min(*start);
    }
    let mut chains: BTreeMap<usize, Vec<(usize, &Final)>> = BTreeMap::new();
    for operation in finals {
        if let Some((token, index)) = operation.place {
            chains.entry(token).or_default().push((index, operation));
        }
    }
    for (token, mut chain) in chains {
        chain.sort_by_key(|(index, _)| *index);
        let mut before: Option<(&Final, u64)> = None;
        for (_, operation) in chain {
            if let (Some((earlier, completed)), Some(start)) =
                (before, first_starts.get(operation.id.as_str()))
                && start + CLOCKS_NS < completed
            {
                found.push(format!(
                    "token {token}: {} started at {start}, and {earlier:?} was not Completed",
                    operation.id
                ));
            }
            if let Some(completed) = operation.completed_ns
                && before.is_none_or(|(_, latest)| completed > latest)
            {
                before = Some((operation, completed));
            }
        }
    }
    found
}

/// The holdings, each with its token.
fn holdings(journal: &[Entry], hurts: &[Hurt], found: &mut Vec<String>) -> Vec<(usize, Holding)> {
    let mut ends: HashMap<(&str, u64), u64> = HashMap::new();
    let mut last_fence: HashMap<&str, u64> = HashMap::new();
    for entry in journal {
        match entry.event {
            Event::Start => {
                let last = last_fence.entry(&entry.id).or_default();
                *last = entry.fence.max(*last);
            }
            Event::End => {
                ends.insert((&entry.id, entry.fence), entry.at_ns);
            }
        }
    }
    let mut result = Vec::new();
    for entry in journal.iter().filter(|entry| entry.event == Event::Start) {
        let hurt = hurts
            .iter()
            .filter(|hurt| hurt.harm == Harm::Silenced)
            .filter(|hurt| hurt.pid == entry.pid && hurt.at_ns >= entry.at_ns)
            .map(|hurt| hurt.at_ns)
            .min();
        let written = ends.get(&(entry.id.as_str(), entry.fence)).copied();
        let superseded = last_fence
            .get(entry.id.as_str())
            .is_some_and(|&last| last > entry.fence);
        let end = match (written, hurt) {
            (Some(end), Some(hurt)) if superseded => end.min(hurt),
            (Some(end), _) => end,
            (None, Some(hurt)) => hurt,
            (None, None) => {
                found.push(format!(
                    "{entry:?} has no end, and its process was not hurt"
                ));
                continue;
            }
        };
        let holding = Holding {
            id: entry.id.clone(),
            index: entry.index,
            fence: entry.fence,
            start: entry.at_ns,
            end,
            cut: hurt == Some(end),
        };
        result.push((entry.token, holding));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_nanos(3);

    fn line(event: Event, id: &str, index: usize, fence: u64, at_ns: u64) -> Entry {
        Entry {
            event,
            id: id.to_owned(),
            token: 0,
            index,
            pid: 1,
            fence,
            at_ns,
        }
    }

    fn run(id: &str, index: usize, fence: u64, from: u64, to: u64) -> [Entry; 2] {
        [
            line(Event::Start, id, index, fence, from),
            line(Event::End, id, index, fence, to),
        ]
    }

    fn ended(id: &str, starts: u64, reasons: u64) -> Final {
        Final {
            id: id.to_owned(),
            place: None,
            completed_ns: None,
            status: 30,
            starts,
            reasons,
        }
    }

    #[test]
    fn a_clean_run_is_clean() {
        let journal = [run("a", 0, 1, 0, 5), run("b", 1, 2, 5, 9)].concat();
        assert_eq!(
            violations(&journal, &[], &[ended("a", 1, 0), ended("b", 1, 0)], LEASE),
            [""; 0]
        );
    }

    #[test]
    fn every_kind_of_violation_is_found() {
        let overlap = [run("a", 0, 1, 0, 6), run("b", 1, 2, 5, 9)].concat();
        assert!(violations(&overlap, &[], &[], LEASE)[0].contains("overlaps"));
        let disorder = [run("b", 1, 1, 0, 4), run("a", 0, 2, 5, 9)].concat();
        assert!(violations(&disorder, &[], &[], LEASE)[0].contains("after"));
        let fence = [run("a", 0, 2, 0, 4), run("b", 1, 2, 5, 9)].concat();
        assert!(violations(&fence, &[], &[], LEASE)[0].contains("fence"));
        let open = [line(Event::Start, "a", 0, 1, 0)];
        assert!(violations(&open, &[], &[], LEASE)[0].contains("no end"));
        let twice = [run("a", 0, 1, 0, 4), run("a", 0, 2, 5, 9)].concat();
        assert!(violations(&twice, &[], &[ended("a", 1, 0)], LEASE)[0].contains("counted"));
        assert!(violations(&twice, &[], &[ended("a", 2, 0)], LEASE)[0].contains("reasons"));
        assert!(violations(&[], &[], &[ended("a", 0, 0)], LEASE)[0].contains("without a start"));
        let stuck = Final {
            status: 0,
            ..ended("a", 0, 0)
        };
        assert!(violations(&[], &[], &[stuck], LEASE)[0].contains("status 0"));
    }

    #[test]
    fn a_killed_process_ends_its_holdings_when_it_was_killed() {
        let kill = Hurt {
            pid: 1,
            harm: Harm::Silenced,
            at_ns: 5,
        };
        let after = [
            vec![line(Event::Start, "a", 0, 1, 0)],
            run("a", 0, 2, 6, 9).to_vec(),
        ]
        .concat();
        assert_eq!(
            violations(&after, &[kill], &[ended("a", 2, 1)], LEASE),
            [""; 0]
        );
        let before = [
            vec![line(Event::Start, "a", 0, 1, 0)],
            run("a", 0, 2, 4, 9).to_vec(),
        ]
        .concat();
        assert!(violations(&before, &[kill], &[], LEASE)[0].contains("overlaps"));
    }

    #[test]
    fn a_take_over_before_the_lease_has_ended_is_found() {
        let hurt = |harm| Hurt {
            pid: 1,
            harm,
            at_ns: 5,
        };
        let soon = [
            vec![line(Event::Start, "a", 0, 1, 0)],
            run("a", 0, 2, 5, 9).to_vec(),
        ]
        .concat();
        let kill = hurt(Harm::Silenced);
        let found = violations(&soon, &[kill], &[ended("a", 2, 1)], LEASE);
        assert!(found[0].contains("took over"), "{found:?}");
        assert_eq!(taken_over(&soon, &[kill]), 1);
        assert_eq!(taken_over(&soon, &[]), 0);
    }

    #[test]
    fn two_handlers_at_once_during_a_drain_are_found() {
        let drain = Hurt {
            pid: 1,
            harm: Harm::Drained,
            at_ns: 2,
        };
        let journal = [run("a", 0, 1, 0, 6), run("a", 0, 2, 5, 9)].concat();
        let found = violations(&journal, &[drain], &[ended("a", 2, 1)], LEASE);
        assert!(found[0].contains("overlaps"), "{found:?}");
        let unended = [line(Event::Start, "a", 0, 1, 0)];
        assert!(violations(&unended, &[drain], &[], LEASE)[0].contains("no end"));
    }

    #[test]
    fn a_run_of_an_operation_that_is_in_no_list_is_found() {
        let journal = [run("a", 0, 1, 0, 5), run("b", 1, 2, 5, 9)].concat();
        let found = violations(&journal, &[], &[ended("a", 1, 0)], LEASE);
        assert!(found[0].contains("b ran"), "{found:?}");
    }

    #[test]
    fn overtaking_one_that_waits_and_never_runs_is_found() {
        let second = 1_000_000_000;
        let journal = run("b", 1, 1, second, 2 * second);
        let place = |id, index, completed, starts| Final {
            place: Some((0, index)),
            completed_ns: Some(completed),
            ..ended(id, starts, 0)
        };
        let cancelled = |completed| Final {
            status: 32,
            ..place("a", 0, completed, 0)
        };
        let ran = place("b", 1, 2 * second, 1);
        let finals = [cancelled(second), ran.clone()];
        assert_eq!(violations(&journal, &[], &finals, LEASE), [""; 0]);
        let finals = [cancelled(3 * second), ran];
        let found = violations(&journal, &[], &finals, LEASE);
        assert!(found[0].contains("was not Completed"), "{found:?}");
    }
}

//! Holds the entries of the handlers against the promises P1 to P3.
//!
//! A holding is one start of a handler: from its start to its end, or to the
//! moment in which its process was killed. A process that was stopped
//! (SIGSTOP) past its lease holds nothing from that moment on: the end that
//! its handler writes when it is continued is a zombie's.

use std::collections::{BTreeMap, HashMap};

use crate::journal::{Entry, Event};

/// A process that was killed or stopped, and the time.
#[derive(Clone, Copy, Debug)]
pub struct Hurt {
    /// The process.
    pub pid: u32,
    /// The time on the clock of the journal. Taken before the signal was sent.
    pub at_ns: u64,
}

/// The service's last word about an operation.
#[derive(Clone, Debug)]
pub struct Final {
    /// The operation.
    pub id: String,
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
}

/// Every violation found, in words; empty is good.
#[must_use]
pub fn violations(journal: &[Entry], hurts: &[Hurt], finals: &[Final]) -> Vec<String> {
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
        };
        result.push((entry.token, holding));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

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
            status: 30,
            starts,
            reasons,
        }
    }

    #[test]
    fn a_clean_run_is_clean() {
        let journal = [run("a", 0, 1, 0, 5), run("b", 1, 2, 5, 9)].concat();
        assert_eq!(
            violations(&journal, &[], &[ended("a", 1, 0), ended("b", 1, 0)]),
            [""; 0]
        );
    }

    #[test]
    fn every_kind_of_violation_is_found() {
        let overlap = [run("a", 0, 1, 0, 6), run("b", 1, 2, 5, 9)].concat();
        assert!(violations(&overlap, &[], &[])[0].contains("overlaps"));
        let disorder = [run("b", 1, 1, 0, 4), run("a", 0, 2, 5, 9)].concat();
        assert!(violations(&disorder, &[], &[])[0].contains("after"));
        let fence = [run("a", 0, 2, 0, 4), run("b", 1, 2, 5, 9)].concat();
        assert!(violations(&fence, &[], &[])[0].contains("fence"));
        let open = [line(Event::Start, "a", 0, 1, 0)];
        assert!(violations(&open, &[], &[])[0].contains("no end"));
        let twice = [run("a", 0, 1, 0, 4), run("a", 0, 2, 5, 9)].concat();
        assert!(violations(&twice, &[], &[ended("a", 1, 0)])[0].contains("counted"));
        assert!(violations(&twice, &[], &[ended("a", 2, 0)])[0].contains("reasons"));
        assert!(violations(&[], &[], &[ended("a", 0, 0)])[0].contains("without a start"));
        let stuck = Final {
            status: 0,
            ..ended("a", 0, 0)
        };
        assert!(violations(&[], &[], &[stuck])[0].contains("status 0"));
    }

    #[test]
    fn a_killed_process_ends_its_holdings_when_it_was_killed() {
        let kill = Hurt { pid: 1, at_ns: 5 };
        let after = [
            vec![line(Event::Start, "a", 0, 1, 0)],
            run("a", 0, 2, 6, 9).to_vec(),
        ]
        .concat();
        assert_eq!(violations(&after, &[kill], &[ended("a", 2, 1)]), [""; 0]);
        let before = [
            vec![line(Event::Start, "a", 0, 1, 0)],
            run("a", 0, 2, 4, 9).to_vec(),
        ]
        .concat();
        assert!(violations(&before, &[kill], &[])[0].contains("overlaps"));
    }
}

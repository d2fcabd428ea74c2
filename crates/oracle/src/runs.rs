//! The runs of handlers, each with the end of its hold of the lock.
//!
//! A run is judged by the history of its lock, which the service has written, and by signs of
//! life, which its process has written. When a test hurt a process is no evidence: a fault that
//! lasts longer than its author believed must excuse nothing.

use std::collections::{BTreeMap, HashMap};

use drumline_api::history::{EntryView, HistoryView};

use crate::evidence::Evidence;
use crate::journal::{Alive, Entry, Event, History};

/// One start of a handler.
#[derive(Clone, Debug)]
pub(crate) struct Run<'a> {
    /// The line of its start.
    pub(crate) start: &'a Entry,
    /// The time at which its handler ended, if it was there to say so.
    pub(crate) ended_ns: Option<u64>,
    /// True if the handler has reported a success.
    pub(crate) reported: bool,
    /// The end of its hold of the lock.
    pub(crate) hold: HoldEnd<'a>,
}

/// The end of a hold of the lock, by the operation's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldEnd<'a> {
    /// The event that ended it.
    By(&'a str),
    /// It has not ended.
    Open,
    /// The history has no claim of this attempt.
    Unclaimed,
    /// The entries were dropped from the middle of a long history.
    Dropped,
    /// The history was not asked for.
    NoHistory,
}

impl HoldEnd<'_> {
    /// Returns true if the worker had lost the lock without giving it back.
    pub(crate) fn is_lost(self) -> bool {
        self == Self::By("leaseExpired")
    }
}

impl Run<'_> {
    /// The run in a few words.
    pub(crate) fn words(&self) -> String {
        let Entry {
            id,
            fence,
            pid,
            attempt,
            ..
        } = self.start;
        format!("attempt {attempt} of {id} (fence {fence}, process {pid})")
    }
}

/// All runs of a history.
#[derive(Debug)]
pub(crate) struct Runs<'a> {
    /// By token, in order of their fences.
    pub(crate) by_token: BTreeMap<usize, Vec<Run<'a>>>,
    /// Lines that fit to no run, in words.
    pub(crate) stray: Vec<String>,
    signs: HashMap<u32, Vec<u64>>,
    last_sign: u64,
}

impl<'a> Runs<'a> {
    /// Puts the lines together.
    pub(crate) fn of(evidence: &'a Evidence) -> Self {
        let History { runs, alive, .. } = &evidence.history;
        let changes: HashMap<&str, &HistoryView> = evidence
            .finals
            .iter()
            .filter_map(|one| Some((one.id.as_str(), one.changes.as_ref()?)))
            .collect();
        let mut open: HashMap<(&str, u64), Run<'a>> = HashMap::new();
        let mut stray = Vec::new();
        for entry in runs {
            let key = (entry.id.as_str(), entry.fence);
            match (entry.event, open.get_mut(&key)) {
                (Event::Start, None) => {
                    let changes = changes.get(entry.id.as_str());
                    let hold =
                        changes.map_or(HoldEnd::NoHistory, |view| hold_end(view, entry.attempt));
                    let run = Run {
                        start: entry,
                        ended_ns: None,
                        reported: false,
                        hold,
                    };
                    open.insert(key, run);
                }
                (Event::Report, Some(run)) => run.reported = true,
                (Event::End, Some(run)) if run.ended_ns.is_none() => {
                    run.ended_ns = Some(entry.at_ns);
                }
                (Event::Start, Some(_)) => {
                    stray.push(format!("{} started twice under fence {}", key.0, key.1));
                }
                (Event::End, Some(_)) => {
                    stray.push(format!("{} ended twice under fence {}", key.0, key.1));
                }
                (Event::Report | Event::End, None) => {
                    stray.push(format!(
                        "{} ended under fence {}, not started",
                        key.0, key.1
                    ));
                }
            }
        }
        let mut by_token: BTreeMap<usize, Vec<Run<'a>>> = BTreeMap::new();
        for run in open.into_values() {
            by_token.entry(run.start.token).or_default().push(run);
        }
        for runs in by_token.values_mut() {
            runs.sort_by_key(|run| run.start.fence);
        }
        let mut signs: HashMap<u32, Vec<u64>> = HashMap::new();
        for Alive { pid, at_ns } in alive {
            signs.entry(*pid).or_default().push(*at_ns);
        }
        for entry in runs {
            signs.entry(entry.pid).or_default().push(entry.at_ns);
        }
        for times in signs.values_mut() {
            times.sort_unstable();
        }
        let last_sign = signs.values().filter_map(|times| times.last()).max();
        Self {
            last_sign: last_sign.copied().unwrap_or(0),
            by_token,
            stray,
            signs,
        }
    }

    /// All runs.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Run<'a>> {
        self.by_token.values().flatten()
    }

    /// The runs of each operation, in order of their fences.
    pub(crate) fn by_id(&self) -> HashMap<&str, Vec<&Run<'a>>> {
        let mut by_id: HashMap<&str, Vec<&Run<'a>>> = HashMap::new();
        for run in self.all() {
            by_id.entry(run.start.id.as_str()).or_default().push(run);
        }
        by_id
    }

    /// The longest time within which a process has given no sign of life, from `from_ns` until
    /// `until_ns`.
    pub(crate) fn silence_ns(&self, pid: u32, from_ns: u64, until_ns: u64) -> u64 {
        let (mut last, mut longest) = (from_ns, 0);
        let times = self.signs.get(&pid).map_or(&[][..], Vec::as_slice);
        let first = times.partition_point(|at| *at < from_ns);
        for at in times.iter().skip(first).take_while(|at| **at <= until_ns) {
            longest = longest.max(at - last);
            last = *at;
        }
        longest.max(until_ns.saturating_sub(last))
    }

    /// Returns true if a process has given a sign of life within `lease_ns` of the last one of
    /// all.
    pub(crate) fn lives(&self, pid: u32, lease_ns: u64) -> bool {
        let last = self.signs.get(&pid).and_then(|times| times.last());
        last.is_some_and(|last| last + lease_ns > self.last_sign)
    }
}

/// The end of the hold that the claim of an attempt has begun.
fn hold_end(view: &HistoryView, attempt: u32) -> HoldEnd<'_> {
    let entries = &view.entries;
    // A start that was taken back gives its number to the next claim, so the last one counts.
    let claim = entries
        .iter()
        .rposition(|entry| entry.event == "claim" && entry.attempt == attempt);
    let Some(claim) = claim else {
        return if view.omitted > 0 {
            HoldEnd::Dropped
        } else {
            HoldEnd::Unclaimed
        };
    };
    for pair in entries.get(claim..).unwrap_or_default().windows(2) {
        let [EntryView { number, .. }, next] = pair else {
            continue;
        };
        if next.number != number + 1 {
            return HoldEnd::Dropped;
        }
        if next.state != "Locked" {
            return HoldEnd::By(&next.event);
        }
    }
    HoldEnd::Open
}

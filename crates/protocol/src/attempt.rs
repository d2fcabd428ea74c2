//! The attempts of an operation: its history and its outputs, put together.
//!
//! An attempt begins with a claim. It ends with the commit by which the operation is
//! locked no longer. Both stand in the [history](crate::history), so no attempt is
//! stored by itself.

use std::collections::BTreeMap;

use crate::error_code::ErrorCode;
use crate::history::{Author, History};
use crate::output::Output;
use crate::status::State;
use crate::time::Timestamp;
use crate::transition::EventKind;

/// One start of a handler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// The number of the attempt, from 1.
    pub number: u32,
    /// The time of the claim; `None` if the history does not keep it.
    pub started: Option<Timestamp>,
    /// The time of the end; `None` without [`Self::end`].
    pub ended: Option<Timestamp>,
    /// The host id of the worker.
    pub host: Option<String>,
    /// True while its handler runs.
    pub is_running: bool,
    /// The event of the end; `None` while it runs, or if the history does not keep
    /// it.
    pub end: Option<EventKind>,
    /// The code of the fault, if it has ended with one.
    pub code: Option<ErrorCode>,
    /// The reason in words, cut to [`REASON_CHARS`](crate::limits::REASON_CHARS).
    pub reason: Option<String>,
    /// The end of what its handler has printed, if that is kept.
    pub output: Option<Output>,
}

impl Attempt {
    /// The word for the end of the attempt.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self.end {
            None if self.is_running => "running",
            None => "unknown",
            Some(EventKind::Succeed) => "succeeded",
            Some(EventKind::Fail) => "failed",
            Some(EventKind::Retry) => "retried",
            Some(EventKind::Suspend) => "suspended",
            Some(EventKind::Stopped) => "stopped",
            Some(EventKind::Release) => "released",
            Some(EventKind::LeaseExpired) => "lost",
            // No other event ends an attempt.
            Some(other) => other.name(),
        }
    }
}

/// The attempts that are known, the earliest first.
#[must_use]
pub fn attempts(history: &History, outputs: Vec<Output>) -> Vec<Attempt> {
    let mut found: BTreeMap<u32, Attempt> = BTreeMap::new();
    let numbered = |number| Attempt {
        number,
        ..Attempt::default()
    };
    // The attempt that has begun and not ended.
    let mut open: Option<u32> = None;
    for entry in &history.entries {
        let (was, is) = (entry.from.state(), entry.status.state());
        if entry.event == EventKind::Claim && is == State::Locked {
            let attempt = Attempt {
                started: Some(entry.at),
                host: host_of(&entry.author),
                ..numbered(entry.attempt)
            };
            found.insert(entry.attempt, attempt);
            open = Some(entry.attempt);
        } else if was == State::Locked && is != State::Locked {
            match open.take() {
                // It was given back before its handler was started, and is no attempt.
                Some(begun) if begun > entry.attempt => {
                    found.remove(&begun);
                    continue;
                }
                Some(_) => {}
                // Its claim was dropped from the history.
                None if found.contains_key(&entry.attempt) || entry.attempt == 0 => continue,
                None => {}
            }
            let attempt = found
                .entry(entry.attempt)
                .or_insert_with(|| numbered(entry.attempt));
            attempt.ended = Some(entry.at);
            attempt.end = Some(entry.event);
            attempt.code = entry.code;
            attempt.reason.clone_from(&entry.reason);
            attempt.host = attempt.host.take().or_else(|| host_of(&entry.author));
        }
    }
    let last = history.entries.last();
    let is_locked = last.is_some_and(|entry| entry.status.state() == State::Locked);
    if let Some(attempt) = open.and_then(|number| found.get_mut(&number)) {
        attempt.is_running = is_locked;
    }
    for output in outputs {
        let number = output.attempt;
        let attempt = found.entry(number).or_insert_with(|| numbered(number));
        attempt.output = Some(output);
    }
    found.into_values().collect()
}

fn host_of(author: &Author) -> Option<String> {
    if let Author::Worker(host) = author {
        Some(host.clone())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Entry;
    use crate::status::Status;

    fn entry(version: u64, event: EventKind, statuses: [Status; 2], attempt: u32) -> Entry {
        let [from, status] = statuses;
        Entry {
            version,
            at: Timestamp::from_millis(i64::try_from(version).unwrap()),
            event,
            from,
            status,
            attempt,
            author: match event {
                EventKind::LeaseExpired => Author::manager("lease reaper"),
                _ => Author::worker("host:1"),
            },
            until: None,
            code: (event == EventKind::Retry).then_some(ErrorCode::NETWORK_ERROR),
            reason: None,
        }
    }

    const READY: Status = Status::WaitingForResources;
    const RUNS: Status = Status::InProgress;

    #[test]
    fn each_claim_is_an_attempt_and_ends_with_its_own_end() {
        let entries = vec![
            entry(2, EventKind::Claim, [READY, RUNS], 1),
            entry(3, EventKind::Retry, [RUNS, Status::Waiting], 1),
            entry(4, EventKind::Due, [Status::Waiting, READY], 1),
            // Given back before its start, and claimed again under the same number.
            entry(5, EventKind::Claim, [READY, RUNS], 2),
            entry(6, EventKind::Release, [RUNS, READY], 1),
            entry(7, EventKind::Claim, [READY, RUNS], 2),
            entry(8, EventKind::Pause, [RUNS, Status::Pausing], 2),
            entry(9, EventKind::LeaseExpired, [Status::Pausing, READY], 2),
            entry(10, EventKind::Claim, [READY, RUNS], 3),
        ];
        let history = History {
            entries,
            omitted: 0,
        };
        let output = Output {
            attempt: 1,
            cut: 3,
            text: "told".to_owned(),
        };
        let found = attempts(&history, vec![output.clone()]);
        let told: Vec<_> = found
            .iter()
            .map(|attempt| (attempt.number, attempt.outcome(), attempt.code))
            .collect();
        assert_eq!(
            told,
            [
                (1, "retried", Some(ErrorCode::NETWORK_ERROR)),
                (2, "lost", None),
                (3, "running", None),
            ]
        );
        let at = |number| Some(Timestamp::from_millis(number));
        assert_eq!(found[0].output, Some(output));
        assert_eq!((found[0].started, found[0].ended), (at(2), at(3)));
        assert_eq!((found[1].started, found[1].ended), (at(7), at(9)));
        assert!(found.iter().all(|it| it.host.as_deref() == Some("host:1")));
    }

    #[test]
    fn an_attempt_whose_claim_or_end_was_dropped_is_shown_as_far_as_it_is_known() {
        let entries = vec![
            entry(2, EventKind::Claim, [READY, RUNS], 1),
            entry(40, EventKind::Retry, [RUNS, Status::Waiting], 12),
            entry(41, EventKind::Resume, [Status::Waiting, READY], 12),
        ];
        let history = History {
            entries,
            omitted: 37,
        };
        let found = attempts(&history, Vec::new());
        let told: Vec<_> = found
            .iter()
            .map(|attempt| (attempt.number, attempt.outcome(), attempt.started.is_some()))
            .collect();
        assert_eq!(told, [(1, "unknown", true), (12, "retried", false)]);
    }

    #[test]
    fn an_end_whose_claim_was_dropped_counts_for_its_own_attempt_alone() {
        let kept = [
            entry(2, EventKind::Claim, [READY, RUNS], 1),
            entry(3, EventKind::Retry, [RUNS, Status::Waiting], 1),
        ];
        let told = |end: Entry| {
            let history = History {
                entries: kept.iter().cloned().chain([end]).collect(),
                omitted: 30,
            };
            let found = attempts(&history, Vec::new());
            let told = found
                .iter()
                .map(|attempt| (attempt.number, attempt.outcome()));
            told.collect::<Vec<_>>()
        };
        let failed = [RUNS, Status::Failed];
        let later = entry(40, EventKind::Fail, failed, 12);
        assert_eq!(told(later), [(1, "retried"), (12, "failed")]);
        // The claims of attempts that were given back before their start: the attempt
        // before it had its own end, or there was none.
        let given_back = |attempt| entry(40, EventKind::Release, [RUNS, READY], attempt);
        assert_eq!(told(given_back(1)), [(1, "retried")]);
        assert_eq!(told(given_back(0)), [(1, "retried")]);
    }
}

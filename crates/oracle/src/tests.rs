//! The verdicts about a good history, and about each change of it.

mod made_up;

use super::*;
use crate::journal::{Alive, Call, Entry, Event, Line, Phase};
use made_up::{A, B, C, MS, TRACE, call, good, run, write};

/// Holds that the judge finds a violation of the promise, with these words, and that without
/// the change there is none.
#[track_caller]
fn broken(promise: Promise, words: &str, change: impl FnOnce(&mut Evidence)) {
    let mut evidence = good();
    change(&mut evidence);
    let verdict = judge(&evidence);
    let found = verdict
        .violations()
        .any(|(of, text)| of == promise && text.contains(words));
    assert!(found, "{:#?}", verdict.faults());
    assert_eq!(verdict.outcome(), Outcome::Broken);
}

fn operation<'a>(evidence: &'a mut Evidence, id: &str) -> &'a mut Final {
    let place = evidence.finals.iter().position(|one| one.id == id);
    &mut evidence.finals[place.unwrap()]
}

fn line<'a>(evidence: &'a mut Evidence, event: Event, id: &str, fence: u64) -> &'a mut Entry {
    let is = |entry: &Entry| entry.event == event && entry.id == id && entry.fence == fence;
    let place = evidence.history.runs.iter().position(is);
    &mut evidence.history.runs[place.unwrap()]
}

/// Removes the evidence that process 1 stood still.
fn never_still(evidence: &mut Evidence) {
    let alive = (0..2_000).map(|ms| Alive {
        pid: 1,
        at_ns: ms * MS,
    });
    evidence.history.alive.extend(alive);
    evidence.history.alive.sort_by_key(|alive| alive.at_ns);
}

#[test]
fn a_history_without_a_fault_of_ours_is_good_and_tests_every_promise() {
    let verdict = judge(&good());
    assert_eq!(verdict.faults(), [""; 0]);
    assert_eq!(verdict.outcome(), Outcome::Kept);
    for tested in &verdict.promises {
        assert!(tested.tested > 0, "{tested:?}");
        assert_eq!(tested.not_tested, None);
    }
    let expected = Tally {
        operations: 3,
        succeeded: 2,
        canceled: 1,
        runs: 3,
        take_overs: 1,
        stale_runs: 1,
        calls: 4,
        accepted_writes: 3,
        refused_writes: 1,
        ..Tally::default()
    };
    assert_eq!(verdict.tally, expected);
}

#[test]
fn what_is_not_there_is_not_tested_and_says_why() {
    let verdict = judge(&Evidence::default());
    assert_eq!(verdict.faults(), [""; 0]);
    for tested in &verdict.promises {
        assert!(tested.not_tested.is_some(), "{tested:?}");
    }
}

#[test]
fn a_fault_that_has_not_happened_makes_a_run_void() {
    let mut evidence = Evidence {
        needs: good().needs,
        ..Evidence::default()
    };
    evidence.needs.counted[0].1 = 0;
    let verdict = judge(&evidence);
    assert_eq!(verdict.outcome(), Outcome::Void);
    assert_eq!(verdict.void.len(), 3, "{:?}", verdict.void);
    assert!(verdict.faults()[2].contains("when it was wiped"));
}

#[test]
fn an_answered_id_that_is_lost_is_found_though_another_one_was_doubled() {
    broken(Promise::P1, "is in no list", |evidence| {
        let doubled = Final {
            id: C.replace('c', "d"),
            ..operation(evidence, C).clone()
        };
        evidence.finals.push(doubled);
        evidence.finals.retain(|one| one.id != B);
    });
    broken(Promise::P1, "1 times too often", |evidence| {
        let doubled = Final {
            id: "another".to_owned(),
            ..operation(evidence, C).clone()
        };
        evidence.finals.push(doubled);
    });
    broken(Promise::P1, "is listed twice", |evidence| {
        let twice = operation(evidence, C).clone();
        evidence.finals.push(twice);
    });
}

#[test]
fn ends_of_calls_are_held_against_the_list() {
    let end = |evidence: &mut Evidence, phase: Phase| {
        let calls = evidence.history.calls.iter_mut();
        let mut ends = calls.filter(|call| call.key == "c" && call.phase != Phase::Invoke);
        ends.next().unwrap().phase = phase;
    };
    broken(Promise::P1, "was refused, and is there", |evidence| {
        end(
            evidence,
            Phase::Fail {
                why: "no".to_owned(),
            },
        );
    });
    broken(Promise::P1, "several ids", |evidence| {
        let calls = &mut evidence.history.calls;
        let again = calls
            .iter()
            .find(|call| call.key == "c" && call.phase != Phase::Invoke);
        let other = Call {
            phase: Phase::Ok { id: B.to_owned() },
            ..again.unwrap().clone()
        };
        calls.push(other);
    });
    broken(Promise::P1, "by no call", |evidence| {
        evidence.history.calls.retain(|call| call.key != "c");
    });
    // A call without an answer may or may not have been done.
    let mut unknown = good();
    end(
        &mut unknown,
        Phase::Unknown {
            why: "cut".to_owned(),
        },
    );
    assert_eq!(judge(&unknown).outcome(), Outcome::Kept);
    unknown.history.calls.retain(|call| call.action == "create");
    unknown.blocked.clear();
    unknown.finals.retain(|one| one.id != C);
    assert_eq!(judge(&unknown).faults(), [""; 0]);
}

#[test]
fn what_is_not_completed_and_what_nobody_knows_is_found() {
    broken(Promise::P1, "stays with status 10", |evidence| {
        operation(evidence, C).status = 10;
    });
    broken(Promise::P1, "does not know it", |evidence| {
        evidence.finals.retain(|one| one.id != B);
        evidence.history.calls.retain(|call| call.key != "b");
    });
}

#[test]
fn two_handlers_at_once_are_found_whatever_was_done_to_their_process() {
    // The lock was given back, and the handler runs on.
    broken(Promise::P2, "given back (release)", |evidence| {
        let changes = operation(evidence, A).changes.as_mut().unwrap();
        changes.entries[2].event = "release".to_owned();
    });
    // The lock was lost, and the process has lived all the time.
    broken(Promise::P2, "never silent", never_still);
    // The process stood still for a moment, and not for as long as a lease.
    broken(Promise::P2, "never silent", |evidence| {
        line(evidence, Event::Start, A, 2).at_ns = 300 * MS;
    });
    broken(Promise::P2, "began beside", |evidence| {
        operation(evidence, A).changes = None;
    });
    // The operations of one token.
    broken(Promise::P3, "given back (succeed)", |evidence| {
        line(evidence, Event::Start, B, 3).at_ns = 1_250 * MS;
    });
    broken(Promise::P2, "lives on", |evidence| {
        let runs = &mut evidence.history.runs;
        runs.retain(|entry| !(entry.event == Event::End && entry.id == B));
    });
    broken(Promise::P2, "started twice under fence 3", |evidence| {
        let again = line(evidence, Event::Start, B, 3).clone();
        evidence.history.runs.insert(0, again);
    });
}

#[test]
fn a_process_that_was_killed_has_no_end_to_show() {
    let mut killed = good();
    killed
        .history
        .alive
        .retain(|alive| alive.pid != 1 || alive.at_ns < 20 * MS);
    killed
        .history
        .runs
        .retain(|entry| entry.fence != 1 || entry.event == Event::Start);
    killed.history.writes.retain(|write| write.accepted);
    killed.needs.refused_writes = false;
    assert_eq!(judge(&killed).faults(), [""; 0]);
    // Another worker must not take over before its lease has ended.
    for entry in &mut killed.history.runs {
        if entry.fence == 2 && entry.event == Event::Start {
            entry.at_ns = 200 * MS;
        }
    }
    let found = judge(&killed).faults();
    assert!(
        found.iter().any(|text| text.contains("never silent")),
        "{found:?}"
    );
}

#[test]
fn a_start_that_is_not_counted_or_has_no_reason_is_found() {
    broken(Promise::P2, "started 2 times, counted 1", |evidence| {
        operation(evidence, A).starts = 1;
    });
    broken(Promise::P2, "has 0 reasons", |evidence| {
        operation(evidence, A).reasons = Some(0);
    });
    broken(Promise::P2, "must not start twice", |evidence| {
        operation(evidence, A).at_most_once = true;
    });
    broken(Promise::P2, "without a start", |evidence| {
        evidence.history.runs.retain(|entry| entry.id != B);
    });
}

#[test]
fn a_second_outcome_and_one_that_no_handler_has_reported_are_found() {
    broken(Promise::P2, "which never ran", |evidence| {
        operation(evidence, A).accepted = Some(9);
    });
    broken(Promise::P2, "has reported no success", |evidence| {
        operation(evidence, A).accepted = Some(1);
    });
    broken(Promise::P2, "the outcome of attempt 1", |evidence| {
        let report = Entry {
            event: Event::Report,
            ..line(evidence, Event::End, A, 1).clone()
        };
        evidence.history.runs.insert(1, report);
        operation(evidence, A).accepted = Some(1);
    });
}

#[test]
fn the_sink_accepts_the_writes_of_holders_and_no_others() {
    broken(Promise::P2, "had not lost its lock", |evidence| {
        evidence.history.writes[2].accepted = false;
    });
    broken(Promise::P2, "accepted fence 1", |evidence| {
        evidence.history.writes[3].accepted = true;
    });
    broken(Promise::P3, "after its successor", |evidence| {
        evidence.history.writes[3].accepted = true;
        evidence.history.writes[3].fence = 4;
    });
    broken(Promise::P2, "the sink has no write of it", |evidence| {
        evidence.history.writes.remove(2);
    });
}

#[test]
fn a_successor_that_overtakes_is_found_whatever_its_predecessor_does() {
    broken(Promise::P3, "after its successor", |evidence| {
        for entry in &mut evidence.history.runs {
            if entry.id == A && entry.fence == 2 {
                entry.fence = 4;
            }
        }
    });
    broken(Promise::P3, "was not Completed", |evidence| {
        operation(evidence, A).completed_ns = Some(1_700 * MS);
    });
    // Its predecessor never ran, or never ended.
    broken(Promise::P3, "was not Completed", |evidence| {
        operation(evidence, C).place = Some((0, 0));
        operation(evidence, A).place = Some((1, 0));
    });
    broken(Promise::P3, "was not Completed", |evidence| {
        operation(evidence, A).completed_ns = None;
    });
}

#[test]
fn a_token_that_holds_up_another_one_is_found() {
    broken(Promise::P4, "while 1 tokens stood still", |evidence| {
        operation(evidence, B).completed_ns = Some(1_950 * MS);
    });
    broken(Promise::P4, "while 1 tokens stood still", |evidence| {
        operation(evidence, B).completed_ns = None;
    });
}

#[test]
fn an_illegal_transition_is_found() {
    broken(
        Promise::P5,
        "from WaitingForResources to Succeeded by succeed",
        |evidence| {
            let changes = operation(evidence, B).changes.as_mut().unwrap();
            changes.entries.remove(1);
            changes.entries[1].number = 2;
        },
    );
    broken(Promise::P5, "by teleport", |evidence| {
        let changes = operation(evidence, B).changes.as_mut().unwrap();
        changes.entries[1].event = "teleport".to_owned();
    });
}

#[test]
fn a_run_in_another_trace_is_found() {
    broken(Promise::P6, "is in the trace", |evidence| {
        line(evidence, Event::Start, A, 2).trace = TRACE.replace('4', "5");
    });
    broken(Promise::P6, "is in the trace", |evidence| {
        operation(evidence, B).trace = Some(TRACE.replace('4', "5"));
    });
}

#[test]
fn a_request_that_is_answered_otherwise_is_found() {
    broken(Promise::P7, "was answered 201, not 401", |evidence| {
        evidence.probes[0].answered = Some(201);
    });
    let mut unanswered = good();
    unanswered.probes[0].answered = None;
    let verdict = judge(&unanswered);
    assert!(verdict.of(Promise::P7).unwrap().not_tested.is_some());
}

#[test]
fn what_is_not_on_record_is_found() {
    broken(Promise::P8, "has version 4", |evidence| {
        operation(evidence, B).version = 4;
    });
    broken(Promise::P8, "its last entry says", |evidence| {
        let changes = operation(evidence, B).changes.as_mut().unwrap();
        changes.entries[2].status = "Failed".to_owned();
    });
    broken(Promise::P8, "1 losses are on record", |evidence| {
        operation(evidence, A).lost = 2;
    });
    broken(Promise::P8, "attempt 2", |evidence| {
        let changes = operation(evidence, A).changes.as_mut().unwrap();
        changes.entries[3].attempt = 1;
    });
    broken(Promise::P8, "the pause by drill", |evidence| {
        let changes = operation(evidence, C).changes.as_mut().unwrap();
        changes.entries[1].actor.name = "another".to_owned();
    });
    broken(Promise::P8, "nothing says who", |evidence| {
        let changes = operation(evidence, C).changes.as_mut().unwrap();
        changes.entries[1].actor.name.clear();
    });
}

#[test]
fn a_long_history_says_what_it_has_kept() {
    let mut long = good();
    // Nothing is known about the lock that was lost.
    long.needs.take_overs = false;
    let lost = operation(&mut long, A);
    lost.version += 10;
    let changes = lost.changes.as_mut().unwrap();
    changes.omitted = 10;
    for entry in &mut changes.entries[2..] {
        entry.number += 10;
    }
    let verdict = judge(&long);
    assert_eq!(verdict.outcome(), Outcome::Kept, "{:?}", verdict.faults());
    assert_eq!(verdict.tally.unjudged_runs, 1);
}

#[test]
fn lines_come_back_from_a_file_as_they_were() {
    let folder = std::env::temp_dir().join(format!("drumline-oracle-{}", std::process::id()));
    // A test of the same process id may have left it behind.
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("journal.jsonl");
    let journal = journal::Journal::open(&path).unwrap();
    let lines = [
        Line::Run(run(Event::Start, A, 0, (1, 1, 1), 10)),
        Line::Alive(Alive { pid: 1, at_ns: 5 }),
        write(1, A, 0, 1, true),
        call(
            1,
            "create",
            "a",
            Phase::Unknown {
                why: "cut".to_owned(),
            },
            1,
        ),
    ];
    for line in &lines {
        journal.append(line).unwrap();
    }
    let read = journal::History::read(&[&path]).unwrap();
    let expected = journal::History::of(lines.to_vec());
    assert_eq!(format!("{read:?}"), format!("{expected:?}"));
    std::fs::remove_dir_all(&folder).unwrap();
}

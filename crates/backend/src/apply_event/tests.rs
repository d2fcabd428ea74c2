//! The loop against a store that answers as it is told.

use std::collections::VecDeque;
use std::sync::Mutex;

use drumline_protocol::operation::first_header;
use drumline_protocol::{CommitId, OperationType, Partition, Progress, Rules, Status};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// Answers commits as it is told, and keeps them.
struct Scripted {
    answers: Mutex<VecDeque<Committed>>,
    commits: Mutex<Vec<Commit>>,
    report: Report,
}

impl Commits for Scripted {
    fn now(&self) -> Timestamp {
        NOW
    }

    async fn commit_one(&self, commit: Commit) -> store::Result<Committed> {
        self.commits.lock().unwrap().push(commit);
        Ok(self.answers.lock().unwrap().pop_front().unwrap())
    }

    async fn report_of(&self, _id: OperationId) -> store::Result<Option<Report>> {
        Ok(Some(self.report.clone()))
    }
}

fn header(version: u64) -> Header {
    let rules = Rules {
        operation_type: OperationType::default(),
        ..Rules::default()
    };
    Header {
        version,
        ..first_header(rules, None, CommitId(version), NOW)
    }
}

fn scripted(answers: impl Into<VecDeque<Committed>>, percent: u8) -> Scripted {
    Scripted {
        answers: Mutex::new(answers.into()),
        commits: Mutex::default(),
        report: report(percent),
    }
}

fn report(percent: u8) -> Report {
    let text = String::new();
    Report {
        progress: Some(Progress { percent, text }),
        ..Report::default()
    }
}

fn conflict(version: u64) -> Committed {
    Committed::Conflict(Box::new(header(version)))
}

fn id() -> OperationId {
    OperationId::new(NOW, Partition::new(0), [7; 16])
}

#[tokio::test]
async fn after_a_conflict_the_event_is_chosen_on_the_newest_header() {
    let done = Committed::Done(Box::default());
    let commits = scripted([conflict(5), conflict(6), done], 0);
    let mut seen = Vec::new();
    let choose = |header: &Header| -> store::Result<Event> {
        seen.push(header.version);
        Ok(Event::Pause)
    };
    let (ids, old) = (Ids::seeded(1), report(0));
    let author = Author::manager("a task");
    let by = Signature::new(&ids, &author);
    let guard = Guard::None;
    let applied = apply_chosen_event(&commits, by, id(), header(1), choose, guard, &old);
    let Applied::Done(after, _) = applied.await.unwrap() else {
        panic!("not done");
    };
    assert_eq!((after.version, after.status), (7, Status::Waiting));
    assert_eq!(seen, [1, 5, 6]);
    let expected: Vec<u64> = commits
        .commits
        .lock()
        .unwrap()
        .iter()
        .map(|one| one.expected)
        .collect();
    assert_eq!(expected, [1, 5, 6]);
}

#[tokio::test]
async fn after_a_conflict_a_fault_is_put_into_the_newest_report() {
    let done = Committed::Done(Box::default());
    let commits = scripted([conflict(5), done], 80);
    let (ids, old) = (Ids::seeded(1), report(10));
    let author = Author::manager("a task");
    let by = Signature::new(&ids, &author);
    let event = Event::Unhandled;
    let guard = Guard::None;
    let applied = apply_event_through(&commits, by, id(), header(1), event, guard, &old);
    assert!(matches!(applied.await.unwrap(), Applied::Done(..)));
    let commits = commits.commits.into_inner().unwrap();
    let percents: Vec<u8> = commits
        .iter()
        .map(|commit| {
            commit
                .report
                .as_ref()
                .unwrap()
                .progress
                .as_ref()
                .unwrap()
                .percent
        })
        .collect();
    assert_eq!(percents, [10, 80]);
    assert!(commits[1].report.as_ref().unwrap().fault.is_some());
}

#[tokio::test]
async fn an_operation_that_changes_over_and_over_is_given_up() {
    let answers: Vec<Committed> = (2..=1 + ROUNDS as u64).map(conflict).collect();
    let commits = scripted(answers, 0);
    let (ids, old) = (Ids::seeded(1), report(0));
    let author = Author::manager("a task");
    let by = Signature::new(&ids, &author);
    let event = Event::Pause;
    let guard = Guard::None;
    let applied = apply_event_through(&commits, by, id(), header(1), event, guard, &old);
    let error = applied.await.unwrap_err();
    assert!(
        matches!(error, store::Error::Unavailable { .. }),
        "{error:?}"
    );
    assert_eq!(commits.commits.lock().unwrap().len(), ROUNDS);
}

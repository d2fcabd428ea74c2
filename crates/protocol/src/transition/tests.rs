//! The whole grid: every status × every event, written out as a table.

use super::*;
use crate::kind::OperationType;
use crate::operation::{Rules, first_header};
use crate::retry::RetryPolicy;
use crate::status::State;
use crate::token::ChainKey;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const LATER: Timestamp = Timestamp::from_millis(1_060_000);

fn at() -> At {
    At {
        now: NOW,
        commit: CommitId(7),
    }
}

fn rules() -> Rules {
    Rules {
        operation_type: OperationType::DEFAULT,
        chain: Some(ChainKey::from_bytes([1; 16])),
        at_most_once: false,
        retry: RetryPolicy {
            jitter_percent: 0,
            ..RetryPolicy::default()
        },
    }
}

/// A header that has come to `status` in a plausible way.
fn header(status: Status) -> Header {
    let mut header = first_header(rules(), None, CommitId(1), Timestamp::from_millis(0));
    header.status = status;
    header.version = 5;
    match status {
        Status::WaitingForResources => {}
        Status::Waiting => header.postpone_until = Some(NOW),
        Status::InProgress | Status::Canceling => {
            header.started_on = Some(Timestamp::from_millis(990_000));
        }
        Status::Pausing => {
            header.started_on = Some(Timestamp::from_millis(990_000));
            header.stop = Some(StopRequest::Pause);
        }
        Status::Succeeded | Status::Failed | Status::Canceled => header.completed_on = Some(NOW),
    }
    header
}

fn fault() -> Fault {
    Fault::new(
        ErrorCode::NETWORK_ERROR,
        "the line is down",
        "connect: ECONNREFUSED",
    )
}

fn events() -> Vec<Event> {
    vec![
        Event::Claim {
            host: "w1".to_owned(),
        },
        Event::Succeed,
        Event::Fail(fault()),
        Event::Retry {
            fault: fault(),
            after: None,
            jitter: Jitter(0),
        },
        Event::Suspend(fault()),
        Event::Stopped,
        Event::Release,
        Event::LeaseExpired,
        Event::Pause,
        Event::Resume,
        Event::Postpone(LATER),
        Event::Cancel,
        Event::Due,
        Event::Unhandled,
        Event::Delete,
    ]
}

/// Rows: the events above. Columns: the eight statuses. `-` is refused.
const GRID: &str = "
    #             0   10  20  21  22  30  31  32
    claim         20  -   -   -   -   -   -   -
    succeed       -   -   30  30  30  -   -   -
    fail          -   -   31  31  31  -   -   -
    retry         -   -   10  -   -   -   -   -
    suspend       -   -   10  10  -   -   -   -
    stopped       -   -   -   10  32  -   -   -
    release       -   -   0   10  32  -   -   -
    lease_expired -   -   0   10  32  -   -   -
    pause         10  -   21  -   -   -   -   -
    resume        -   0   -   -   -   -   -   -
    postpone      10  10  21  -   -   -   -   -
    cancel        32  32  22  22  -   -   -   -
    due           -   0   -   -   -   -   -   -
    unhandled     10  -   -   -   -   -   -   -
    delete        -   -   -   -   -   30  31  32
";

#[test]
fn the_whole_grid() {
    let rows: Vec<Vec<&str>> = GRID
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| row.first().is_some_and(|word| *word != "#"))
        .collect();
    assert_eq!(rows.len(), events().len());
    for (row, event) in rows.iter().zip(events()) {
        assert_eq!(row[0].replace('_', " "), event.name());
        for (status, expected) in Status::ALL.into_iter().zip(&row[1..]) {
            let before = header(status);
            let got = apply(&before, event.clone(), at());
            let shown = got
                .as_ref()
                .map_or("-".to_owned(), |t| t.header.status.code().to_string());
            assert_eq!(shown, *expected, "{} × {status:?}", event.name());
            if let Ok(transition) = got {
                consistent(&before, &transition);
            }
        }
    }
}

/// What must hold after every transition, whichever it was.
fn consistent(before: &Header, transition: &Transition) {
    let Transition {
        header, effects, ..
    } = transition;
    assert_eq!(header.version, before.version + 1);
    assert_eq!(header.commit, CommitId(7));
    assert_eq!(header.modified_on, NOW);
    if effects.remove {
        return;
    }
    let (from, to) = (before.status.state(), header.status.state());
    assert!(
        (from, to) != (State::Suspended, State::Locked),
        "never Suspended → Locked"
    );
    assert_eq!(header.completed_on.is_some(), to == State::Completed);
    assert_eq!(header.stop.is_some(), header.status == Status::Pausing);
    assert!(header.postpone_until.is_none() || to == State::Suspended);
    let lock = match (from == State::Locked, to == State::Locked) {
        (false, false) => LockEffect::Keep,
        (false, true) => LockEffect::Take,
        (true, true) => LockEffect::AskToStop,
        (true, false) => LockEffect::Release,
    };
    assert_eq!(effects.lock, lock);
    let chain = match to {
        State::Completed => ChainEffect::Leave,
        State::Locked if from == State::Ready => ChainEffect::RequireHead,
        State::Locked | State::Ready | State::Suspended => ChainEffect::Keep,
    };
    assert_eq!(effects.chain, chain);
    assert_eq!(effects.notify, to == State::Completed);
    let offer = match (from, to) {
        (_, State::Ready) => OfferEffect::Add,
        (State::Ready, _) => OfferEffect::Withdraw,
        _ => OfferEffect::Keep,
    };
    assert_eq!(effects.offer, offer);
    let due = match (header.postpone_until, from) {
        (Some(until), _) => DueEffect::Set(until),
        (None, State::Suspended) => DueEffect::Clear,
        (None, _) => DueEffect::Keep,
    };
    assert_eq!(effects.due, due);
}

#[test]
fn the_legal_actions_are_those_that_apply_accepts() {
    for operation_type in [54, 9] {
        for status in Status::ALL {
            let mut header = header(status);
            header.rules.operation_type = OperationType(operation_type);
            for action in Action::ALL {
                let event = match action {
                    Action::Cancel => Event::Cancel,
                    Action::Pause => Event::Pause,
                    Action::Resume => Event::Resume,
                    Action::Postpone => Event::Postpone(LATER),
                    Action::Delete => Event::Delete,
                };
                let accepted = apply(&header, event, at()).is_ok();
                let listed = legal_actions(&header).contains(&action);
                assert_eq!(
                    accepted, listed,
                    "{action:?} × {status:?} × {operation_type}"
                );
            }
        }
    }
}

#[test]
fn a_refusal_says_why_and_what_would_be_legal() {
    let refused = apply(&header(Status::Succeeded), Event::Cancel, at()).unwrap_err();
    assert_eq!(refused.code, ErrorCode::CANNOT_CANCEL);
    assert_eq!(refused.legal, [Action::Delete]);
    assert_eq!(
        refused.to_string(),
        "cancel is not possible: the operation is Completed (Succeeded)"
    );
}

#[test]
fn restricted_types_are_closed_to_clients_but_can_be_postponed() {
    let mut header = header(Status::WaitingForResources);
    header.rules.operation_type = OperationType(31);
    for event in [Event::Cancel, Event::Pause] {
        let refused = apply(&header, event, at()).unwrap_err();
        assert!(refused.why.is_some(), "{refused}");
    }
    assert!(apply(&header, Event::Postpone(LATER), at()).is_ok());
}

#[test]
fn a_start_is_counted_before_it_happens_and_a_drained_one_is_taken_back() {
    let claim = Event::Claim {
        host: "w1".to_owned(),
    };
    let claimed = apply(&header(Status::WaitingForResources), claim, at())
        .unwrap()
        .header;
    assert_eq!((claimed.starts, claimed.attempt()), (1, 1));
    assert_eq!(claimed.host_id.as_deref(), Some("w1"));
    let released = apply(&claimed, Event::Release, at()).unwrap().header;
    assert_eq!((released.starts, released.attempt()), (1, 0));
}

#[test]
fn retries_follow_the_policy_and_end() {
    let retry = |header: &Header, after| {
        let event = Event::Retry {
            fault: fault(),
            after,
            jitter: Jitter(0),
        };
        apply(header, event, at()).unwrap()
    };
    let mut locked = header(Status::InProgress);
    locked.rules.retry.max_retries = 1;
    let first = retry(&locked, None);
    assert_eq!(first.header.retry_count, 1);
    assert_eq!(
        first.header.postpone_until,
        Some(NOW.saturating_add(Duration::from_secs(5)))
    );
    let asked = retry(&locked, Some(Duration::from_secs(60)));
    assert_eq!(asked.header.postpone_until, Some(LATER));

    locked.retry_count = 1;
    assert_eq!(retry(&locked, None).header.status, Status::Failed);
    locked.rules.retry.exhausted = Exhausted::Suspend;
    let last = retry(&locked, None);
    assert_eq!(
        (last.header.status, last.header.postpone_until),
        (Status::Waiting, None)
    );
    assert_eq!(last.fault, Some(fault()));
}

#[test]
fn at_most_once_fails_instead_of_starting_again() {
    let mut locked = header(Status::InProgress);
    locked.rules.at_most_once = true;
    let retry = Event::Retry {
        fault: fault(),
        after: None,
        jitter: Jitter(0),
    };
    for event in [Event::LeaseExpired, Event::Release, retry] {
        let transition = apply(&locked, event, at()).unwrap();
        assert_eq!(transition.header.status, Status::Failed);
        assert!(transition.fault.is_some());
    }
}

#[test]
fn an_operation_that_takes_its_workers_down_is_contained() {
    let mut locked = header(Status::InProgress);
    locked.rules.retry.max_lost = 2;
    for expected in [
        Status::WaitingForResources,
        Status::WaitingForResources,
        Status::Failed,
    ] {
        let after = apply(&locked, Event::LeaseExpired, at()).unwrap().header;
        assert_eq!(after.status, expected);
        locked.lost = after.lost;
    }
}

#[test]
fn a_postponed_running_operation_wakes_when_it_was_told_to() {
    let pausing = apply(&header(Status::InProgress), Event::Postpone(LATER), at())
        .unwrap()
        .header;
    let waiting = apply(&pausing, Event::Stopped, at()).unwrap();
    assert_eq!(waiting.header.postpone_until, Some(LATER));
    assert_eq!(waiting.effects.due, DueEffect::Set(LATER));
}

#[test]
fn nothing_wakes_before_its_time() {
    let mut waiting = header(Status::Waiting);
    waiting.postpone_until = Some(LATER);
    assert!(apply(&waiting, Event::Due, at()).is_err());
    waiting.postpone_until = None;
    assert!(apply(&waiting, Event::Due, at()).is_err());
}

#[test]
fn time_in_handlers_adds_up() {
    let first = apply(&header(Status::InProgress), Event::Release, at())
        .unwrap()
        .header;
    assert_eq!(first.execution_ms, 10_000);
    let mut again = header(Status::InProgress);
    again.execution_ms = first.execution_ms;
    let done = apply(&again, Event::Succeed, at()).unwrap().header;
    assert_eq!(done.execution_ms, 20_000);
}

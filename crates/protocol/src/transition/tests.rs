//! The whole grid: every status × every event, written out as a table.

use std::time::Duration;

use super::*;
use crate::kind::OperationType;
use crate::operation::{Recurrence, TokenPolicy};
use crate::page::states::samples::{LATER, NOW, at, events, fault, header, occurrence, recurrence};
use crate::retry::{Exhausted, Jitter};
use crate::status::State;

/// Rows: the events of the samples. Columns: the eight statuses. `-` is refused.
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
    discard       32  32  22  22  -   -   -   -
    due           -   0   -   -   -   -   -   -
    occur         -   -   -   -   -   -   -   -
    occur         -   -   -   -   -   -   -   -
    reschedule    -   -   -   -   -   -   -   -
    unhandled     10  -   -   -   -   -   -   -
    throttle      10  -   -   -   -   -   -   -
    delete        -   -   -   -   -   30  31  32
";

/// A series is Waiting until it is Completed; no worker ever sees it. The
/// second row of `occur` is the last time of its rule.
const SERIES: &str = "
    #             10  30  31  32
    claim         -   -   -   -
    succeed       -   -   -   -
    fail          -   -   -   -
    retry         -   -   -   -
    suspend       -   -   -   -
    stopped       -   -   -   -
    release       -   -   -   -
    lease_expired -   -   -   -
    pause         10  -   -   -
    resume        -   -   -   -
    postpone      10  -   -   -
    cancel        32  -   -   -
    discard       32  -   -   -
    due           -   -   -   -
    occur         10  -   -   -
    occur         30  -   -   -
    reschedule    10  -   -   -
    unhandled     -   -   -   -
    throttle      -   -   -   -
    delete        -   30  31  32
";

/// An operation that holds its chain: nothing but resume lets go of it.
const HOLDING: &str = "
    #             31  32
    claim         -   -
    succeed       -   -
    fail          -   -
    retry         -   -
    suspend       -   -
    stopped       -   -
    release       -   -
    lease_expired -   -
    pause         -   -
    resume        31  32
    postpone      -   -
    cancel        -   -
    discard       -   -
    due           -   -
    occur         -   -
    occur         -   -
    reschedule    -   -
    unhandled     -   -
    throttle      -   -
    delete        -   -
";

#[test]
fn the_whole_grid() {
    grid(GRID, header);
}

#[test]
fn the_whole_grid_where_a_failure_holds_the_chain() {
    grid(GRID, |status| {
        let mut header = header(status);
        header.rules.token_policy = TokenPolicy::Hold;
        header
    });
}

#[test]
fn the_whole_grid_of_a_series() {
    grid(SERIES, series);
}

#[test]
fn the_whole_grid_of_an_operation_that_holds_its_chain() {
    grid(HOLDING, |status| {
        let mut header = header(status);
        header.rules.token_policy = TokenPolicy::Hold;
        header.holding = true;
        header
    });
}

fn series(status: Status) -> Header {
    let mut header = header(status);
    header.rules.chain = None;
    header.recurrence = Some(recurrence());
    header
}

/// Holds a table against [`apply`].
fn grid(table: &str, header: impl Fn(Status) -> Header) {
    let columns: Vec<Status> = table
        .lines()
        .find_map(|line| line.trim().strip_prefix('#'))
        .unwrap()
        .split_whitespace()
        .map(|code| Status::from_code(code.parse().unwrap()).unwrap())
        .collect();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| row.first().is_some_and(|word| *word != "#"))
        .collect();
    assert_eq!(rows.len(), events().len());
    for (row, event) in rows.iter().zip(events()) {
        assert_eq!(row[0].replace('_', " "), event.name());
        assert_eq!(row.len(), columns.len() + 1, "{}", event.name());
        for (&status, expected) in columns.iter().zip(&row[1..]) {
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
    let ends = from != State::Completed && to == State::Completed;
    let held = header.rules.token_policy == TokenPolicy::Hold
        && matches!(header.status, Status::Failed | Status::Canceled);
    let chain = match to {
        _ if header.rules.chain.is_none() => ChainEffect::Keep,
        // Resumed: its chain goes on.
        State::Completed if !ends => ChainEffect::Leave,
        State::Completed if header.holding => ChainEffect::Hold,
        State::Completed => ChainEffect::Leave,
        State::Locked if from == State::Ready => ChainEffect::RequireHead,
        State::Locked | State::Ready | State::Suspended => ChainEffect::Keep,
    };
    assert_eq!(effects.chain, chain);
    assert!(held || !header.holding);
    assert_eq!(effects.end.is_some(), ends);
    assert_eq!(effects.tell, ends && header.rules.webhook);
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
    let mut headers: Vec<Header> = Status::ALL.into_iter().map(header).collect();
    for status in [Status::Failed, Status::Canceled] {
        let mut holding = header(status);
        holding.holding = true;
        headers.push(holding);
    }
    for status in [Status::Waiting, Status::Succeeded, Status::Canceled] {
        headers.push(series(status));
    }
    let mut paused = series(Status::Waiting);
    paused.postpone_until = None;
    headers.push(paused);
    for mut header in headers {
        for operation_type in [54, 9] {
            header.rules.operation_type = OperationType(operation_type);
            for action in Action::ALL {
                let listed = legal_actions(&header).contains(&action);
                let accepted = apply(&header, asked(&header, action), at()).is_ok();
                // Of a series that is not paused, the rule can be changed, but
                // there is nothing to resume.
                let waits = header.is_series() && header.postpone_until.is_some();
                if waits && action == Action::Resume {
                    assert!(accepted && !listed);
                } else {
                    assert_eq!(accepted, listed, "{action:?} × {header:?}");
                }
            }
        }
    }
}

/// The event that a client's wish stands for.
fn asked(header: &Header, action: Action) -> Event {
    match action {
        Action::Cancel => Event::Cancel,
        Action::Pause => Event::Pause,
        Action::Resume if header.is_series() => Event::Reschedule {
            recurrence: recurrence(),
            next: Some(LATER),
        },
        Action::Resume => Event::Resume,
        Action::Postpone => Event::Postpone(LATER),
        Action::Delete => Event::Delete,
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

#[test]
fn the_end_says_how_long_it_is_worth_keeping() {
    let end = |event, transient| {
        let mut header = header(Status::InProgress);
        header.rules.transient = transient;
        apply(&header, event, at()).unwrap().effects.end
    };
    assert_eq!(end(Event::Succeed, false), Some(EndClass::Succeeded));
    assert_eq!(end(Event::Succeed, true), Some(EndClass::Transient));
    for transient in [false, true] {
        let failed = end(Event::Fail(fault()), transient);
        assert_eq!(failed, Some(EndClass::Unsuccessful));
    }
}

#[test]
fn an_end_is_told_once_and_only_where_it_was_asked_for() {
    let mut running = header(Status::InProgress);
    running.rules.token_policy = TokenPolicy::Hold;
    let fail = |header: &Header| apply(header, Event::Fail(fault()), at()).unwrap();
    assert!(!fail(&running).effects.tell);
    running.rules.webhook = true;
    let failed = fail(&running);
    assert!(failed.effects.tell);
    // Neither a resume nor a removal is another end.
    let resumed = apply(&failed.header, Event::Resume, at()).unwrap();
    assert_eq!((resumed.effects.tell, resumed.effects.end), (false, None));
    let removed = apply(&resumed.header, Event::Delete, at()).unwrap();
    assert_eq!((removed.effects.tell, removed.effects.end), (false, None));
}

#[test]
fn a_failed_or_cancelled_operation_holds_its_chain_until_it_is_resumed() {
    let held = |status, event| {
        let mut header = header(status);
        header.rules.token_policy = TokenPolicy::Hold;
        let ended = apply(&header, event, at()).unwrap();
        assert_eq!(ended.effects.chain, ChainEffect::Hold);
        assert!(ended.header.holding);
        ended.header
    };
    held(Status::InProgress, Event::Fail(fault()));
    held(Status::Canceling, Event::Stopped);
    held(Status::Waiting, Event::Cancel);
    let mut header = held(Status::WaitingForResources, Event::Cancel);
    // Not even a type that is closed to clients stops its chain for ever.
    header.rules.operation_type = OperationType(9);
    let refused = apply(&header, Event::Delete, at()).unwrap_err();
    assert_eq!(refused.legal, [Action::Resume]);
    assert_eq!(refused.code, ErrorCode::CANNOT_DELETE);
    assert!(refused.to_string().ends_with("resume it first"));
    let resumed = apply(&header, Event::Resume, at()).unwrap();
    assert_eq!(resumed.effects.chain, ChainEffect::Leave);
    assert_eq!(resumed.header.status, Status::Canceled);
    assert_eq!(resumed.header.completed_on, header.completed_on);
    assert!(apply(&resumed.header, Event::Delete, at()).is_ok());
}

#[test]
fn what_succeeds_or_has_no_token_or_is_discarded_holds_nothing() {
    let mut running = header(Status::InProgress);
    running.rules.token_policy = TokenPolicy::Hold;
    let succeeded = apply(&running, Event::Succeed, at()).unwrap();
    assert_eq!(succeeded.effects.chain, ChainEffect::Leave);
    let mut waiting = header(Status::Waiting);
    waiting.rules.token_policy = TokenPolicy::Hold;
    let discarded = apply(&waiting, Event::Discard, at()).unwrap();
    assert_eq!(discarded.effects.chain, ChainEffect::Leave);
    running.rules.chain = None;
    let failed = apply(&running, Event::Fail(fault()), at()).unwrap();
    assert_eq!(failed.effects.chain, ChainEffect::Keep);
    for header in [succeeded.header, discarded.header, failed.header] {
        assert!(!header.holding);
    }
}

#[test]
fn a_series_goes_from_time_to_time_and_ends_with_its_rule() {
    let series = series(Status::Waiting);
    let occur = |header: &Header, last, next| {
        let event = Event::Occur { last, next };
        apply(header, event, at()).unwrap()
    };
    let first = occur(&series, Some(occurrence()), Some(LATER));
    assert_eq!(first.effects.due, DueEffect::Set(LATER));
    let last = |header: &Header| header.recurrence.as_ref().unwrap().last;
    assert_eq!(last(&first.header), Some(occurrence()));
    let early = Event::Occur {
        last: None,
        next: None,
    };
    assert!(apply(&first.header, early, at()).is_err(), "not yet due");

    let mut again = first.header;
    again.postpone_until = Some(NOW);
    let skipped = occur(&again, None, Some(LATER));
    assert_eq!(last(&skipped.header), Some(occurrence()), "it is the last");
    let ended = occur(&again, None, None);
    assert_eq!(ended.header.status, Status::Succeeded);
    assert_eq!(ended.effects.end, Some(EndClass::Succeeded));
    assert_eq!(ended.effects.due, DueEffect::Clear);
}

#[test]
fn a_series_is_paused_changed_and_resumed() {
    let series = series(Status::Waiting);
    let paused = apply(&series, Event::Pause, at()).unwrap();
    assert_eq!(paused.effects.due, DueEffect::Clear);
    assert!(apply(&paused.header, Event::Pause, at()).is_err());
    let reschedule = |next| Event::Reschedule {
        recurrence: Recurrence {
            pattern: "FREQ=WEEKLY".to_owned(),
            ..recurrence()
        },
        next,
    };
    let changed = apply(&paused.header, reschedule(None), at()).unwrap();
    assert_eq!(changed.header.recurrence.unwrap().pattern, "FREQ=WEEKLY");
    assert_eq!(changed.header.postpone_until, None, "it is paused still");
    let resumed = apply(&paused.header, reschedule(Some(LATER)), at()).unwrap();
    assert_eq!(resumed.effects.due, DueEffect::Set(LATER));
    let other = apply(&header(Status::Waiting), reschedule(None), at()).unwrap_err();
    assert_eq!(other.code, ErrorCode::CANNOT_UPDATE_NONRECURRING);
}

#[test]
fn the_rule_of_a_series_that_has_ended_stays() {
    for status in [Status::Succeeded, Status::Canceled] {
        let change = Event::Reschedule {
            recurrence: recurrence(),
            next: Some(LATER),
        };
        let refused = apply(&series(status), change, at()).unwrap_err();
        assert_eq!(refused.code, ErrorCode::CANNOT_UPDATE_RECURRING);
        let words = refused.to_string();
        assert!(words.ends_with(", and the series has ended"), "{words}");
        assert!(
            words.starts_with("a change of the recurrence rule"),
            "{words}"
        );
    }
}

#[test]
fn a_throttled_operation_is_put_off_and_nothing_is_counted() {
    let ready = header(Status::WaitingForResources);
    let transition = apply(&ready, Event::Throttle { until: LATER }, at()).unwrap();
    let after = &transition.header;
    assert_eq!(after.postpone_until, Some(LATER));
    assert_eq!((after.starts, after.retry_count), (0, 0));
    assert_eq!(transition.effects.offer, OfferEffect::Withdraw);
    assert_eq!(transition.fault.unwrap().code, ErrorCode::THROTTLED);
}

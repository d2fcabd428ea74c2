//! The whole grid: every status × every event, written out as a table.

use std::time::Duration;

use super::*;
use crate::failure::FaultKind;
use crate::kind::OperationType;
use crate::operation::{Recurrence, Rules, TokenPolicy};
use crate::page::states::samples::{LATER, NOW, at, events, fault, header, occurrence, recurrence};
use crate::retry::{Exhausted, Jitter};
use crate::status::State;

mod chains;
mod clients;
mod expiry;
mod runs;
mod series;

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
    release       -   -   0   10  32  -   -   -
    lease_expired -   -   0   10  32  -   -   -
    pause         10  10  21  -   -   -   -   -
    resume        -   0   -   -   -   -   -   -
    postpone      10  10  21  -   -   -   -   -
    cancel        32  32  22  22  -   -   -   -
    discard       32  32  22  22  -   -   -   -
    due           -   0   -   -   -   -   -   -
    expire        -   -   -   -   -   -   -   -
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
    release       -   -   -   -
    lease_expired -   -   -   -
    pause         10  -   -   -
    resume        -   -   -   -
    postpone      10  -   -   -
    cancel        32  -   -   -
    discard       32  -   -   -
    due           -   -   -   -
    expire        -   -   -   -
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
    release       -   -
    lease_expired -   -
    pause         -   -
    resume        31  32
    postpone      -   -
    cancel        -   -
    discard       -   -
    due           -   -
    expire        -   -
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

/// Checks what must hold after every transition.
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
    let due = match (header.due_on(), from) {
        (Some(on), _) => DueEffect::Set(on),
        (None, State::Suspended) => DueEffect::Clear,
        (None, _) if before.due_on().is_some() => DueEffect::Clear,
        (None, _) => DueEffect::Keep,
    };
    assert_eq!(effects.due, due);
}

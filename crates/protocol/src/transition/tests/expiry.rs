//! Operations that expire: before, at and after their `notAfter`.

use super::*;

/// The time has come, and the operation has never started.
const EXPIRED: &str = "
    #             0   10  20  21  22  30  31  32
    claim         -   -   -   -   -   -   -   -
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
    postpone      -   -   21  -   -   -   -   -
    cancel        32  32  22  22  -   -   -   -
    discard       32  32  22  22  -   -   -   -
    due           -   0   -   -   -   -   -   -
    expire        31  31  -   -   -   -   -   -
    occur         -   -   -   -   -   -   -   -
    occur         -   -   -   -   -   -   -   -
    reschedule    -   -   -   -   -   -   -   -
    unhandled     10  -   -   -   -   -   -   -
    throttle      10  -   -   -   -   -   -   -
    delete        -   -   -   -   -   30  31  32
";

fn expiring(status: Status, not_after: Timestamp) -> Header {
    let mut header = header(status);
    header.rules.not_after = Some(not_after);
    header.starts = u32::from(matches!(
        status,
        Status::InProgress | Status::Pausing | Status::Canceling | Status::Succeeded
    ));
    header
}

fn started(status: Status) -> Header {
    Header {
        starts: 1,
        ..expiring(status, NOW)
    }
}

#[test]
fn the_whole_grid_of_an_operation_whose_time_to_start_is_over() {
    grid(EXPIRED, |status| expiring(status, NOW));
}

#[test]
fn the_whole_grid_before_the_time_to_start_is_over() {
    let much_later = LATER.saturating_add(Duration::from_secs(1));
    grid(GRID, |status| expiring(status, much_later));
}

#[test]
fn the_whole_grid_of_an_operation_that_has_started_in_time() {
    grid(GRID, started);
}

#[test]
fn the_whole_grid_where_a_failure_would_hold_the_chain() {
    grid(EXPIRED, |status| {
        let mut header = expiring(status, NOW);
        header.rules.token_policy = TokenPolicy::Hold;
        header
    });
}

#[test]
fn what_expires_fails_with_a_code_of_its_own_and_its_chain_goes_on() {
    for status in [Status::WaitingForResources, Status::Waiting] {
        let mut header = expiring(status, NOW);
        header.rules.token_policy = TokenPolicy::Hold;
        let expired = apply(&header, Event::Expire, at()).unwrap();
        assert_eq!(expired.header.status, Status::Failed);
        assert_eq!(expired.header.completed_on, Some(NOW));
        assert_eq!(expired.header.starts, 0);
        assert_eq!(expired.fault.unwrap().code, ErrorCode::EXPIRED);
        assert!(!expired.header.holding);
        assert_eq!(expired.effects.chain, ChainEffect::Leave);
        assert_eq!(expired.effects.due, DueEffect::Clear);
        assert_eq!(expired.effects.end, Some(EndClass::Unsuccessful));
    }
}

#[test]
fn nothing_expires_before_its_time_and_nothing_starts_after_it() {
    let claim = || Event::Claim {
        host: "w1".to_owned(),
    };
    let early = expiring(Status::WaitingForResources, LATER);
    assert!(apply(&early, Event::Expire, at()).is_err());
    let claimed = apply(&early, claim(), at()).unwrap();
    assert_eq!(claimed.effects.due, DueEffect::Clear);
    let late = At { now: LATER, ..at() };
    let refused = apply(&early, claim(), late).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "claim is not possible: the operation is Ready (WaitingForResources), \
         and its notAfter has come"
    );
    assert!(apply(&early, Event::Expire, late).is_ok());
}

#[test]
fn an_attempt_of_any_outcome_is_a_start() {
    let retry = Event::Retry {
        fault: fault(),
        after: Some(Duration::ZERO),
        jitter: Jitter(0),
    };
    let early = expiring(Status::WaitingForResources, LATER);
    let claim = Event::Claim {
        host: "w1".to_owned(),
    };
    let running = apply(&early, claim, at()).unwrap().header;
    for event in [Event::Release, Event::LeaseExpired, retry] {
        let after = apply(&running, event, at()).unwrap().header;
        assert_eq!(after.expires_on(), None, "{:?}", after.status);
        let late = At { now: LATER, ..at() };
        assert!(apply(&after, Event::Expire, late).is_err());
    }
}

#[test]
fn the_due_set_has_the_earlier_of_both_times() {
    let soon = NOW.saturating_add(Duration::from_secs(1));
    let early = expiring(Status::WaitingForResources, LATER);
    let due = |header: &Header, event| apply(header, event, at()).unwrap().effects.due;
    assert_eq!(due(&early, Event::Postpone(soon)), DueEffect::Set(soon));
    // Its handler may stay throttled for longer.
    assert_eq!(due(&early, Event::Throttle), DueEffect::Set(LATER));
    assert_eq!(due(&early, Event::Pause), DueEffect::Set(LATER));
    let waiting = expiring(Status::Waiting, LATER);
    assert_eq!(due(&waiting, Event::Resume), DueEffect::Set(LATER));
    assert_eq!(due(&waiting, Event::Due), DueEffect::Set(LATER));
    assert_eq!(due(&waiting, Event::Cancel), DueEffect::Clear);
}

#[test]
fn a_postponement_that_could_only_end_in_expiry_is_refused() {
    for status in [Status::WaitingForResources, Status::Waiting] {
        let header = expiring(status, LATER);
        let refused = apply(&header, Event::Postpone(LATER), at()).unwrap_err();
        assert_eq!(refused.code, ErrorCode::INVALID_SUSPENDED);
        let why = ", and it would expire first: its notAfter is not later";
        assert!(refused.to_string().ends_with(why), "{refused}");
        assert!(refused.legal.contains(&Action::Postpone), "an earlier time");
    }
    let running = started(Status::WaitingForResources);
    assert!(apply(&running, Event::Postpone(LATER), at()).is_ok());
}

#[test]
fn a_series_does_not_expire() {
    let mut series = series(Status::Waiting);
    series.rules.not_after = Some(NOW);
    assert_eq!(series.expires_on(), None);
    assert!(apply(&series, Event::Expire, at()).is_err());
}

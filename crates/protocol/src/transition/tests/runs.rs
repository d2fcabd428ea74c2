//! Starts, retries and ends of one operation.

use super::*;

#[test]
fn a_start_is_counted_before_it_happens_and_stays_counted_when_its_worker_drains() {
    let claim = Event::Claim {
        host: "w1".to_owned(),
    };
    let claimed = apply(&header(Status::WaitingForResources), claim, at())
        .unwrap()
        .header;
    assert_eq!((claimed.starts, claimed.attempt()), (1, 1));
    assert_eq!(claimed.host_id.as_deref(), Some("w1"));
    let released = apply(&claimed, Event::Release, at()).unwrap().header;
    assert_eq!((released.starts, released.attempt()), (1, 1));
    assert_eq!((released.released, released.retry_count), (1, 0));
}

#[test]
fn a_claim_whose_handler_was_not_started_leaves_no_trace_in_the_counts() {
    let mut ready = header(Status::WaitingForResources);
    ready.rules.at_most_once = true;
    ready.rules.not_after = Some(LATER);
    let claim = Event::Claim {
        host: "w1".to_owned(),
    };
    let claimed = apply(&ready, claim, at()).unwrap().header;
    let transition = apply(&claimed, Event::ReleaseUnstarted, at()).unwrap();
    let back = transition.header;
    assert_eq!(back.status, Status::WaitingForResources);
    assert_eq!((back.starts, back.released, back.execution_ms), (0, 0, 0));
    assert_eq!(back.started_on, None);
    // It can expire again, because it has never started.
    assert_eq!(transition.effects.due, DueEffect::Set(LATER));
    let claim = Event::Claim {
        host: "w2".to_owned(),
    };
    assert_eq!(apply(&back, claim, at()).unwrap().header.starts, 1);
    for (status, after) in [
        (Status::Pausing, Status::Waiting),
        (Status::Canceling, Status::Canceled),
    ] {
        let mut asked = header(status);
        asked.starts = 1;
        let next = apply(&asked, Event::ReleaseUnstarted, at()).unwrap().header;
        assert_eq!((next.status, next.starts), (after, 0));
    }
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
fn throttling_uses_up_no_retries() {
    let mut locked = header(Status::InProgress);
    locked.rules.retry.max_retries = 0;
    for code in [ErrorCode::THROTTLED, ErrorCode::TOO_MANY_REQUESTS] {
        for (after, expected) in [(None, 5), (Some(Duration::from_secs(90)), 90)] {
            let event = Event::Retry {
                fault: Fault::new(code, "Later.", "later"),
                after,
                jitter: Jitter(0),
            };
            let next = apply(&locked, event, at()).unwrap().header;
            assert_eq!((next.status, next.retry_count), (Status::Waiting, 0));
            let until = NOW.saturating_add(Duration::from_secs(expected));
            assert_eq!(next.postpone_until, Some(until));
        }
    }
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
    let suspend = Event::Suspend(fault());
    for event in [Event::LeaseExpired, Event::Release, retry, suspend] {
        let transition = apply(&locked, event, at()).unwrap();
        assert_eq!(transition.header.status, Status::Failed);
        assert!(transition.fault.is_some());
    }
}

#[test]
fn at_most_once_is_not_asked_to_pause_while_it_runs() {
    let mut locked = header(Status::InProgress);
    locked.rules.at_most_once = true;
    let later = NOW.saturating_add(Duration::from_secs(1));
    for event in [Event::Pause, Event::Postpone(later)] {
        let refused = apply(&locked, event, at()).unwrap_err();
        assert_eq!(refused.legal, [Action::Cancel]);
        assert!(refused.to_string().contains("only once"), "{refused}");
    }
    // An earlier release has asked, and the handler has run.
    let mut pausing = header(Status::Pausing);
    pausing.rules.at_most_once = true;
    for event in [Event::Stopped, Event::LeaseExpired, Event::Release] {
        let transition = apply(&pausing, event, at()).unwrap();
        assert_eq!(transition.header.status, Status::Failed);
    }
    let unstarted = apply(&pausing, Event::ReleaseUnstarted, at()).unwrap();
    assert_eq!(unstarted.header.status, Status::Waiting);
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
    let words = EndClass::ALL.map(EndClass::name);
    assert_eq!(words, ["succeeded", "unsuccessful", "transient"]);
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
fn a_throttled_operation_waits_and_nothing_is_counted() {
    let ready = header(Status::WaitingForResources);
    let transition = apply(&ready, Event::Throttle, at()).unwrap();
    let after = &transition.header;
    assert_eq!(
        (after.status, after.postpone_until),
        (Status::Waiting, None)
    );
    assert_eq!((after.starts, after.retry_count), (0, 0));
    assert_eq!(transition.effects.offer, OfferEffect::Withdraw);
    assert_eq!(transition.fault.unwrap().code, ErrorCode::THROTTLED);
}

#[test]
fn the_kind_of_the_last_fault_is_known_until_success() {
    let claim = |header: &Header| {
        let host = "w1".to_owned();
        apply(header, Event::Claim { host }, at()).unwrap().header
    };
    let throttled = apply(&header(Status::WaitingForResources), Event::Throttle, at());
    let throttled = throttled.unwrap().header;
    assert_eq!(throttled.last_fault(), None, "it was never started");
    let running = claim(&header(Status::WaitingForResources));
    let retry = Event::Retry {
        fault: fault(),
        after: None,
        jitter: Jitter(0),
    };
    let waits = apply(&running, retry, at()).unwrap().header;
    let kind = FaultKind::of(&fault());
    assert_eq!(waits.last_fault(), Some(kind));
    let again = claim(&apply(&waits, Event::Resume, at()).unwrap().header);
    assert_eq!(again.last_fault(), Some(kind));
    let mended = apply(&again, Event::Succeed, at()).unwrap().header;
    assert_eq!(mended.last_fault(), None);
    let other = Fault::new(ErrorCode::WORKER_LOST, "", "another");
    let failed = apply(&again, Event::Fail(other.clone()), at()).unwrap();
    assert_eq!(failed.header.last_fault(), Some(FaultKind::of(&other)));
}

#[test]
fn the_service_has_a_fault_for_what_it_ends_by_itself() {
    let expiring = Header {
        rules: Rules {
            not_after: Some(LATER),
            ..header(Status::WaitingForResources).rules
        },
        ..header(Status::WaitingForResources)
    };
    let fault = |event| service_fault(event, &expiring);
    let expired = fault(EventKind::Expire).unwrap();
    assert_eq!(expired.code, ErrorCode::EXPIRED);
    assert!(expired.message.contains(&LATER.to_string()), "{expired:?}");
    let lost = fault(EventKind::LeaseExpired).unwrap();
    assert_eq!(lost.code, ErrorCode::WORKER_LOST);
    assert_eq!(fault(EventKind::Fail), None, "a handler's own");
}

#[test]
fn a_worker_is_waited_for_where_none_has_the_handler_or_the_handler_is_throttled() {
    for event in events() {
        let waits = matches!(event, Event::Unhandled | Event::Throttle);
        assert_eq!(event.kind().waits_for_worker(), waits, "{event:?}");
    }
}

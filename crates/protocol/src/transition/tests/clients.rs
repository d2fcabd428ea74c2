//! The actions of clients: what is legal, and what a refusal says.

use super::*;

/// A type that is closed to clients: they may let it wait, and remove it at its end.
const CLOSED: &str = "
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
    pause         -   -   -   -   -   -   -   -
    resume        -   -   -   -   -   -   -   -
    postpone      10  10  21  -   -   -   -   -
    cancel        -   -   -   -   -   -   -   -
    discard       -   -   -   -   -   -   -   -
    due           -   0   -   -   -   -   -   -
    expire        -   -   -   -   -   -   -   -
    occur         -   -   -   -   -   -   -   -
    occur         -   -   -   -   -   -   -   -
    reschedule    -   -   -   -   -   -   -   -
    unhandled     10  -   -   -   -   -   -   -
    throttle      10  -   -   -   -   -   -   -
    delete        -   -   -   -   -   30  31  32
";

#[test]
fn the_whole_grid_of_a_type_that_is_closed_to_clients() {
    grid(CLOSED, |status| {
        let mut header = header(status);
        header.rules.operation_type = OperationType(9);
        header
    });
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
    let mut by_person = header(Status::Waiting);
    by_person.postpone_until = None;
    headers.push(by_person);
    let mut to_be_postponed = header(Status::Pausing);
    to_be_postponed.stop = Some(StopRequest::Postpone(LATER));
    headers.push(to_be_postponed);
    let mut paused = series(Status::Waiting);
    paused.postpone_until = None;
    headers.push(paused);
    let mut untimed = header(Status::Waiting);
    untimed.postpone_until = None;
    headers.push(untimed);
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

#[test]
fn a_request_for_what_is_so_already_is_no_mistake() {
    let mut paused = header(Status::Waiting);
    paused.postpone_until = None;
    let asked_before = [
        (header(Status::Canceling), Event::Cancel),
        (header(Status::Pausing), Event::Pause),
        (paused.clone(), Event::Pause),
    ];
    for (mut header, event) in asked_before {
        assert!(is_already(&header, &event), "{event:?} × {header:?}");
        // It is refused by the table, because nothing changes.
        assert!(apply(&header, event.clone(), at()).is_err());
        header.rules.operation_type = OperationType(9);
        assert!(!is_already(&header, &event), "{event:?} × {header:?}");
    }
    for header in Status::ALL.map(header) {
        for event in events() {
            let both = is_already(&header, &event) && apply(&header, event.clone(), at()).is_ok();
            assert!(!both, "{event:?} × {header:?}");
        }
    }
    assert!(!is_already(&header(Status::Canceled), &Event::Cancel));
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
fn a_refusal_names_a_rule_only_where_the_status_is_not_the_reason() {
    let refused = |header: &Header, event| apply(header, event, at()).unwrap_err();
    let claim = || Event::Claim {
        host: "w1".to_owned(),
    };
    // The status alone forbids all that the first grid refuses, but for the events of series.
    for status in Status::ALL {
        for event in events() {
            let of_series = matches!(event, Event::Occur { .. } | Event::Reschedule { .. });
            if let Err(refused) = apply(&header(status), event.clone(), at())
                && !of_series
            {
                assert_eq!(refused.why, None, "{event:?} × {status:?}");
            }
        }
    }
    for event in [Event::Resume, Event::Due] {
        let why = refused(&series(Status::Waiting), event).why;
        assert_eq!(why, Some("it recurs: its occurrences run, it does not"));
    }
    let reschedule = asked(&series(Status::Waiting), Action::Resume);
    let why = refused(&header(Status::Waiting), reschedule).why;
    assert_eq!(why, Some("it does not recur"));
    // A paused series of a closed type goes on by no client.
    let mut closed = series(Status::Waiting);
    closed.postpone_until = None;
    closed.rules.operation_type = OperationType(9);
    let reschedule = asked(&closed, Action::Resume);
    let why = refused(&closed, reschedule).why;
    assert_eq!(
        why,
        Some("operations of its type cannot be cancelled, paused or resumed")
    );
    // An operation that may start only once has ended, and waits for nothing.
    let mut once = header(Status::Succeeded);
    once.rules.at_most_once = true;
    assert_eq!(refused(&once, Event::Postpone(LATER)).why, None);
    // Workers and managers are told no actions: these are for clients.
    let taken = refused(&header(Status::InProgress), claim());
    assert_eq!((taken.legal, taken.why), (Vec::new(), None));
    let lost = refused(&header(Status::Succeeded), Event::LeaseExpired);
    assert_eq!(lost.code, ErrorCode::INVALID_STATE_CHANGE);
    // An operation that expires while it waits is not Ready.
    let mut early = header(Status::Waiting);
    early.rules.not_after = Some(NOW);
    assert_eq!(refused(&early, claim()).why, None);
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
fn what_the_service_has_suspended_can_be_resumed_and_cancelled_whatever_its_type() {
    let mut header = header(Status::WaitingForResources);
    header.rules.operation_type = OperationType(31);
    for event in [Event::Unhandled, Event::Throttle] {
        let waiting = apply(&header, event, at()).unwrap().header;
        let actions = [Action::Cancel, Action::Resume, Action::Postpone];
        assert_eq!(legal_actions(&waiting), actions);
        for event in [Event::Resume, Event::Cancel, Event::Discard] {
            assert!(apply(&waiting, event, at()).is_ok());
        }
        // It goes on by itself at its time, so it stays closed.
        let timed = apply(&waiting, Event::Postpone(LATER), at())
            .unwrap()
            .header;
        assert!(apply(&timed, Event::Resume, at()).is_err());
    }
}

#[test]
fn only_a_completed_operation_runs_again_and_never_a_series() {
    for status in Status::ALL {
        let refused = refuse_run_again(&header(status));
        let is_completed = status.state() == State::Completed;
        assert_eq!(refused.is_none(), is_completed, "{status:?}");
        if let Some(refused) = refused {
            assert_eq!(refused.legal, legal_actions(&header(status)));
            assert_eq!(refused.code, ErrorCode::INVALID_READY);
        }
    }
    for status in [Status::Waiting, Status::Succeeded, Status::Canceled] {
        let refused = refuse_run_again(&series(status)).unwrap();
        let text = refused.to_string();
        assert!(text.ends_with("a series runs by its occurrences"), "{text}");
    }
}

//! Series: from time to time, paused, changed, and over.

use super::*;

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

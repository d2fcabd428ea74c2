//! The parts of an operation: what is read from them, and how large they are.

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

#[test]
fn a_rule_is_written_with_its_time_zone_and_read_again() {
    let rule = "FREQ=DAILY;BYHOUR=9";
    for (zone, pattern) in [
        (None, "FREQ=DAILY;BYHOUR=9"),
        (
            Some("Europe/Vienna"),
            "TZID=Europe/Vienna:FREQ=DAILY;BYHOUR=9",
        ),
    ] {
        let recurrence = Recurrence {
            pattern: Recurrence::written(rule, zone),
            start: NOW,
            last: None,
        };
        assert_eq!(recurrence.pattern, pattern);
        assert_eq!(recurrence.rule(), rule);
        assert_eq!(recurrence.time_zone(), zone);
    }
}

#[test]
fn an_operation_waits_for_a_time_only_if_that_is_still_to_come() {
    let postponed = |until| first_header(Rules::default(), until, CommitId(1), NOW);
    let later = Timestamp::from_millis(NOW.as_millis() + 1);
    let waiting = postponed(Some(later));
    assert_eq!(waiting.status, Status::Waiting);
    assert_eq!(waiting.postpone_until, Some(later));
    for until in [None, Some(NOW)] {
        let ready = postponed(until);
        assert_eq!(ready.status, Status::WaitingForResources);
        assert_eq!(ready.postpone_until, None);
    }
}

#[test]
fn a_series_waits_from_its_creation() {
    let recurrence = Recurrence {
        pattern: "FREQ=DAILY".to_owned(),
        start: NOW,
        last: None,
    };
    // Its first time may have come already, and none waits for a person.
    for first in [Some(NOW), None] {
        let recurrence = recurrence.clone();
        let header = series_header(Rules::default(), recurrence, first, CommitId(1), NOW);
        assert_eq!(header.status, Status::Waiting);
        assert_eq!(header.postpone_until, first);
        assert!(header.is_series());
        assert!(!header.waits_without_time(), "it is no single operation");
    }
}

#[test]
fn a_token_policy_is_read_by_its_word() {
    assert_eq!(
        TokenPolicy::ALL.map(TokenPolicy::name),
        ["continue", "hold"]
    );
    for policy in TokenPolicy::ALL {
        assert_eq!(TokenPolicy::from_name(policy.name()), Some(policy));
    }
    assert_eq!(TokenPolicy::from_name("stop"), None);
}

#[test]
fn the_bytes_are_those_of_the_parts_that_may_be_large() {
    let mut body = Body::new("Import", NOW);
    assert_eq!(body.data_bytes(), 0);
    body.data = Some("{\"é\":1}".to_owned());
    assert_eq!(body.data_bytes(), 8);
    let mut report = Report::default();
    assert_eq!(report.bytes(), 0);
    report.checkpoint = Some("7".to_owned());
    report.result = Some("[8]".to_owned());
    assert_eq!(report.bytes(), 4);
    report.fault = Some(Fault::new(ErrorCode::NETWORK_ERROR, "Broken.", "a wire"));
    assert_eq!(report.bytes(), 17);
}

#[test]
fn a_copy_without_the_data_has_everything_else() {
    let mut body = Body::new("Import", NOW);
    body.owner = "ann".to_owned();
    let copy = Body {
        data: Some("{}".to_owned()),
        ..body.clone()
    };
    assert_eq!(copy.without_data(), body);
}

#[test]
fn the_time_in_handlers_is_in_seconds_with_two_decimals() {
    let mut header = first_header(Rules::default(), None, CommitId(1), NOW);
    header.execution_ms = 12_345;
    let span = execution_time_span(&header);
    assert!((span - 12.35).abs() < 1e-9, "{span}");
}

//! Rules by example; and random ones, in [`random`].

mod random;

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// The first times after a time, written short.
fn following(rule: &str, start: &str, after: &str, wanted: usize) -> Vec<String> {
    let rule = Rule::parse(rule).unwrap();
    let times = rule.following(at(start), at(after), wanted);
    times
        .into_iter()
        .map(|time| time.to_string().replace(":00.000Z", "").replace('T', " "))
        .collect()
}

#[test]
fn the_rules_that_the_dynamics_service_documents() {
    let start = "2027-01-31T06:30:00Z";
    let cases = [
        (
            "FREQ=MONTHLY;",
            ["2027-01-31 06:30", "2027-03-31 06:30", "2027-05-31 06:30"],
        ),
        (
            "FREQ=WEEKLY;",
            ["2027-01-31 06:30", "2027-02-07 06:30", "2027-02-14 06:30"],
        ),
        (
            "FREQ=DAILY;",
            ["2027-01-31 06:30", "2027-02-01 06:30", "2027-02-02 06:30"],
        ),
        (
            "FREQ=HOURLY;",
            ["2027-01-31 06:30", "2027-01-31 07:30", "2027-01-31 08:30"],
        ),
        (
            "FREQ=DAILY;INTERVAL=3;",
            ["2027-01-31 06:30", "2027-02-03 06:30", "2027-02-06 06:30"],
        ),
        (
            "FREQ=MINUTELY;INTERVAL=90",
            ["2027-01-31 06:30", "2027-01-31 08:00", "2027-01-31 09:30"],
        ),
    ];
    for (rule, expected) in cases {
        let found = following(rule, start, "2027-01-01T00:00:00Z", 3);
        assert_eq!(found, expected, "{rule}");
    }
}

#[test]
fn rules_as_rfc_5545_has_them() {
    let start = "2027-01-04T09:00:00Z";
    let cases: [(&str, &[&str]); 9] = [
        // The last working day of each month.
        (
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
            &["2027-01-29 09:00", "2027-02-26 09:00", "2027-03-31 09:00"],
        ),
        (
            "RRULE:FREQ=MONTHLY;BYDAY=2TU",
            &["2027-01-12 09:00", "2027-02-09 09:00", "2027-03-09 09:00"],
        ),
        (
            "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
            &["2027-11-02 09:00", "2031-11-04 09:00", "2035-11-06 09:00"],
        ),
        (
            "FREQ=DAILY;COUNT=2",
            &["2027-01-04 09:00", "2027-01-05 09:00"],
        ),
        ("FREQ=DAILY;UNTIL=20270104", &["2027-01-04 09:00"]),
        ("FREQ=DAILY;UNTIL=20270104T090000Z", &["2027-01-04 09:00"]),
        (
            "FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=TU,SU",
            &["2027-01-05 09:00", "2027-01-17 09:00", "2027-01-19 09:00"],
        ),
        (
            "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
            &["2027-05-17 09:00", "2028-05-15 09:00", "2029-05-14 09:00"],
        ),
        ("FREQ=HOURLY;BYHOUR=9,17;BYMINUTE=0,30;BYDAY=-MO,TU", &[]),
    ];
    for (rule, expected) in cases {
        if expected.is_empty() {
            assert!(Rule::parse(rule).is_err(), "{rule}");
            continue;
        }
        let found = following(rule, start, "2027-01-01T00:00:00Z", 3);
        assert_eq!(found, expected, "{rule}");
    }
}

#[test]
fn a_place_within_a_week_is_counted_from_the_first_day_of_the_week() {
    let cases = [
        // The start is a Tuesday, and the first day of its week is over.
        (
            "FREQ=WEEKLY;BYDAY=MO,TU;BYSETPOS=1",
            ["2027-01-11 09:00", "2027-01-18 09:00"],
        ),
        (
            "FREQ=WEEKLY;BYDAY=MO,TU;BYSETPOS=2",
            ["2027-01-05 09:00", "2027-01-12 09:00"],
        ),
        (
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TU,WE;BYSETPOS=-1",
            ["2027-01-06 09:00", "2027-01-20 09:00"],
        ),
        (
            "FREQ=WEEKLY;BYHOUR=8,10;BYSETPOS=1",
            ["2027-01-12 08:00", "2027-01-19 08:00"],
        ),
        // The week begins on the day of the start.
        (
            "FREQ=WEEKLY;WKST=TU;BYDAY=MO,TU;BYSETPOS=1",
            ["2027-01-05 09:00", "2027-01-12 09:00"],
        ),
    ];
    let start = "2027-01-05T09:00:00Z";
    for (rule, expected) in cases {
        let found = following(rule, start, "2027-01-01T00:00:00Z", 2);
        assert_eq!(found, expected, "{rule}");
        let found = following(rule, start, "2027-01-08T00:00:00Z", 9);
        let later = expected.into_iter().find(|time| *time > "2027-01-08");
        assert_eq!(found.first().map(String::as_str), later, "{rule}");
    }
}

#[test]
fn what_is_wrong_with_a_rule_is_said() {
    let cases = [
        ("", "has no FREQ"),
        (";;", "has no FREQ"),
        ("INTERVAL=2", "has no FREQ"),
        ("DAILY", "\"DAILY\""),
        ("FREQ=SOMETIMES", "SOMETIMES"),
        ("FREQ=SECONDLY", "too often"),
        ("FREQ=DAILY;FREQ=DAILY", "FREQ twice"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL"),
        ("FREQ=DAILY;INTERVAL=-1", "INTERVAL"),
        ("FREQ=DAILY;INTERVAL=99999", "INTERVAL"),
        ("FREQ=DAILY;COUNT=0", "COUNT"),
        ("FREQ=DAILY;COUNT=10001", "COUNT"),
        ("FREQ=DAILY;COUNT=3;UNTIL=20270101", "COUNT and UNTIL"),
        ("FREQ=DAILY;UNTIL=tomorrow", "UNTIL"),
        ("FREQ=DAILY;UNTIL=20271301", "UNTIL"),
        ("FREQ=DAILY;BYDAY=XX", "BYDAY"),
        ("FREQ=DAILY;BYDAY=é", "BYDAY"),
        ("FREQ=DAILY;BYDAY=", "BYDAY"),
        ("FREQ=MONTHLY;BYDAY=0MO", "BYDAY"),
        ("FREQ=DAILY;BYDAY=2MO", "BYDAY with a number"),
        ("FREQ=YEARLY;BYWEEKNO=3;BYDAY=2MO", "BYDAY with a number"),
        ("FREQ=MONTHLY;BYDAY=9MO", "BYDAY"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR"),
        ("FREQ=DAILY;BYHOUR=", "BYHOUR"),
        ("FREQ=DAILY;BYHOUR=noon", "BYHOUR"),
        ("FREQ=WEEKLY;BYMONTHDAY=3", "BYMONTHDAY"),
        ("FREQ=DAILY;BYYEARDAY=3", "BYYEARDAY"),
        ("FREQ=MONTHLY;BYSETPOS=1", "BYSETPOS"),
        ("FREQ=DAILY;WKST=XX", "WKST"),
        ("FREQ=YEARLY;BYEASTER=1", "BYEASTER"),
    ];
    for (rule, expected) in cases {
        let error = Rule::parse(rule).unwrap_err().to_string();
        assert!(error.contains(expected), "{rule}: {error}");
    }
}

#[test]
fn a_rule_that_never_comes_true_has_no_time() {
    let start = at("2027-01-01T00:00:00Z");
    for rule in [
        "FREQ=YEARLY;BYMONTHDAY=31;BYMONTH=2",
        "FREQ=MONTHLY;BYMONTHDAY=31;BYMONTH=2",
        "FREQ=DAILY;BYMONTHDAY=31;BYMONTH=2",
        "FREQ=HOURLY;BYMONTHDAY=31;BYMONTH=2",
        "FREQ=MINUTELY;BYMONTHDAY=31;BYMONTH=2;BYHOUR=3;BYMINUTE=7",
        "FREQ=MINUTELY;INTERVAL=2;BYMINUTE=1",
        "FREQ=HOURLY;INTERVAL=24;BYHOUR=5",
        "FREQ=MONTHLY;INTERVAL=12;BYMONTH=7;BYMONTHDAY=1",
        "FREQ=DAILY;UNTIL=20260101",
    ] {
        let rule = Rule::parse(rule).unwrap();
        assert_eq!(rule.next(start, start), None, "{rule:?}");
    }
    // Once, and not again before the end of time.
    let rule = Rule::parse("FREQ=YEARLY;INTERVAL=30000").unwrap();
    assert_eq!(
        rule.following(start, at("2020-01-01T00:00:00Z"), 5),
        [start]
    );
}

#[test]
fn a_leap_day_comes_even_if_it_has_to_be_a_monday() {
    for freq in ["YEARLY", "MONTHLY", "DAILY", "HOURLY", "MINUTELY"] {
        let rule =
            format!("FREQ={freq};BYMONTH=2;BYMONTHDAY=29;BYDAY=MO;BYHOUR=3;BYMINUTE=0;BYSECOND=0");
        let found = following(&rule, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 2);
        assert_eq!(found, ["2044-02-29 03:00", "2072-02-29 03:00"], "{rule}");
    }
}

#[test]
fn a_start_long_ago_costs_nothing() {
    let cases = [
        ("FREQ=MINUTELY;INTERVAL=7", "2026-11-20 19:03"),
        ("FREQ=MINUTELY;BYMINUTE=13", "2026-11-20 19:13"),
        ("FREQ=HOURLY", "2026-11-20 20:00"),
        ("FREQ=DAILY;INTERVAL=2", "2026-11-21 00:00"),
        ("FREQ=WEEKLY", "2026-11-26 00:00"),
        ("FREQ=MONTHLY", "2026-12-01 00:00"),
        ("FREQ=YEARLY", "2027-01-01 00:00"),
        ("FREQ=YEARLY;INTERVAL=5;BYDAY=MO", "2030-01-07 00:00"),
    ];
    for (rule, expected) in cases {
        let found = following(rule, "1970-01-01T00:00:00Z", "2026-11-20T19:00:00Z", 1);
        assert_eq!(found, [expected], "{rule}");
    }
}

#[test]
fn a_count_includes_the_times_that_are_over() {
    let start = at("2027-01-01T00:00:00Z");
    let rule = Rule::parse("FREQ=MINUTELY;COUNT=10000").unwrap();
    let last = at("2027-01-07T22:39:00Z");
    assert_eq!(rule.next(start, at("2027-01-07T22:38:00Z")), Some(last));
    assert_eq!(rule.next(start, last), None);
}

#[test]
fn the_start_is_rounded_up_to_a_whole_second() {
    let start = at("2027-01-01T00:00:00.001Z");
    assert_eq!(whole_second(start), at("2027-01-01T00:00:01Z"));
    let rule = Rule::parse("FREQ=DAILY").unwrap();
    let before = at("2026-12-31T00:00:00Z");
    assert_eq!(rule.next(start, before), Some(at("2027-01-01T00:00:01Z")));
}

#[test]
fn a_time_is_strictly_after_the_one_before() {
    let start = at("2027-01-01T00:00:00Z");
    let rule = Rule::parse("FREQ=HOURLY").unwrap();
    assert_eq!(rule.next(start, start), Some(at("2027-01-01T01:00:00Z")));
    let within = at("2027-01-01T00:59:59.999Z");
    assert_eq!(rule.next(start, within), Some(at("2027-01-01T01:00:00Z")));
}

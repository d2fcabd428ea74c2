//! The nights in which the clocks are changed, and places with clocks of their own.

use drumline_protocol::{Recurrence, Timestamp};

use crate::recurrence::{Rule, by_its_clock, minutes, time_zone};

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// The first times from a start on, written short, in UTC.
fn times(zone: &str, rule: &str, start: &str, wanted: usize) -> Vec<String> {
    let start = at(&format!("{start}:00Z"));
    let recurrence = Recurrence {
        pattern: Recurrence::written(rule, Some(zone)),
        start,
        last: None,
    };
    let rule = Rule::of(&recurrence).unwrap();
    let before = Timestamp::from_millis(start.as_millis() - 1_000);
    let at_once = rule.following(start, before, wanted);
    // One after the other, as a series asks for them.
    let mut one_by_one = Vec::new();
    let mut last = before;
    while let Some(next) = rule.next(start, last).filter(|_| one_by_one.len() < wanted) {
        one_by_one.push(next);
        last = next;
    }
    assert_eq!(at_once, one_by_one, "{recurrence:?}");
    let short = |time: Timestamp| time.to_string().replace(":00.000Z", "");
    at_once.into_iter().map(short).collect()
}

const BERLIN: &str = "Europe/Berlin";

#[test]
fn a_time_of_day_stays_when_the_clocks_are_changed() {
    let six = "FREQ=DAILY;BYHOUR=6;BYMINUTE=0;BYSECOND=0";
    assert_eq!(
        times(BERLIN, six, "2027-03-27T00:00", 3),
        ["2027-03-27T05:00", "2027-03-28T04:00", "2027-03-29T04:00"]
    );
    assert_eq!(
        times(BERLIN, six, "2027-10-30T00:00", 3),
        ["2027-10-30T04:00", "2027-10-31T05:00", "2027-11-01T05:00"]
    );
    // The parts that the rule leaves out come from the start, on the clock.
    assert_eq!(
        times(BERLIN, "FREQ=WEEKLY", "2027-03-21T23:30", 3),
        ["2027-03-21T23:30", "2027-03-28T22:30", "2027-04-04T22:30"]
    );
    assert_eq!(
        times("Asia/Kolkata", six, "2027-01-01T00:00", 2),
        ["2027-01-01T00:30", "2027-01-02T00:30"]
    );
}

#[test]
fn a_time_that_a_clock_leaves_out_is_as_late_as_if_it_did_not() {
    let rule = "FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0";
    assert_eq!(
        times(BERLIN, rule, "2027-03-27T00:00", 3),
        ["2027-03-27T01:30", "2027-03-28T01:30", "2027-03-29T00:30"]
    );
    // Two times of the clock are one then.
    let both = "FREQ=DAILY;BYHOUR=2,3;BYMINUTE=30;BYSECOND=0";
    assert_eq!(
        times(BERLIN, both, "2027-03-28T00:00", 3),
        ["2027-03-28T01:30", "2027-03-29T00:30", "2027-03-29T01:30"]
    );
    // Samoa left out the 30th of December.
    let noon = "FREQ=DAILY;BYHOUR=12;BYMINUTE=0;BYSECOND=0";
    assert_eq!(
        times("Pacific/Apia", noon, "2011-12-29T20:00", 3),
        ["2011-12-29T22:00", "2011-12-30T22:00", "2011-12-31T22:00"]
    );
}

#[test]
fn a_clock_that_is_put_forward_by_half_an_hour_loses_no_time() {
    // Lord Howe goes from 02:00 to 02:30: 02:15 is 02:45, behind 02:30.
    let rule = "FREQ=DAILY;BYHOUR=2;BYMINUTE=15,30;BYSECOND=0";
    let lord_howe = "Australia/Lord_Howe";
    let night = ["2026-10-03T15:30", "2026-10-03T15:45"];
    let next = ["2026-10-04T15:15", "2026-10-04T15:30"];
    let expected = [night[0], night[1], next[0], next[1]];
    assert_eq!(times(lord_howe, rule, "2026-10-03T15:00", 4), expected);
    // A time that is left out and one that is shown are one.
    let every_quarter = "FREQ=DAILY;BYHOUR=2;BYMINUTE=0,15,30,45;BYSECOND=0";
    let found = times(lord_howe, every_quarter, "2026-10-03T15:00", 3);
    assert_eq!(found, [night[0], night[1], "2026-10-04T15:00"]);
    let counted = format!("{rule};COUNT=3");
    assert_eq!(
        times(lord_howe, &counted, "2026-10-03T15:00", 9),
        expected[..3]
    );
    let until = format!("{rule};UNTIL=20261003T154500Z");
    assert_eq!(times(lord_howe, &until, "2026-10-03T15:00", 9), night);
}

#[test]
fn of_a_time_that_a_clock_shows_twice_the_first_counts() {
    let rule = "FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0";
    assert_eq!(
        times(BERLIN, rule, "2027-10-30T00:00", 3),
        ["2027-10-30T00:30", "2027-10-31T00:30", "2027-11-01T01:30"]
    );
}

#[test]
fn hours_and_minutes_go_by_whatever_the_clock_shows() {
    for start in ["2027-03-28T00:15", "2027-10-31T00:15"] {
        let day = &start[..10];
        let expected = ["00:15", "01:15", "02:15", "03:15"].map(|time| format!("{day}T{time}"));
        assert_eq!(times(BERLIN, "FREQ=HOURLY", start, 4), expected);
    }
    let rule = "FREQ=MINUTELY;INTERVAL=45";
    assert_eq!(
        times(BERLIN, rule, "2027-10-31T00:00", 4),
        [
            "2027-10-31T00:00",
            "2027-10-31T00:45",
            "2027-10-31T01:30",
            "2027-10-31T02:15"
        ]
    );
    // An hour that the clock shows twice is named twice, and one that it leaves out
    // is not.
    let second = "FREQ=HOURLY;BYHOUR=2;BYMINUTE=30;BYSECOND=0";
    assert_eq!(
        times(BERLIN, second, "2027-10-30T00:00", 4),
        [
            "2027-10-30T00:30",
            "2027-10-31T00:30",
            "2027-10-31T01:30",
            "2027-11-01T01:30"
        ]
    );
    assert_eq!(
        times(BERLIN, second, "2027-03-27T00:00", 2),
        ["2027-03-27T01:30", "2027-03-29T00:30"]
    );
}

#[test]
fn an_end_is_of_the_clock_or_of_utc() {
    let rule = "FREQ=DAILY;BYHOUR=23;BYMINUTE=30;BYSECOND=0;UNTIL=";
    let until = |end: &str| {
        let rule = format!("{rule}{end}");
        times("America/New_York", &rule, "2027-01-01T00:00", 9)
    };
    let two = ["2027-01-01T04:30", "2027-01-02T04:30"];
    assert_eq!(until("20270102T235959Z"), two);
    let three = [two[0], two[1], "2027-01-03T04:30"];
    assert_eq!(until("20270102"), three);
    assert_eq!(until("20270102T233000"), three);
    assert_eq!(until("20270102T232959"), two);
    let counted = "FREQ=DAILY;COUNT=2;BYHOUR=2;BYMINUTE=30;BYSECOND=0";
    let found = times(BERLIN, counted, "2027-03-28T00:00", 9);
    assert_eq!(found, ["2027-03-28T01:30", "2027-03-29T00:30"]);
}

#[test]
fn a_rule_without_times_ends() {
    for zone in [BERLIN, "Asia/Kolkata", "Africa/Casablanca"] {
        let never = "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=31";
        assert_eq!(times(zone, never, "2027-01-01T00:00", 1), [""; 0]);
    }
}

#[test]
fn a_rule_without_times_is_given_up_soon_in_any_zone() {
    for rule in [
        // A place that no minute has.
        "FREQ=MINUTELY;BYSECOND=0;BYSETPOS=2",
        "FREQ=HOURLY;BYMINUTE=0,30;BYSECOND=0;BYSETPOS=-3",
        // An odd minute, from an even one on in steps of two.
        "FREQ=MINUTELY;INTERVAL=2;BYMINUTE=1",
        "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30",
    ] {
        let recurrence = Recurrence {
            pattern: Recurrence::written(rule, Some(BERLIN)),
            start: at("2027-01-01T00:00:00Z"),
            last: None,
        };
        minutes::steps_taken();
        let found = Rule::of(&recurrence).map(|rule| rule.next(recurrence.start, recurrence.start));
        assert_eq!(found.unwrap(), None, "{rule}");
        let steps = minutes::steps_taken();
        assert!(steps < 600_000, "{rule}: {steps} steps");
    }
}

#[test]
fn a_zone_has_a_name_of_the_database() {
    for name in [
        "Europe/Berlin",
        "UTC",
        "Etc/GMT+5",
        "America/Argentina/Ushuaia",
    ] {
        assert!(time_zone(name).is_ok(), "{name}");
    }
    for name in [
        "",
        "Berlin",
        "europe/berlin",
        "CEST",
        "+02:00",
        "Europe/Berlin ",
    ] {
        assert!(time_zone(name).is_err(), "{name}");
    }
    let both = "TZID=Europe/Berlin:FREQ=DAILY";
    assert!(
        Rule::parse(both).is_err(),
        "the zone is an attribute of its own"
    );
}

#[test]
fn a_time_is_written_by_the_clock_of_its_zone() {
    for (zone, time, words) in [
        (None, "2026-11-30T06:00:00Z", "Mon 2026-11-30 06:00 UTC"),
        (
            Some("Europe/Berlin"),
            "2026-11-30T06:00:00Z",
            "Mon 2026-11-30 07:00 CET",
        ),
        // In summer, on another day, and with seconds.
        (
            Some("Asia/Tokyo"),
            "2026-06-30T16:00:07Z",
            "Wed 2026-07-01 01:00:07 JST",
        ),
        (
            Some("Mars/Olympus"),
            "2026-11-30T06:00:00Z",
            "Mon 2026-11-30 06:00 UTC",
        ),
    ] {
        let recurrence = Recurrence {
            pattern: Recurrence::written("FREQ=DAILY", zone),
            start: at(time),
            last: None,
        };
        assert_eq!(by_its_clock(&recurrence, at(time)), words);
    }
}

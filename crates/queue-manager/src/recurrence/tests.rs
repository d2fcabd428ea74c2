//! Rules by example, by comparison with the library's own walk, and by chance.

use chrono::{DateTime, Datelike, Timelike, Utc};
use rrule::{NWeekday, RRule, RRuleSet, Tz, Unvalidated};

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

/// A list of up to three numbers.
fn numbers(random: &mut fastrand::Rng, from: i32, to: i32) -> String {
    let count = random.usize(1..4);
    let list: Vec<String> = (0..count)
        .map(|_| {
            loop {
                let number = random.i32(from..=to);
                if number != 0 || from == 0 {
                    break number.to_string();
                }
            }
        })
        .collect();
    list.join(",")
}

/// A rule that is likely to be valid.
fn any_rule(random: &mut fastrand::Rng, frequencies: &[&str]) -> String {
    let freq = frequencies[random.usize(0..frequencies.len())];
    let mut rule = format!("FREQ={freq}");
    let mut add =
        |random: &mut fastrand::Rng, one_in: u8, part: &dyn Fn(&mut fastrand::Rng) -> String| {
            if random.u8(0..one_in) == 0 {
                rule.push(';');
                rule.push_str(&part(random));
            }
        };
    add(random, 2, &|r| format!("INTERVAL={}", r.u8(1..20)));
    add(random, 3, &|r| format!("BYMONTH={}", numbers(r, 1, 12)));
    add(random, 4, &|r| {
        format!("BYMONTHDAY={}", numbers(r, -31, 31))
    });
    add(random, 6, &|r| {
        format!("BYYEARDAY={}", numbers(r, -366, 366))
    });
    add(random, 8, &|r| format!("BYWEEKNO={}", numbers(r, -53, 53)));
    add(random, 3, &|r| {
        let day = ["MO", "WE", "-1FR", "2SU", "TH,SA"][r.usize(0..5)];
        format!("BYDAY={day}")
    });
    add(random, 3, &|r| format!("BYHOUR={}", numbers(r, 0, 23)));
    add(random, 3, &|r| format!("BYMINUTE={}", numbers(r, 0, 59)));
    add(random, 3, &|r| format!("BYSECOND={}", numbers(r, 0, 59)));
    add(random, 6, &|r| format!("BYSETPOS={}", numbers(r, -3, 3)));
    add(random, 4, &|r| {
        format!("WKST={}", ["SU", "MO", "TH"][r.usize(0..3)])
    });
    add(random, 4, &|r| format!("COUNT={}", r.u16(1..200)));
    rule
}

/// The library's own walk from the start.
fn walk(text: &str, start: DateTime<Utc>) -> impl Iterator<Item = i64> {
    let start = start.with_timezone(&Tz::UTC);
    let rule: RRule<Unvalidated> = text.parse().unwrap();
    let set = RRuleSet::new(start).rrule(rule.validate(start).unwrap());
    (&set.limit()).into_iter().map(|time| time.timestamp())
}

/// Period by period, second by second up to an end: every one that the rule
/// names.
fn look_everywhere(rule: &Rule, start: DateTime<Utc>, end: i64) -> Vec<i64> {
    fn named<T: Copy + Into<i64>>(list: &[T], values: &[i64]) -> bool {
        list.is_empty() || list.iter().any(|&item| values.contains(&item.into()))
    }
    let parts = rule.parts.clone();
    let period = if parts.get_freq() == Frequency::Hourly {
        3600
    } else {
        60
    };
    let first = start.timestamp().div_euclid(period);
    let interval = i64::from(parts.get_interval());
    let periods = (first..=end / period).step_by(usize::try_from(interval).unwrap());
    let times = periods.flat_map(move |index| {
        let begin = DateTime::from_timestamp(index * period, 0).unwrap();
        let length = |time: DateTime<Utc>| i64::from(time.date_naive().num_days_in_month());
        let year = if begin.date_naive().leap_year() {
            366
        } else {
            365
        };
        let (day, ordinal) = (i64::from(begin.day()), i64::from(begin.ordinal()));
        let weekday = NWeekday::Every(begin.weekday());
        let weekdays = parts.get_by_weekday();
        let is_named = named(parts.get_by_month(), &[i64::from(begin.month())])
            && named(parts.get_by_month_day(), &[day, day - length(begin) - 1])
            && named(parts.get_by_year_day(), &[ordinal, ordinal - year - 1])
            && (weekdays.is_empty() || weekdays.contains(&weekday))
            && named(parts.get_by_hour(), &[i64::from(begin.hour())]);
        let by_minute = parts.get_freq() == Frequency::Minutely;
        let minutes = (0..if is_named { period / 60 } else { 0 }).filter(|minute| {
            let minute = i64::from(begin.minute()) + minute;
            let as_start = by_minute || minute == i64::from(start.minute());
            named(parts.get_by_minute(), &[minute])
                && (as_start || !parts.get_by_minute().is_empty())
        });
        let seconds = minutes.flat_map(|minute| (0..60).map(move |second| (minute, second)));
        let found: Vec<i64> = seconds
            .filter(|(_, second)| {
                let as_start = *second == i64::from(start.second());
                named(parts.get_by_second(), &[*second])
                    && (as_start || !parts.get_by_second().is_empty())
            })
            .map(|(minute, second)| minute * 60 + second)
            .map(|second| index * period + second)
            .collect();
        let places = parts.get_by_set_pos();
        let count = i32::try_from(found.len()).unwrap();
        (1..=count)
            .zip(found)
            .filter(|(place, _)| {
                places.is_empty() || places.contains(place) || places.contains(&(place - count - 1))
            })
            .map(|(_, time)| time)
            .filter(|&time| time >= start.timestamp())
            .collect::<Vec<_>>()
    });
    times.filter(|&time| time <= end).collect()
}

/// Compares so many random rules with another way to find their times, for a
/// while of up to `span` seconds after the start.
fn compare(
    frequencies: &[&str],
    rules: u32,
    span: i64,
    other: impl Fn(&str, &Rule, DateTime<Utc>, i64) -> Vec<i64>,
) {
    let mut random = fastrand::Rng::with_seed(5545);
    let (mut compared, mut found_any) = (0, 0);
    while compared < rules {
        let text = any_rule(&mut random, frequencies);
        let Ok(rule) = Rule::parse(&text) else {
            continue;
        };
        let start = DateTime::from_timestamp(random.i64(1_500_000_000..1_900_000_000), 0).unwrap();
        let end = start.timestamp() + span;
        let after = random.i64(start.timestamp() - 86_400..end);
        let mut expected = other(&text, &rule, start, end);
        expected.truncate(rule.count.unwrap_or(usize::MAX));
        expected.retain(|&time| time > after);
        expected.truncate(3);
        let millis = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let found = rule.following(millis(start.timestamp()), millis(after), 3);
        let mut found: Vec<i64> = found.iter().map(|time| time.as_millis() / 1000).collect();
        found.retain(|&time| time <= end);
        assert_eq!(found, expected, "{text} from {start} after {after}");
        compared += 1;
        found_any += u32::from(!found.is_empty());
    }
    assert!(
        found_any > rules / 4,
        "{found_any} of {rules} rules have times"
    );
}

#[test]
fn random_rules_by_the_day_come_due_when_a_walk_from_the_start_says() {
    let frequencies = ["YEARLY", "MONTHLY", "WEEKLY", "DAILY"];
    compare(
        &frequencies,
        100,
        6 * 366 * 86_400,
        |text, _, start, end| walk(text, start).take_while(|&time| time <= end).collect(),
    );
}

#[test]
fn random_rules_by_the_hour_and_minute_come_due_when_a_look_everywhere_says() {
    compare(&["HOURLY"], 25, 60 * 86_400, |_, rule, start, end| {
        look_everywhere(rule, start, end)
    });
    compare(&["MINUTELY"], 25, 10 * 86_400, |_, rule, start, end| {
        look_everywhere(rule, start, end)
    });
}

#[test]
fn no_text_upsets_the_reader() {
    const PIECES: [&str; 24] = [
        "FREQ=",
        "YEARLY",
        "MINUTELY",
        "DAILY",
        ";",
        "=",
        ",",
        "-",
        "+",
        "INTERVAL=",
        "65535",
        "COUNT=",
        "UNTIL=",
        "99991231T235959Z",
        "BYDAY=",
        "53MO",
        "MO",
        "BYSETPOS=",
        "-366",
        "BYWEEKNO=",
        "BYMONTHDAY=",
        "31",
        "é",
        "BYHOUR=0",
    ];
    let mut random = fastrand::Rng::with_seed(2445);
    let mut read = 0;
    for _ in 0..50_000 {
        let mut text = String::from(if random.bool() { "FREQ=YEARLY;" } else { "" });
        for _ in 0..random.usize(0..8) {
            text.push_str(PIECES[random.usize(0..PIECES.len())]);
        }
        if let Ok(rule) = Rule::parse(&text) {
            read += 1;
            if read % 50 == 0 {
                let start = Timestamp::from_millis(random.i64(0..253_402_300_799_000));
                let after = Timestamp::from_millis(random.i64(i64::MIN..i64::MAX));
                let _found = rule.following(start, after, 5);
                let _found = rule.following(after, start, 5);
            }
        }
    }
    assert!(read > 200, "{read} texts were rules");
}

//! Random rules, compared with other ways to find their times.

use chrono::{DateTime, Datelike, Timelike, Utc};
use rrule::{NWeekday, RRuleSet, Tz};

use super::*;

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

/// The times of a rule by the day, found by a walk from the start.
fn times(text: &str, rule: &Rule, start: DateTime<Utc>, end: i64) -> Vec<i64> {
    let by_place = !rule.parts.get_by_set_pos().is_empty();
    if rule.parts.get_freq() == Frequency::Weekly && by_place {
        return weeks(text, rule, start, end);
    }
    walk(text, start).take_while(|&time| time <= end).collect()
}

/// The times of a weekly rule with BYSETPOS: those of the rule without it, week by
/// week, of which the places are picked.
fn weeks(text: &str, rule: &Rule, start: DateTime<Utc>, end: i64) -> Vec<i64> {
    let is_other = |part: &&str| !part.starts_with("BYSETPOS") && !part.starts_with("COUNT");
    let parts: Vec<&str> = text.split(';').filter(is_other).collect();
    let interval = i64::from(rule.parts.get_interval());
    // The first week of the walk is incomplete.
    let earlier = start - chrono::TimeDelta::weeks(interval);
    let first_day = rule.parts.get_week_start();
    let week_of = |time: i64| {
        let time = DateTime::from_timestamp(time, 0).unwrap();
        let back = i64::from(time.weekday().days_since(first_day));
        (time.timestamp() - time.timestamp().rem_euclid(86_400)) / 86_400 - back
    };
    let mut by_week = std::collections::BTreeMap::<i64, Vec<i64>>::new();
    for time in walk(&parts.join(";"), earlier).take_while(|&time| time <= end + 8 * 86_400) {
        by_week.entry(week_of(time)).or_default().push(time);
    }
    let picked = by_week.into_values().flat_map(|week| {
        let count = i32::try_from(week.len()).unwrap();
        let places = rule.parts.get_by_set_pos();
        let is_picked =
            move |place: i32| places.iter().any(|&p| p == place || p == place - count - 1);
        (1..)
            .zip(week)
            .filter(move |(place, _)| is_picked(*place))
            .map(|(_, time)| time)
    });
    picked
        .filter(|&time| time >= start.timestamp() && time <= end)
        .collect()
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
    compare(&frequencies, 100, 6 * 366 * 86_400, times);
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

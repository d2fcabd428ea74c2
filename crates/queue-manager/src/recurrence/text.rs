//! The words of a rule.
//!
//! The library reads the numbers. The grammar around them is checked here,
//! because the library overlooks words that it does not know (`BYDAY=XXMO`),
//! and its messages are for programmers.

use chrono::{NaiveDate, NaiveDateTime};
use chrono_tz::Tz as Zone;
use rrule::{Frequency, NWeekday, RRule, Tz, Unvalidated};

use super::{COUNT_MAX, InvalidRule, Rule, Until};

/// The longest INTERVAL: the library counts months in 16 bits.
const INTERVAL_MAX: u32 = 32_767;

const FREQUENCIES: &str = "MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY or YEARLY";
const DAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];
/// The parts that are lists of numbers.
const LISTS: [&str; 8] = [
    "BYSECOND",
    "BYMINUTE",
    "BYHOUR",
    "BYMONTHDAY",
    "BYYEARDAY",
    "BYWEEKNO",
    "BYMONTH",
    "BYSETPOS",
];

/// Reads a rule.
pub(super) fn read(text: &str) -> Result<Rule, InvalidRule> {
    let text = text.trim().to_ascii_uppercase();
    let text = text.strip_prefix("RRULE:").unwrap_or(&text);
    let mut seen: Vec<&str> = Vec::new();
    let mut for_library: Vec<String> = Vec::new();
    let (mut count, mut until) = (None, None);
    for part in text.split(';').map(str::trim) {
        if part.is_empty() {
            continue;
        }
        let Some((name, value)) = part.split_once('=') else {
            return Err(wrong(format!(
                "has {part:?}, which is not of the form NAME=VALUE"
            )));
        };
        if seen.contains(&name) {
            return Err(wrong(format!("has {name} twice")));
        }
        seen.push(name);
        match name {
            "FREQ" => check_frequency(value)?,
            "INTERVAL" => {
                number(name, value, INTERVAL_MAX)?;
            }
            "COUNT" => count = Some(number(name, value, COUNT_MAX)?),
            "UNTIL" => until = Some(read_until(value)?),
            "WKST" if DAYS.contains(&value) => {}
            "WKST" => return Err(wrong("has a WKST that is no day; days are MO to SU")),
            "BYDAY" => check_days(value)?,
            _ if LISTS.contains(&name) => check_numbers(name, value)?,
            _ => return Err(wrong(format!("has the unknown part {name:?}"))),
        }
        if !matches!(name, "COUNT" | "UNTIL") {
            for_library.push(part.to_owned());
        }
    }
    if !seen.contains(&"FREQ") {
        return Err(wrong(format!("has no FREQ, which is {FREQUENCIES}")));
    }
    if count.is_some() && until.is_some() {
        return Err(wrong("has COUNT and UNTIL; one of them is enough"));
    }
    let parts: RRule<Unvalidated> = for_library
        .join(";")
        .parse()
        .map_err(|error| wrong(format!("is not valid: {error}")))?;
    check_places(&parts)?;
    if seen.contains(&"BYSETPOS") && !seen.iter().any(|name| is_chosen_from(name)) {
        return Err(wrong("has BYSETPOS and no other BY part to choose from"));
    }
    // Ranges, and parts that do not go with the frequency. Any start will do.
    parts
        .clone()
        .validate(chrono::DateTime::UNIX_EPOCH.with_timezone(&Tz::UTC))
        .map_err(|error| wrong(format!("is not valid: {error}")))?;
    Ok(Rule {
        parts,
        count: count.and_then(|count| usize::try_from(count).ok()),
        until,
        zone: Zone::UTC,
    })
}

fn wrong(clause: impl Into<String>) -> InvalidRule {
    InvalidRule(clause.into())
}

fn check_frequency(value: &str) -> Result<(), InvalidRule> {
    match value {
        "MINUTELY" | "HOURLY" | "DAILY" | "WEEKLY" | "MONTHLY" | "YEARLY" => Ok(()),
        // Every occurrence is an operation that is stored, ordered and kept.
        "SECONDLY" => Err(wrong(
            "has FREQ=SECONDLY, which is too often; MINUTELY is the most",
        )),
        _ => Err(wrong(format!(
            "has the unknown FREQ {value:?}; it is {FREQUENCIES}"
        ))),
    }
}

fn number(name: &str, value: &str, largest: u32) -> Result<u32, InvalidRule> {
    let number = value.parse().ok().filter(|_| is_number(value));
    let article = if name == "INTERVAL" { "an" } else { "a" };
    number
        .filter(|number| (1..=largest).contains(number))
        .ok_or_else(|| {
            wrong(format!(
                "has {article} {name} that is not a number from 1 to {largest}"
            ))
        })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['+', '-']).unwrap_or(text)
}

fn check_numbers(name: &str, value: &str) -> Result<(), InvalidRule> {
    if value.split(',').all(|item| is_number(unsigned(item))) {
        Ok(())
    } else {
        Err(wrong(format!("has a {name} that is not a list of numbers")))
    }
}

fn check_days(value: &str) -> Result<(), InvalidRule> {
    let is_day = |item: &str| {
        let Some((number, day)) = item
            .len()
            .checked_sub(2)
            .and_then(|middle| item.split_at_checked(middle))
        else {
            return false;
        };
        let place = unsigned(number);
        DAYS.contains(&day)
            && (number.is_empty() || (is_number(place) && place.parse::<u8>().is_ok_and(|n| n > 0)))
    };
    if value.split(',').all(is_day) {
        Ok(())
    } else {
        Err(wrong(
            "has a BYDAY that is not a list of days, as MO,WE or 2TU or -1FR",
        ))
    }
}

/// A time, or a day, whose whole length is meant then. With the letter Z it is of
/// UTC, and else of the clocks that the rule goes by.
fn read_until(value: &str) -> Result<Until, InvalidRule> {
    let day = NaiveDate::parse_from_str(value, "%Y%m%d").ok();
    let end_of_day = day.and_then(|day| day.and_hms_opt(23, 59, 59));
    let time = value.strip_suffix('Z').unwrap_or(value);
    let time = NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%S").ok();
    let until = match value.len() {
        8 => end_of_day,
        15 | 16 => time,
        _ => None,
    };
    until
        .map(|until| until.and_utc().timestamp())
        .map(match value.ends_with('Z') {
            true => Until::Utc,
            false => Until::Local,
        })
        .ok_or_else(|| wrong("has an UNTIL that is no time, as 20270131T060000Z or 20270131"))
}

/// Returns true if a part names times of which BYSETPOS can pick some.
fn is_chosen_from(name: &str) -> bool {
    name.starts_with("BY") && name != "BYSETPOS"
}

/// Refuses a place that RFC 5545 forbids and that the library lets pass.
fn check_places(parts: &RRule<Unvalidated>) -> Result<(), InvalidRule> {
    let with_place = parts.get_by_weekday().iter().find_map(|day| match day {
        NWeekday::Nth(place, day) => {
            let day = DAYS.get(day.num_days_from_monday() as usize)?;
            Some(format!("{place}{day}"))
        }
        NWeekday::Every(_) => None,
    });
    let takes_places = match parts.get_freq() {
        Frequency::Monthly => true,
        Frequency::Yearly => parts.get_by_week_no().is_empty(),
        Frequency::Weekly
        | Frequency::Daily
        | Frequency::Hourly
        | Frequency::Minutely
        | Frequency::Secondly => false,
    };
    match with_place {
        Some(day) if !takes_places => Err(wrong(format!(
            "has a BYDAY with a number ({day}), which goes with MONTHLY and YEARLY (without BYWEEKNO) only"
        ))),
        Some(_) | None => Ok(()),
    }
}

//! The times of rules by the day, week, month and year.
//!
//! The library walks from a start on. To spare it the past it gets a later
//! start in the same maintenance: a whole number of INTERVALs on. The parts that the
//! rule takes from its start (day, weekday, time of day) are written down
//! first.

use chrono::{DateTime, Datelike, Days, Month, Months, NaiveDate, Timelike, Utc};
use rrule::{Frequency, NWeekday, RRule, RRuleSet, Tz, Unvalidated};

const DAY: i64 = 86_400;

/// The times from `start` on, in seconds; those before `begin` may be missing.
pub(super) fn times(
    rule: &RRule<Unvalidated>,
    start: i64,
    begin: i64,
) -> Box<dyn Iterator<Item = i64>> {
    let found = later_start(rule, start, begin).and_then(|(rule, later)| {
        let start = later.with_timezone(&Tz::UTC);
        let rule = rule.validate(start).ok()?;
        Some(RRuleSet::new(start).rrule(rule).limit())
    });
    match found {
        // The later start may be the first day of the start's own week.
        Some(set) => Box::new(
            (&set)
                .into_iter()
                .map(|time| time.timestamp())
                .skip_while(move |&time| time < start),
        ),
        None => Box::new(std::iter::empty()),
    }
}

/// The same rule from a start as close before `begin` as the maintenance allows;
/// `None` beyond the end of time.
fn later_start(
    rule: &RRule<Unvalidated>,
    start: i64,
    begin: i64,
) -> Option<(RRule<Unvalidated>, DateTime<Utc>)> {
    let first = DateTime::from_timestamp(start, 0)?;
    let begin = DateTime::from_timestamp(begin, 0)?;
    let interval = i64::from(rule.get_interval());
    let days = |days: i64| {
        let passed = (begin - first).num_seconds() / (days * interval * DAY);
        let skipped = chrono::TimeDelta::try_days(passed * interval * days)?;
        first.checked_add_signed(skipped)
    };
    let months = |months: i64| {
        let passed = (month_number(begin) - month_number(first)) / (months * interval);
        if passed <= 0 {
            return None;
        }
        let skipped = Months::new(u32::try_from(passed * interval * months).ok()?);
        // December does as well as January for a year: the library looks at the
        // whole year.
        let day = NaiveDate::from_ymd_opt(first.year(), first.month(), 1)?;
        let day = day.checked_add_months(skipped)?;
        let day = if months == 12 {
            day.with_month(1)?
        } else {
            day
        };
        Some(day.and_hms_opt(0, 0, 0)?.and_utc())
    };
    Some(match rule.get_freq() {
        Frequency::Daily => (rule.clone(), days(1)?),
        Frequency::Weekly if !rule.get_by_set_pos().is_empty() => {
            // The library takes the rest of the start's week for a whole week, and
            // BYSETPOS would count from the start's weekday on.
            let back = first.weekday().days_since(rule.get_week_start());
            let first_day = first
                .date_naive()
                .checked_sub_days(Days::new(back.into()))?;
            let week = first_day.and_hms_opt(0, 0, 0)?.and_utc();
            let passed = (begin - week).num_seconds() / (7 * interval * DAY);
            let skipped = chrono::TimeDelta::try_days(passed * interval * 7)?;
            with_start(rule, first, Some(week.checked_add_signed(skipped)?))
        }
        Frequency::Weekly => (rule.clone(), days(7)?),
        Frequency::Monthly => with_start(rule, first, months(1)),
        Frequency::Yearly => with_start(rule, first, months(12)),
        Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => return None,
    })
}

/// The rule with a later start, if there is one, and the parts that it takes
/// from the first one.
fn with_start(
    rule: &RRule<Unvalidated>,
    first: DateTime<Utc>,
    later: Option<DateTime<Utc>>,
) -> (RRule<Unvalidated>, DateTime<Utc>) {
    let Some(later) = later else {
        return (rule.clone(), first);
    };
    let mut explicit = rule.clone();
    let has_days = !rule.get_by_month_day().is_empty()
        || !rule.get_by_weekday().is_empty()
        || !rule.get_by_year_day().is_empty()
        || !rule.get_by_week_no().is_empty();
    if !has_days && rule.get_freq() == Frequency::Weekly {
        explicit = explicit.by_weekday(vec![NWeekday::Every(first.weekday())]);
    } else if !has_days {
        let day = i8::try_from(first.day()).unwrap_or(1);
        explicit = explicit.by_month_day(vec![day]);
        if rule.get_freq() == Frequency::Yearly && rule.get_by_month().is_empty() {
            let month = u8::try_from(first.month()).ok();
            let month = month.and_then(|month| Month::try_from(month).ok());
            explicit = explicit.by_month(&[month.unwrap_or(Month::January)]);
        }
    }
    let small = |number: u32| vec![u8::try_from(number).unwrap_or(0)];
    if rule.get_by_hour().is_empty() {
        explicit = explicit.by_hour(small(first.hour()));
    }
    if rule.get_by_minute().is_empty() {
        explicit = explicit.by_minute(small(first.minute()));
    }
    if rule.get_by_second().is_empty() {
        explicit = explicit.by_second(small(first.second()));
    }
    (explicit, later)
}

/// Months since the year 0.
fn month_number(time: DateTime<Utc>) -> i64 {
    i64::from(time.year()) * 12 + i64::from(time.month0())
}

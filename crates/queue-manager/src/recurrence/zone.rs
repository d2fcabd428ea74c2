//! Rules by the clocks of a time zone.
//!
//! A rule by the day or slower names times of a clock on the wall: 02:30 is 02:30,
//! whatever the clock is set to. RFC 5545 says what becomes of the two nights of the
//! year:
//!
//! | the clock | a time that it | is |
//! |---|---|---|
//! | is put forward | leaves out | as late as if it were not: 02:30 is 03:30 |
//! | is put back | shows twice | the first of the two |
//!
//! A rule by the hour or the minute counts hours and minutes as they pass, and so has
//! none twice and leaves none out. Its BY parts are judged by the clock. Between two
//! changes of the clock such a rule is as in UTC: a *stretch*.

use std::collections::VecDeque;

use chrono::{DateTime, MappedLocalTime, Offset as _, TimeZone as _};
use chrono_tz::Tz;
use rrule::{RRule, Unvalidated};

use super::{days, minutes};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// The longest span without a look at the clock: nowhere is it changed twice in it.
const LOOK: i64 = 7 * DAY;
/// The longest stretch that is looked for. A zone whose clock is never changed has
/// stretches of this length.
const STRETCH: i64 = 400 * DAY;
/// Stretches from one time to the next, at most: some 400 years.
const STRETCHES: usize = 800;
/// The widest gap in a clock: Samoa left out a day.
const GAP_HOURS: i64 = 26;

/// The seconds that the clock of a zone is before UTC.
fn offset_at(zone: Tz, utc: i64) -> i64 {
    let time = DateTime::from_timestamp(utc, 0).unwrap_or(DateTime::UNIX_EPOCH);
    let offset = zone.offset_from_utc_datetime(&time.naive_utc());
    i64::from(offset.fix().local_minus_utc())
}

/// The time on the clock of a zone, as seconds.
pub(super) fn local(zone: Tz, utc: i64) -> i64 {
    utc.saturating_add(offset_at(zone, utc))
}

/// A time as the clock of a zone shows it, with the day of the week and the letters of the
/// zone.
pub(super) fn written(zone: Tz, utc: i64) -> String {
    let time = DateTime::from_timestamp(utc, 0).unwrap_or(DateTime::UNIX_EPOCH);
    let shown = time.with_timezone(&zone);
    let format = if utc.rem_euclid(60) == 0 {
        "%a %Y-%m-%d %H:%M %Z"
    } else {
        "%a %Y-%m-%d %H:%M:%S %Z"
    };
    shown.format(format).to_string()
}

/// A time of the clock on the wall, in UTC.
#[derive(Clone, Copy, Debug)]
enum Named {
    /// The clock shows it, then for the first time.
    Shown(i64),
    /// The clock leaves it out: by the clock as it was before.
    LeftOut(i64),
}

impl Named {
    fn of(zone: Tz, local: i64) -> Self {
        if let Some(utc) = shown(zone, local) {
            return Self::Shown(utc);
        }
        let before = (1..=GAP_HOURS).find_map(|hours| {
            let earlier = local - hours * HOUR;
            shown(zone, earlier).map(|utc| earlier - utc)
        });
        Self::LeftOut(local - before.unwrap_or(0))
    }
}

/// The time at which the clock of a zone shows a time first; `None` if it never does.
fn shown(zone: Tz, local: i64) -> Option<i64> {
    let time = DateTime::from_timestamp(local, 0)?.naive_utc();
    match zone.from_local_datetime(&time) {
        MappedLocalTime::Single(time) | MappedLocalTime::Ambiguous(time, _) => {
            Some(time.timestamp())
        }
        MappedLocalTime::None => None,
    }
}

/// The time that a time of the clock is.
pub(super) fn utc(zone: Tz, local: i64) -> i64 {
    match Named::of(zone, local) {
        Named::Shown(utc) | Named::LeftOut(utc) => utc,
    }
}

/// The first time after `utc` at which the clock is changed, or the end of the longest
/// stretch.
fn end_of_stretch(zone: Tz, utc: i64) -> i64 {
    let offset = offset_at(zone, utc);
    let (mut same, mut other) = (utc, utc);
    while offset_at(zone, other) == offset {
        if other - utc > STRETCH {
            return other;
        }
        same = other;
        other += LOOK;
    }
    while other - same > 1 {
        let middle = same + (other - same) / 2;
        if offset_at(zone, middle) == offset {
            same = middle;
        } else {
            other = middle;
        }
    }
    other
}

/// The times of a rule by the day or slower from `start` on; those before `begin` may
/// be missing.
pub(super) fn times_by_day(
    rule: &RRule<Unvalidated>,
    zone: Tz,
    start: i64,
    begin: i64,
) -> impl Iterator<Item = i64> + use<> {
    let first = local(zone, start);
    // A day earlier, because the clock may have been changed since.
    let begin = (local(zone, begin) - DAY).max(first);
    let mut last = i64::MIN;
    let named = days::times(rule, first, begin).map(move |time| Named::of(zone, time));
    in_order(named)
        // Two times of the clock may be one.
        .filter(move |&time| {
            let is_later = time > last && time >= start;
            last = last.max(time);
            is_later
        })
}

/// The times that times of the clock are, in order. One that the clock leaves out may be
/// later than those that follow it: where the clock goes from 02:00 to 02:30, 02:15 is
/// 02:45, and 02:30 comes before it. Looks ahead behind such a time alone, because to
/// look for a rule's next time is expensive.
fn in_order(named: impl Iterator<Item = Named>) -> impl Iterator<Item = i64> {
    let mut named = named.peekable();
    let mut left_out = VecDeque::new();
    std::iter::from_fn(move || {
        loop {
            let Some(&earliest) = left_out.front() else {
                match named.next()? {
                    Named::Shown(time) => return Some(time),
                    Named::LeftOut(time) => left_out.push_back(time),
                }
                continue;
            };
            match named.peek() {
                Some(&Named::LeftOut(time)) => left_out.push_back(time),
                Some(&Named::Shown(time)) if time <= earliest => {
                    named.next();
                    return Some(time);
                }
                Some(Named::Shown(_)) | None => return left_out.pop_front(),
            }
            named.next();
        }
    })
}

/// The times of a rule by the hour or the minute from `start` on; those before
/// `begin` may be left out.
pub(super) fn times_by_stretch(
    rule: &RRule<Unvalidated>,
    zone: Tz,
    start: i64,
    begin: i64,
) -> impl Iterator<Item = i64> {
    let first = begin.max(start);
    let stretches =
        std::iter::successors(Some((first, end_of_stretch(zone, first))), move |last| {
            Some((last.1, end_of_stretch(zone, last.1)))
        });
    // All stretches share the steps of one search, or a rule without times would have the
    // steps of centuries.
    let steps = minutes::Steps::new();
    let left = steps.clone();
    let stretches = stretches
        .take(STRETCHES)
        .take_while(move |_| left.are_left());
    stretches.flat_map(move |(from, to)| {
        let offset = offset_at(zone, from);
        minutes::Times::within(
            rule,
            start + offset,
            from + offset,
            to + offset,
            steps.clone(),
        )
        .map(move |time| time - offset)
        .skip_while(move |&time| time < from)
        .take_while(move |&time| time < to)
    })
}

#[cfg(test)]
mod tests;

//! The times at which a recurring operation comes due: RFC 5545 rules, in UTC or by
//! the clocks of a time zone.
//!
//! ```text
//! text ── the words of a rule, checked ──┬─ days     DAILY and slower: the library's
//!                                        └─ minutes  HOURLY and MINUTELY: arithmetic
//!                      zone ── between these and UTC, for a rule with a time zone
//! ```
//!
//! Rules come from strangers, and are asked for the next time each time a
//! series comes due, with a start that may lie years back. So nothing here
//! walks through the past: both sources of times begin at the period in
//! question. The library is fast by the day and slow by the minute, which is
//! why the two frequencies below a day are computed here; the tests compare
//! them with the library's answers.
//!
//! COUNT is the exception: earlier times can only be counted. COUNT is bounded
//! by [`COUNT_MAX`].
//!
//! Times are whole seconds, as RFC 5545 has them. Nothing is later than the
//! year 9999, which is where RFC 3339 ends.

mod days;
mod minutes;
mod schedule;
mod text;
mod zone;

use chrono_tz::Tz;
use drumline_protocol::{Recurrence, Timestamp};
use rrule::{Frequency, RRule, Unvalidated};

pub(crate) use schedule::{begin, changed, next_time};

/// The largest COUNT. A rule with a COUNT is counted through from its start
/// each time that it is asked: this many take some milliseconds.
pub const COUNT_MAX: u32 = 10_000;
/// The last second of the year 9999.
const LAST: i64 = 253_402_300_799;

/// A rule that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Without COUNT and UNTIL.
    parts: RRule<Unvalidated>,
    /// So many times, from the start on.
    count: Option<usize>,
    /// No time is later.
    until: Option<Until>,
    /// The zone whose clocks it goes by.
    zone: Tz,
}

/// The end of a rule, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// By UTC: the letter Z was given.
    Utc(i64),
    /// By the clocks of the rule.
    Local(i64),
}

/// The text is not a rule that this release follows. Its message is a clause
/// about the text: "has no FREQ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRule(String);

impl Rule {
    /// Reads a rule, as `FREQ=DAILY;INTERVAL=3;`, with or without `RRULE:` in
    /// front.
    /// # Errors
    /// Describes the fault of the rule.
    pub fn parse(text: &str) -> Result<Self, InvalidRule> {
        text::read(text)
    }

    /// The rule of a series, by the clocks of its time zone.
    ///
    /// # Errors
    /// Describes the fault of the rule, or of the name of the zone.
    pub fn of(recurrence: &Recurrence) -> Result<Self, InvalidRule> {
        let rule = Self::parse(recurrence.rule())?;
        let zone = recurrence.time_zone().map(time_zone).transpose()?;
        Ok(Self {
            zone: zone.unwrap_or(Tz::UTC),
            ..rule
        })
    }

    /// The first time after `after`; `None` if there is none.
    #[must_use]
    pub fn next(&self, start: Timestamp, after: Timestamp) -> Option<Timestamp> {
        self.following(start, after, 1).into_iter().next()
    }

    /// The first `wanted` times after `after`, none of them before `start`.
    #[must_use]
    pub fn following(&self, start: Timestamp, after: Timestamp, wanted: usize) -> Vec<Timestamp> {
        let start = whole_second(start).as_millis() / 1000;
        let after = after.as_millis().div_euclid(1000);
        let begin = if self.count.is_some() {
            start
        } else {
            after.max(start)
        };
        let until = match self.until {
            Some(Until::Utc(until)) => until,
            Some(Until::Local(until)) => zone::utc(self.zone, until),
            None => LAST,
        };
        self.times(start, begin)
            .take(self.count.unwrap_or(usize::MAX))
            .take_while(|&time| time <= until.min(LAST))
            .skip_while(|&time| time <= after)
            .take(wanted)
            .map(|time| Timestamp::from_millis(time.saturating_mul(1000)))
            .collect()
    }

    /// The times from `start` on in order, in seconds; those before `begin` may
    /// be left out.
    fn times(&self, start: i64, begin: i64) -> Box<dyn Iterator<Item = i64> + '_> {
        let (rule, zone) = (&self.parts, self.zone);
        let is_daily = match rule.get_freq() {
            Frequency::Yearly | Frequency::Monthly | Frequency::Weekly | Frequency::Daily => true,
            Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => false,
        };
        match (zone, is_daily) {
            (Tz::UTC, true) => days::times(rule, start, begin),
            (Tz::UTC, false) => Box::new(minutes::Times::new(rule, start, begin)),
            (_, true) => Box::new(zone::times_by_day(rule, zone, start, begin)),
            (_, false) => Box::new(zone::times_by_stretch(rule, zone, start, begin)),
        }
    }
}

/// A time by the clocks that the rule of a series goes by: `Mon 2026-11-30 06:00 CET`.
/// The seconds are there if the time has some.
#[must_use]
pub fn by_its_clock(recurrence: &Recurrence, time: Timestamp) -> String {
    let zone = recurrence.time_zone().map(time_zone);
    // In UTC, if only another release knows the zone.
    let zone = zone.and_then(Result::ok).unwrap_or(Tz::UTC);
    zone::written(zone, time.as_millis().div_euclid(1000))
}

/// Reads the name of a time zone.
///
/// # Errors
/// When this release knows no zone of that name.
pub fn time_zone(name: &str) -> Result<Tz, InvalidRule> {
    name.parse().map_err(|_unknown: chrono_tz::ParseError| {
        let why = "is not the name of a time zone in the IANA database, as Europe/Berlin";
        InvalidRule(why.to_owned())
    })
}

/// The first whole second that is not before a time.
#[must_use]
pub fn whole_second(time: Timestamp) -> Timestamp {
    let seconds = time.as_millis().saturating_add(999).div_euclid(1000);
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

#[cfg(test)]
mod tests;

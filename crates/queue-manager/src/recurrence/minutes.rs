//! The times of rules by the hour and the minute.
//!
//! A period is an hour or a minute; the periods of a rule are INTERVAL of them
//! apart, counted from its start. Each is examined in turn, but a day or an
//! hour that the rule leaves out is passed over in one step. The times of a
//! period are BYMINUTE and BYSECOND, or the start's minute and second, and of
//! these the ones that BYSETPOS picks.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use chrono::{DateTime, Datelike, NaiveDate, Weekday};
use rrule::{Frequency, RRule, Unvalidated};

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
/// Steps from one time to the next, at most. The days of a rule come again
/// after 400 years (146,097 days) and its minutes after 1,440 periods, so a
/// rule that finds nothing in this many hardly ever does.
const STEPS: u32 = 500_000;

/// The steps that are left until the next time. Searches of a rule in several spans share
/// them.
#[derive(Clone, Debug)]
pub(super) struct Steps(Rc<Cell<u32>>);

impl Steps {
    pub(super) fn new() -> Self {
        Self(Rc::new(Cell::new(STEPS)))
    }

    /// Returns true if there are some.
    pub(super) fn are_left(&self) -> bool {
        self.0.get() > 0
    }

    /// Takes one. Returns false if there is none.
    fn take(&self) -> bool {
        #[cfg(test)]
        TAKEN.set(TAKEN.get() + 1);
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }

    /// Gives all steps back, behind a time that was found.
    fn renew(&self) {
        self.0.set(STEPS);
    }
}

#[cfg(test)]
thread_local! {
    static TAKEN: Cell<u32> = const { Cell::new(0) };
}

/// The steps that this thread has taken since the last call.
#[cfg(test)]
pub(super) fn steps_taken() -> u32 {
    TAKEN.take()
}

/// The times of a rule. Ends with the rule, or after [`STEPS`].
pub(super) struct Times<'a> {
    rule: &'a RRule<Unvalidated>,
    start: i64,
    /// The beginning of the start's period.
    base: i64,
    /// An hour or a minute.
    period: i64,
    /// From the beginning of one period to that of the next.
    step: i64,
    /// No period that begins later has times.
    end: i64,
    /// The next period to look at.
    index: i64,
    minutes: Vec<i64>,
    seconds: Vec<i64>,
    ready: VecDeque<i64>,
    steps: Steps,
}

impl<'a> Times<'a> {
    /// The times from `start` on, but for those in periods that end before
    /// `begin`.
    pub(super) fn new(rule: &'a RRule<Unvalidated>, start: i64, begin: i64) -> Self {
        Self::within(rule, start, begin, i64::MAX, Steps::new())
    }

    /// The same, but for those in periods that begin after `end`, with the steps that
    /// are left.
    pub(super) fn within(
        rule: &'a RRule<Unvalidated>,
        start: i64,
        begin: i64,
        end: i64,
        steps: Steps,
    ) -> Self {
        let period = if rule.get_freq() == Frequency::Hourly {
            HOUR
        } else {
            MINUTE
        };
        let base = start - start.rem_euclid(period);
        let step = period * i64::from(rule.get_interval().max(1));
        let given = |list: &[u8], otherwise: i64| {
            let mut list: Vec<i64> = list.iter().copied().map(i64::from).collect();
            list.sort_unstable();
            list.dedup();
            if list.is_empty() {
                list.push(otherwise);
            }
            list
        };
        let mut times = Self {
            rule,
            start,
            base,
            period,
            step,
            end,
            index: ((begin - base) / step).max(0),
            minutes: given(rule.get_by_minute(), start.rem_euclid(HOUR) / MINUTE),
            seconds: given(rule.get_by_second(), start.rem_euclid(MINUTE)),
            ready: VecDeque::new(),
            steps,
        };
        // BYSETPOS picks the same places in every period, and none where there are fewer.
        if times.times_in(base).is_empty() {
            times.end = i64::MIN;
        }
        times
    }

    /// Goes on to the first period that does not begin before a time.
    fn skip_to(&mut self, time: i64) {
        let periods = (time - self.base + self.step - 1) / self.step;
        self.index = periods.max(self.index + 1);
    }

    /// The times in the period that begins at `begin`.
    fn times_in(&self, begin: i64) -> Vec<i64> {
        let minutes = if self.period == HOUR {
            self.minutes.as_slice()
        } else {
            &[0]
        };
        let times: Vec<i64> = minutes
            .iter()
            .flat_map(|minute| {
                self.seconds
                    .iter()
                    .map(move |s| begin + minute * MINUTE + s)
            })
            .collect();
        if self.rule.get_by_set_pos().is_empty() {
            return times;
        }
        let mut picked: Vec<i64> = self
            .rule
            .get_by_set_pos()
            .iter()
            .filter_map(|&place| {
                let place = isize::try_from(place).ok()?;
                let back = times.len().checked_add_signed(place);
                let index = if place < 0 {
                    back?
                } else {
                    usize::try_from(place).ok()?.checked_sub(1)?
                };
                times.get(index).copied()
            })
            .collect();
        picked.sort_unstable();
        picked.dedup();
        picked
    }

    /// Fills `ready` with the times of the next period that has any.
    fn look_further(&mut self) -> Option<()> {
        while self.steps.take() {
            let begin = self.base.checked_add(self.step.checked_mul(self.index)?)?;
            if begin > self.end {
                return None;
            }
            let day = DateTime::from_timestamp(begin, 0)?.date_naive();
            let midnight = begin - begin.rem_euclid(DAY);
            if !has_day(self.rule, day) {
                self.skip_to(midnight + DAY);
                continue;
            }
            let in_day = begin - midnight;
            if !allows(self.rule.get_by_hour(), in_day / HOUR) {
                self.skip_to(midnight + in_day - in_day % HOUR + HOUR);
                continue;
            }
            self.index += 1;
            if self.period == MINUTE && !allows(self.rule.get_by_minute(), in_day % HOUR / MINUTE) {
                continue;
            }
            let times = self.times_in(begin);
            self.ready
                .extend(times.into_iter().filter(|&time| time >= self.start));
            if !self.ready.is_empty() {
                self.steps.renew();
                return Some(());
            }
        }
        None
    }
}

impl Iterator for Times<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        if self.ready.is_empty() {
            self.look_further()?;
        }
        self.ready.pop_front()
    }
}

/// Returns true if a list names a number; an empty list names all.
fn allows(list: &[u8], number: i64) -> bool {
    list.is_empty() || list.iter().any(|&listed| i64::from(listed) == number)
}

/// Returns true if the rule has times on a day at all.
fn has_day(rule: &RRule<Unvalidated>, day: NaiveDate) -> bool {
    let year_days: u32 = if day.leap_year() { 366 } else { 365 };
    let month_days = u32::from(day.num_days_in_month());
    let weekdays = rule.get_by_weekday();
    allows(rule.get_by_month(), i64::from(day.month()))
        && names_place(rule.get_by_month_day(), day.day(), month_days)
        && names_place(rule.get_by_year_day(), day.ordinal(), year_days)
        && (weekdays.is_empty()
            || weekdays
                .iter()
                .any(|named| weekday(*named) == day.weekday()))
}

/// Returns true if a list of places, from the front or (negative) from the
/// back, names place `number` of `length`; an empty list names all.
fn names_place<T: Copy + Into<i64>>(list: &[T], number: u32, length: u32) -> bool {
    let from_front = i64::from(number);
    let from_back = from_front - i64::from(length) - 1;
    list.is_empty()
        || list.iter().any(|&place| {
            let place: i64 = place.into();
            place == from_front || place == from_back
        })
}

/// Numbers are refused where this is used.
const fn weekday(named: rrule::NWeekday) -> Weekday {
    match named {
        rrule::NWeekday::Every(day) | rrule::NWeekday::Nth(_, day) => day,
    }
}

//! The recurrence of an operation, as clients give it.

use drumline_protocol::{Recurrence, Timestamp, limits};

use super::attributes::Attributes;
use crate::error::Wrong;
use crate::recurrence::{Rule, whole_second};

/// The rule of a series that is to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recurring {
    /// An RFC 5545 rule, up to 256 characters.
    pub pattern: String,
    /// The time from which it counts; `None`: the creation.
    pub start: Option<Timestamp>,
}

/// The changes to a series. A field that is `None` stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRule {
    /// The rule from now on.
    pub pattern: Option<String>,
    /// The time from which it counts.
    pub start: Option<Timestamp>,
}

impl Recurring {
    /// Takes the attributes of recurrence; `None` if the operation is not to
    /// recur. As in the Dynamics service, an empty pattern is none.
    pub(super) fn take(given: &mut Attributes<'_>) -> Option<Self> {
        let pattern = given.text("recurrencePattern", limits::RECURRENCE_CHARS);
        let was_wrong = given.wrong.iter().any(|w| w.name == "recurrencePattern");
        let start = given.time("recurrenceStartTime");
        let pattern = pattern.filter(|pattern| !pattern.trim().is_empty());
        if pattern.is_none() && start.is_some() && !was_wrong {
            given.note("recurrenceStartTime", "goes with a recurrencePattern only");
        }
        pattern.map(|pattern| Self { pattern, start })
    }

    /// The rules that it breaks.
    pub(super) fn objections(&self) -> Vec<Wrong> {
        objections(Some(&self.pattern), self.start)
    }

    /// The recurrence of a series that is created now, and its first time.
    ///
    /// That is the first time from the start on that is still to come: times
    /// before the creation are not made up for.
    pub(crate) fn begin(&self, now: Timestamp) -> (Recurrence, Option<Timestamp>) {
        // Not before the next second: "now" is to be the first time.
        let next_second = Timestamp::from_millis(now.as_millis().saturating_add(1));
        let recurrence = Recurrence {
            pattern: self.pattern.clone(),
            start: whole_second(self.start.unwrap_or(next_second)),
            last: None,
        };
        let first = next_time(&recurrence, now);
        (recurrence, first)
    }
}

impl NewRule {
    /// Takes the attributes of recurrence; `None` if none is given.
    pub(super) fn take(given: &mut Attributes<'_>) -> Option<Self> {
        let names = ["recurrencePattern", "recurrenceStartTime"];
        let is_given = names.map(|name| given.is_given(name));
        if is_given == [false, false] {
            return None;
        }
        let before = given.wrong.len();
        let rule = Self {
            pattern: given.text(names[0], limits::RECURRENCE_CHARS),
            start: given.time(names[1]),
        };
        let found = [rule.pattern.is_some(), rule.start.is_some()];
        for ((name, is_given), found) in names.into_iter().zip(is_given).zip(found) {
            if is_given && !found && !given.wrong.iter().any(|wrong| wrong.name == name) {
                given.note(name, "must not be empty; to end the series, cancel it");
            }
        }
        if given.wrong.len() == before {
            given
                .wrong
                .extend(objections(rule.pattern.as_deref(), rule.start));
        }
        Some(rule)
    }

    /// The recurrence that a series has from now on.
    pub(crate) fn applied_to(&self, recurrence: &Recurrence) -> Recurrence {
        let pattern = self.pattern.as_ref().unwrap_or(&recurrence.pattern);
        Recurrence {
            pattern: pattern.clone(),
            start: self.start.map_or(recurrence.start, whole_second),
            last: recurrence.last,
        }
    }

    /// The attributes that it names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        let pattern = self.pattern.as_ref().map(|_| "recurrencePattern");
        let start = self.start.map(|_| "recurrenceStartTime");
        pattern.into_iter().chain(start)
    }
}

fn objections(pattern: Option<&str>, start: Option<Timestamp>) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    if let Some(pattern) = pattern {
        if pattern.len() > limits::RECURRENCE_CHARS
            && pattern.chars().count() > limits::RECURRENCE_CHARS
        {
            let limit = limits::RECURRENCE_CHARS;
            let why = format!("is too long: {limit} characters are allowed");
            wrong.push(Wrong::new("recurrencePattern", why));
        } else if let Err(error) = Rule::parse(pattern) {
            wrong.push(Wrong::new("recurrencePattern", error.to_string()));
        }
    }
    // Counting from the year 1 on would take a while.
    if start.is_some_and(|start| start < Timestamp::from_millis(0)) {
        let why = "must not be before 1970-01-01T00:00:00Z";
        wrong.push(Wrong::new("recurrenceStartTime", why));
    }
    wrong
}

/// The first time after `after`; `None` if there is none, or if only another
/// release can read the rule.
pub(crate) fn next_time(recurrence: &Recurrence, after: Timestamp) -> Option<Timestamp> {
    let rule = Rule::parse(&recurrence.pattern).ok()?;
    rule.next(recurrence.start, after)
}

//! The recurrence of an operation, as clients give it.

use drumline_protocol::{Timestamp, limits};

use crate::deployment::Grammar;
use crate::error::FieldError;
use crate::fields::Fields;

/// The changes to the rule of a series. A field that is `None` stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleChange {
    /// The rule from now on.
    pub pattern: Option<String>,
    /// The time from which it counts.
    pub start: Option<Timestamp>,
    /// The time zone whose clocks it goes by.
    pub time_zone: Option<String>,
}

impl RuleChange {
    /// Takes the attributes of recurrence; `None` if none is given.
    pub(crate) fn take(given: &mut Fields<'_>, grammar: &Grammar) -> Option<Self> {
        let names = [
            "recurrencePattern",
            "recurrenceStartTime",
            "recurrenceTimeZone",
        ];
        let is_given = names.map(|name| given.is_given(name));
        if is_given == [false; 3] {
            return None;
        }
        let before = given.errors.len();
        let rule = Self {
            pattern: given.text(names[0], limits::RECURRENCE_CHARS),
            start: given.time(names[1]),
            time_zone: given.text(names[2], limits::TIME_ZONE_CHARS),
        };
        let found = [
            rule.pattern.is_some(),
            rule.start.is_some(),
            rule.time_zone.is_some(),
        ];
        for ((name, is_given), found) in names.into_iter().zip(is_given).zip(found) {
            if is_given && !found && !given.is_noted(name) {
                given.note(name, "must not be empty; to end the series, cancel it");
            }
        }
        if given.errors.len() == before {
            given.errors.extend(objections(
                rule.pattern.as_deref(),
                rule.start,
                rule.time_zone.as_deref(),
                grammar,
            ));
        }
        Some(rule)
    }

    /// The attributes that it names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let pattern = self.pattern.as_ref().map(|_| "recurrencePattern");
        let start = self.start.map(|_| "recurrenceStartTime");
        let zone = self.time_zone.as_ref().map(|_| "recurrenceTimeZone");
        pattern.into_iter().chain(start).chain(zone)
    }
}

/// The rules that a recurrence breaks.
pub(crate) fn objections(
    pattern: Option<&str>,
    start: Option<Timestamp>,
    time_zone: Option<&str>,
    grammar: &Grammar,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(pattern) = pattern {
        let limit = limits::RECURRENCE_CHARS;
        if pattern.len() > limit && pattern.chars().count() > limit {
            let why = format!("is too long: {limit} characters are allowed");
            errors.push(FieldError::new("recurrencePattern", why));
        } else if let Err(why) = (grammar.recurrence_pattern)(pattern) {
            errors.push(FieldError::new("recurrencePattern", why));
        }
    }
    if let Some(zone) = time_zone {
        let limit = limits::TIME_ZONE_CHARS;
        if zone.chars().count() > limit {
            let why = format!("is too long: {limit} characters are allowed");
            errors.push(FieldError::new("recurrenceTimeZone", why));
        } else if let Err(why) = (grammar.recurrence_time_zone)(zone) {
            errors.push(FieldError::new("recurrenceTimeZone", why));
        }
    }
    // Counting from the year 1 on would take a while.
    if start.is_some_and(|start| start < Timestamp::from_millis(0)) {
        let why = "must not be before 1970-01-01T00:00:00Z";
        errors.push(FieldError::new("recurrenceStartTime", why));
    }
    errors
}

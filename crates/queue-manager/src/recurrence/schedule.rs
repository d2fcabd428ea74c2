//! The recurrence of one series: how it begins, and how a change goes on.

use drumline_api::RuleChange;
use drumline_protocol::{Recurrence, Timestamp};

use super::{Rule, whole_second};

/// The recurrence of a series that is created now, and its first time.
///
/// That is the first time from the start on that is still to come: times
/// before the creation are not made up for.
pub(crate) fn begin(
    pattern: &str,
    time_zone: Option<&str>,
    start: Option<Timestamp>,
    now: Timestamp,
) -> (Recurrence, Option<Timestamp>) {
    // Not before the next second: "now" is to be the first time.
    let next_second = Timestamp::from_millis(now.as_millis().saturating_add(1));
    let recurrence = Recurrence {
        pattern: Recurrence::written(pattern, time_zone),
        start: whole_second(start.unwrap_or(next_second)),
        last: None,
    };
    let first = next_time(&recurrence, now);
    (recurrence, first)
}

/// The recurrence that a series has from a change on.
pub(crate) fn changed(recurrence: &Recurrence, change: &RuleChange) -> Recurrence {
    let rule = change.pattern.as_deref().unwrap_or(recurrence.rule());
    let zone = change.time_zone.as_deref().or(recurrence.time_zone());
    Recurrence {
        pattern: Recurrence::written(rule, zone),
        start: change.start.map_or(recurrence.start, whole_second),
        last: recurrence.last,
    }
}

/// The first time after `after`; `None` if there is none, or if only another
/// release can read the rule.
pub(crate) fn next_time(recurrence: &Recurrence, after: Timestamp) -> Option<Timestamp> {
    let rule = Rule::of(recurrence).ok()?;
    rule.next(recurrence.start, after)
}

//! The history of an operation: a bar of the time that it spent waiting, suspended
//! and running, and a table with every entry.

use drumline_protocol::history::Entry;
use drumline_protocol::{Author, History, State, Status, Timestamp};

use crate::text::Text;
use crate::time::{Moment, span};
use crate::words::{self, Badge};

/// The width of the bar in units of its own.
const WIDTH: u64 = 1000;
/// The least width of a part, so that it can be seen.
const LEAST: u64 = 4;

/// The history of an operation.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// The parts of the bar, in order.
    pub segments: Vec<Segment>,
    /// The entries, oldest first.
    pub entries: Vec<Line>,
    /// The number of entries that were dropped.
    pub omitted: u64,
    /// The time in each state, in words: label, class, span.
    pub totals: Vec<(&'static str, &'static str, String)>,
}

/// One part of the bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The distance from the left.
    pub x: u64,
    /// The width.
    pub width: u64,
    /// The class in the style sheet.
    pub class: &'static str,
}

/// One entry.
#[derive(Clone, Debug)]
pub struct Line {
    /// The number of entries that were dropped before this one.
    pub omitted_before: u64,
    /// The time.
    pub at: Moment,
    /// The event in words.
    pub event: &'static str,
    /// The status after it.
    pub status: Badge,
    /// The time until the next entry.
    pub lasted: String,
    /// The attempt; 0 before the first.
    pub attempt: u32,
    /// The author in words.
    pub author: Text,
    /// The address of the author, if it is an operation.
    pub author_address: Option<String>,
    /// The time until which the operation is to wait.
    pub until: Option<Moment>,
    /// The code of the fault, and its name.
    pub code: Option<Text>,
    /// The reason in words.
    pub reason: Option<Text>,
}

impl Timeline {
    /// The timeline of a history.
    #[must_use]
    pub fn of(history: &History, now: Timestamp) -> Self {
        let mut lines = Vec::new();
        let mut spans: Vec<(Status, u64)> = Vec::new();
        let mut before = 0;
        for (place, entry) in history.entries.iter().enumerate() {
            let next = history.entries.get(place + 1);
            let end = next.map_or(now, |next| next.at);
            let lasted = end.since(entry.at);
            let is_over = entry.status.state() == State::Completed && next.is_none();
            if !is_over {
                let ms = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
                spans.push((entry.status, ms));
            }
            let lasted = if is_over { String::new() } else { span(lasted) };
            let omitted_before = entry.version.saturating_sub(before + 1);
            before = entry.version;
            lines.push(Line::of(entry, omitted_before, lasted, now));
        }
        Self {
            segments: segments(&spans),
            totals: totals(&spans),
            entries: lines,
            omitted: history.omitted,
        }
    }
}

impl Line {
    fn of(entry: &Entry, omitted_before: u64, lasted: String, now: Timestamp) -> Self {
        let moment = |at| Moment { at, now };
        let (author, author_address) = match &entry.author {
            Author::Caller(name) => (Text::line(name), None),
            Author::Worker(host) => (Text::line(&format!("worker {host}")), None),
            Author::Manager(task) => (Text::line(&format!("manager, {task}")), None),
            Author::Handler(id) => (
                Text::line("handler of its parent"),
                Some(format!("/operations/{id}")),
            ),
            Author::Schedule(id) => (Text::line("its series"), Some(format!("/operations/{id}"))),
        };
        Self {
            omitted_before,
            at: moment(entry.at),
            event: words::event(entry.event),
            status: Badge(entry.status),
            lasted,
            attempt: entry.attempt,
            author,
            author_address,
            until: entry.until.map(moment),
            code: entry.code.map(|code| {
                let name = code.name().map(|name| format!("{code} {name}"));
                Text::line(&name.unwrap_or_else(|| code.to_string()))
            }),
            reason: entry.reason.as_deref().map(Text::line),
        }
    }
}

/// The parts of the bar; neighbours of one kind are one part.
fn segments(spans: &[(Status, u64)]) -> Vec<Segment> {
    let whole: u64 = spans.iter().map(|(_, ms)| *ms).sum();
    if whole == 0 {
        return Vec::new();
    }
    let mut parts: Vec<(&'static str, u64)> = Vec::new();
    for (status, ms) in spans {
        let class = words::lane(*status);
        match parts.last_mut() {
            Some((last, sum)) if *last == class => *sum += ms,
            _ => parts.push((class, *ms)),
        }
    }
    let share = |ms: u64| {
        let wide = u128::from(ms) * u128::from(WIDTH) / u128::from(whole);
        u64::try_from(wide).unwrap_or(WIDTH).max(LEAST)
    };
    // The least widths make the bar longer than it is: all are scaled back.
    let sum: u64 = parts.iter().map(|(_, ms)| share(*ms)).sum();
    let mut x = 0;
    let mut segments = Vec::new();
    for (class, ms) in parts {
        let width = share(ms) * WIDTH / sum.max(1);
        segments.push(Segment { x, width, class });
        x += width;
    }
    segments
}

fn totals(spans: &[(Status, u64)]) -> Vec<(&'static str, &'static str, String)> {
    let kinds = [
        ("waiting", "wait"),
        ("suspended", "pause"),
        ("running", "run"),
    ];
    let mut totals = Vec::new();
    for (label, class) in kinds {
        let of_kind = spans
            .iter()
            .filter(|(status, _)| words::lane(*status) == class);
        let ms: u64 = of_kind.map(|(_, ms)| *ms).sum();
        if ms > 0 {
            let spent = span(std::time::Duration::from_millis(ms));
            totals.push((label, class, spent));
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_filled_and_shows_every_part() {
        let spans = [
            (Status::WaitingForResources, 1),
            (Status::InProgress, 1_000_000),
            (Status::Pausing, 5),
            (Status::Waiting, 3),
        ];
        let bar = segments(&spans);
        let classes: Vec<_> = bar.iter().map(|segment| segment.class).collect();
        assert_eq!(classes, ["wait", "run", "pause"]);
        assert!(bar.iter().all(|segment| segment.width > 0), "{bar:?}");
        let last = bar.last().unwrap();
        assert!(last.x + last.width <= WIDTH, "{bar:?}");
        assert!(segments(&[]).is_empty());
        assert!(segments(&[(Status::Waiting, 0)]).is_empty());
    }
}

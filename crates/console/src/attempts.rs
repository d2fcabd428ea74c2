//! The attempts of an operation: each start of its handler, and what it has printed.

use drumline_protocol::output::plain;
use drumline_protocol::transition::EventKind;
use drumline_protocol::{Attempt, Output, Timestamp};

use crate::text::{Text, bytes};
use crate::time::{Moment, span};

/// One attempt.
#[derive(Clone, Debug)]
pub struct AttemptLine {
    /// The number, from 1.
    pub number: u32,
    /// The word for its end.
    pub outcome: &'static str,
    /// The host id of the worker.
    pub host: Option<Text>,
    /// The time of its start.
    pub started: Option<Moment>,
    /// The time that it took, if it has ended.
    pub lasted: Option<String>,
    /// The code of the fault, and its name.
    pub code: Option<Text>,
    /// The reason in words.
    pub reason: Option<Text>,
    /// The end of what its handler has printed.
    pub printed: Option<Printed>,
}

/// The end of what a handler has printed.
#[derive(Clone, Debug)]
pub struct Printed {
    /// The text.
    pub text: Text,
    /// The bytes of the text, in words.
    pub size: String,
    /// The bytes before it that are not kept, in words.
    pub cut: Option<String>,
    /// True if it is what a person looks for: that of the last attempt that has
    /// failed.
    pub is_open: bool,
}

impl AttemptLine {
    /// The lines of all attempts, the latest first.
    #[must_use]
    pub fn all(attempts: &[Attempt], now: Timestamp) -> Vec<Self> {
        let mut lines: Vec<Self> = attempts
            .iter()
            .rev()
            .map(|attempt| Self::of(attempt, now))
            .collect();
        let failed = attempts.iter().rev().position(has_failed);
        let last = failed.and_then(|place| lines.get_mut(place));
        if let Some(printed) = last.and_then(|line| line.printed.as_mut()) {
            printed.is_open = true;
        }
        lines
    }

    fn of(attempt: &Attempt, now: Timestamp) -> Self {
        let span_of = |(from, to): (Timestamp, Timestamp)| span(to.since(from));
        Self {
            number: attempt.number,
            outcome: attempt.outcome(),
            host: attempt.host.as_deref().map(Text::line),
            started: attempt.started.map(|at| Moment { at, now }),
            lasted: attempt.started.zip(attempt.ended).map(span_of),
            code: attempt.code.map(|code| {
                let name = code.name().map(|name| format!("{code} {name}"));
                Text::line(&name.unwrap_or_else(|| code.to_string()))
            }),
            reason: attempt.reason.as_deref().map(Text::line),
            printed: attempt.output.as_ref().map(Printed::of),
        }
    }
}

impl Printed {
    fn of(output: &Output) -> Self {
        let cut = usize::try_from(output.cut).unwrap_or(usize::MAX);
        Self {
            text: Text::block(&plain(&output.text)),
            size: bytes(output.text.len()),
            cut: (cut > 0).then(|| bytes(cut)),
            is_open: false,
        }
    }
}

/// Returns true for an attempt that has ended with a fault.
const fn has_failed(attempt: &Attempt) -> bool {
    matches!(
        attempt.end,
        Some(EventKind::Fail | EventKind::Retry | EventKind::Suspend)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u32, end: EventKind) -> Attempt {
        Attempt {
            number,
            end: Some(end),
            output: Some(Output {
                attempt: number,
                cut: 2048,
                text: "\u{1b}[1mbold\u{1b}[0m\n".to_owned(),
            }),
            ..Attempt::default()
        }
    }

    #[test]
    fn the_latest_attempt_comes_first_and_the_last_failure_is_open() {
        let attempts = [
            attempt(1, EventKind::Retry),
            attempt(2, EventKind::Retry),
            attempt(3, EventKind::Release),
        ];
        let now = Timestamp::from_millis(1_795_000_000_000);
        let lines = AttemptLine::all(&attempts, now);
        let told: Vec<_> = lines
            .iter()
            .map(|line| {
                (
                    line.number,
                    line.outcome,
                    line.printed.as_ref().unwrap().is_open,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (3, "released", false),
                (2, "retried", true),
                (1, "retried", false),
            ]
        );
        let printed = lines[0].printed.as_ref().unwrap();
        assert_eq!(printed.text.as_str(), "bold\n");
        assert_eq!(printed.cut.as_deref(), Some("2.0 KiB"));
    }
}

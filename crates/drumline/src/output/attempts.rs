//! Attempts for people.

use drumline_client::{AttemptView, AttemptsView};
use drumline_protocol::output::plain;
use drumline_protocol::text::counted;

use super::clean::clean;
use super::time::{parse, short};

/// The words for an operation whose handler was never started.
const NONE: &str = "no handler has been started yet";

/// A headline for each attempt, with what its handler has printed below it. The gaps
/// between them are counted, unless `only_last` is asked for.
pub(crate) fn text(attempts: &AttemptsView, only_last: bool) -> String {
    if attempts.attempts.is_empty() {
        return NONE.to_owned();
    }
    let mut lines = Vec::new();
    let mut next = 1;
    for attempt in &attempts.attempts {
        let missing = attempt.number.saturating_sub(next);
        if missing > 0 && !only_last {
            lines.push(format!("… {missing} more …"));
        }
        next = attempt.number.saturating_add(1);
        lines.push(headline(attempt));
        lines.extend(output(attempt));
    }
    lines.join("\n")
}

fn headline(attempt: &AttemptView) -> String {
    let time = |text: &str| parse(text).map_or_else(|| clean(text), short);
    let mut line = format!("attempt {}: {}", attempt.number, clean(&attempt.outcome));
    if let Some(host) = &attempt.host_id {
        line.push_str(&format!(" on {}", clean(host)));
    }
    match (&attempt.started_on, &attempt.ended_on) {
        (Some(from), Some(to)) => line.push_str(&format!(", {} to {}", time(from), time(to))),
        (Some(from), None) => line.push_str(&format!(", since {}", time(from))),
        (None, Some(to)) => line.push_str(&format!(", until {}", time(to))),
        (None, None) => {}
    }
    for note in [&attempt.error_code, &attempt.reason].into_iter().flatten() {
        line.push_str(&format!("; {}", clean(note)));
    }
    line
}

/// The lines of the output, set in.
fn output(attempt: &AttemptView) -> Vec<String> {
    let Some(output) = &attempt.output else {
        return Vec::new();
    };
    let cut = attempt.output_cut_bytes.filter(|cut| *cut > 0);
    let cut = cut.map(|cut| {
        format!(
            "  … {} not kept …",
            counted(cut, "byte before is", "bytes before are")
        )
    });
    let output = plain(output);
    let printed = output.lines().map(|line| format!("  {}", clean(line)));
    cut.into_iter().chain(printed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u32, outcome: &str) -> AttemptView {
        AttemptView {
            number,
            outcome: outcome.to_owned(),
            started_on: Some("2026-11-18T11:06:40.123Z".to_owned()),
            ended_on: Some("2026-11-18T11:07:40Z".to_owned()),
            host_id: Some("host:1".to_owned()),
            error_code: None,
            reason: None,
            output: None,
            output_cut_bytes: None,
        }
    }

    #[test]
    fn an_attempt_is_a_headline_and_what_it_has_printed() {
        let mut failed = attempt(5, "retried");
        failed.error_code = Some("0x80040324".to_owned());
        failed.output = Some("\u{1b}[31mline 1\u{1b}[0m\r\nline\u{202e} 2\n".to_owned());
        failed.output_cut_bytes = Some(100);
        let attempts = AttemptsView {
            attempts: vec![attempt(1, "lost"), failed],
            omitted: 3,
        };
        assert_eq!(
            text(&attempts, false),
            "attempt 1: lost on host:1, 2026-11-18 11:06:40 to 2026-11-18 11:07:40\n\
             … 3 more …\n\
             attempt 5: retried on host:1, 2026-11-18 11:06:40 to 2026-11-18 11:07:40; 0x80040324\n  \
             … 100 bytes before are not kept …\n  \
             line 1\n  \
             line\u{fffd} 2"
        );
        assert_eq!(text(&AttemptsView::default(), false), NONE);
    }
}

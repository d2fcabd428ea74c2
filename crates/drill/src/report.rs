//! The report of a drill as a page for a browser: one file that loads nothing.

use std::collections::BTreeMap;

use askama::Template;
use drumline_oracle::journal::{Entry, Event};
use drumline_oracle::{Outcome, Promise, Tally, Verdict};

use crate::Drilled;
use crate::load::Blockers;

/// The width of a time line, in units of its own.
const WIDTH: u64 = 1000;
/// The faults that the page shows in words.
const SHOWN: usize = 50;
/// The most tokens that have a line.
const LINES: usize = 200;

/// The page.
#[derive(Template)]
#[template(path = "report.html")]
struct Report<'a> {
    page: Page<'a>,
}

struct Page<'a> {
    outcome: &'static str,
    class: &'static str,
    sentence: &'static str,
    target: &'a str,
    plan: String,
    release: &'static str,
    promises: Vec<Row>,
    faults: Vec<String>,
    more: usize,
    numbers: Vec<(&'static str, u64)>,
    seconds: u64,
    happened: Vec<Mark<'a>>,
    lines: Vec<TokenLine>,
}

struct Row {
    number: &'static str,
    title: &'static str,
    unit: &'static str,
    tested: u64,
    violated: usize,
    not_tested: Option<&'static str>,
}

struct Mark<'a> {
    x: u64,
    second: u64,
    what: &'a str,
}

/// The line of a token.
struct TokenLine {
    label: String,
    summary: String,
    parts: Vec<Part>,
}

/// A run on a line.
struct Part {
    x: u64,
    width: u64,
    class: &'static str,
}

/// The result in a few words, its class in the style sheet, and its meaning.
#[must_use]
pub const fn words(outcome: Outcome) -> (&'static str, &'static str, &'static str) {
    match outcome {
        Outcome::Kept => (
            "Every promise was kept",
            "kept",
            "The faults have happened, and no promise that was tested was broken.",
        ),
        Outcome::Broken => (
            "A promise was broken",
            "broken",
            "This is a bug of Drumline, or of this drill. Please report it with this page and the logs.",
        ),
        Outcome::Void => (
            "The drill is void",
            "void",
            "No promise was broken, but a fault that was to happen has not. This run proves nothing: repeat it, and for longer.",
        ),
    }
}

/// Writes the page.
///
/// # Errors
/// When the template cannot be filled, which is a bug.
pub fn html(drilled: &Drilled) -> Result<String, askama::Error> {
    let Drilled {
        verdict,
        faults,
        history,
        ..
    } = drilled;
    let (outcome, class, sentence) = words(verdict.outcome());
    let all = verdict.faults();
    let span = Span::of(drilled);
    let runs = runs(&history.runs);
    let page = Page {
        outcome,
        class,
        sentence,
        target: &drilled.target,
        plan: drilled.plan.to_string(),
        release: env!("CARGO_PKG_VERSION"),
        promises: rows(verdict),
        more: all.len().saturating_sub(SHOWN),
        faults: all.into_iter().take(SHOWN).collect(),
        numbers: numbers(&verdict.tally),
        seconds: span.seconds(span.until),
        happened: faults
            .happened
            .iter()
            .map(|one| Mark {
                x: span.x(one.at_ns),
                second: span.seconds(one.at_ns),
                what: &one.what,
            })
            .collect(),
        lines: lines(drilled, &runs, span),
    };
    Report { page }.render()
}

fn rows(verdict: &Verdict) -> Vec<Row> {
    let rows = verdict.promises.iter().map(|one| Row {
        number: one.promise.number(),
        title: one.promise.title(),
        unit: one.promise.unit(),
        tested: one.tested,
        violated: one.violations.len(),
        not_tested: one.not_tested,
    });
    rows.collect()
}

fn numbers(tally: &Tally) -> Vec<(&'static str, u64)> {
    vec![
        ("operations", tally.operations),
        ("Succeeded", tally.succeeded),
        ("Failed", tally.failed),
        ("Canceled", tally.canceled),
        ("starts of handlers", tally.runs),
        ("runs taken over", tally.take_overs),
        ("runs that went on without their lock", tally.stale_runs),
        ("writes that the sink accepted", tally.accepted_writes),
        ("stale writes that the sink refused", tally.refused_writes),
        ("calls of clients", tally.calls),
        ("calls without an answer", tally.unknown_calls),
    ]
}

/// The time that the lines show.
#[derive(Clone, Copy)]
struct Span {
    from: u64,
    until: u64,
}

impl Span {
    fn of(drilled: &Drilled) -> Self {
        let runs = drilled.history.runs.iter().map(|entry| entry.at_ns);
        let faults = drilled.faults.happened.iter().map(|one| one.at_ns);
        let times = || runs.clone().chain(faults.clone());
        Self {
            from: times().min().unwrap_or(0),
            until: times().max().unwrap_or(0),
        }
    }

    fn x(self, at_ns: u64) -> u64 {
        let whole = u128::from(self.until.saturating_sub(self.from)).max(1);
        let part = u128::from(at_ns.clamp(self.from, self.until) - self.from);
        u64::try_from(part * u128::from(WIDTH) / whole).unwrap_or(WIDTH)
    }

    const fn seconds(self, at_ns: u64) -> u64 {
        at_ns.saturating_sub(self.from) / 1_000_000_000
    }
}

/// A run as the page shows it.
struct Run<'a> {
    start: &'a Entry,
    end_ns: Option<u64>,
}

/// The runs of each token, in order of their fences.
fn runs(entries: &[Entry]) -> BTreeMap<usize, Vec<Run<'_>>> {
    let mut runs: BTreeMap<usize, Vec<Run<'_>>> = BTreeMap::new();
    for entry in entries {
        let of_token = runs.entry(entry.token).or_default();
        match entry.event {
            Event::Start => of_token.push(Run {
                start: entry,
                end_ns: None,
            }),
            Event::Report => {}
            Event::End => {
                let run = of_token
                    .iter_mut()
                    .rfind(|run| run.start.fence == entry.fence && run.start.id == entry.id);
                if let Some(run) = run {
                    run.end_ns = Some(entry.at_ns);
                }
            }
        }
    }
    for of_token in runs.values_mut() {
        of_token.sort_by_key(|run| run.start.fence);
    }
    runs
}

fn lines(drilled: &Drilled, runs: &BTreeMap<usize, Vec<Run<'_>>>, span: Span) -> Vec<TokenLine> {
    let tokens = drilled.plan.tokens + Blockers::TOKENS;
    let mut lines = Vec::new();
    for (token, runs) in runs.range(..tokens).take(LINES) {
        let stands = drilled.blocked.iter().find(|one| one.token == *token);
        let label = match stands {
            Some(blocked) => format!("token {token}, {}", blocked.why),
            None => format!("token {token}"),
        };
        let mut parts = Vec::new();
        let mut lost = 0;
        for (place, run) in runs.iter().enumerate() {
            let next = runs.get(place + 1).map(|next| next.start.at_ns);
            let x = span.x(run.start.at_ns);
            let (end, class) = match (run.end_ns, next) {
                (Some(end), Some(next)) if end > next => (next, "lost"),
                (Some(end), _) => (end, "run"),
                (None, next) => (next.unwrap_or(span.until), "lost"),
            };
            lost += usize::from(class == "lost");
            parts.push(part(x, span.x(end), class));
            if let (Some(end), Some(next)) = (run.end_ns, next)
                && end > next
            {
                parts.push(part(span.x(end).saturating_sub(3), span.x(end), "stale"));
            }
        }
        let summary = format!("{} runs, {lost} of them lost", runs.len());
        lines.push(TokenLine {
            label,
            summary,
            parts,
        });
    }
    lines
}

/// A part that can be seen, however short it is.
fn part(from: u64, until: u64, class: &'static str) -> Part {
    Part {
        x: from,
        width: until.saturating_sub(from).max(1),
        class,
    }
}

/// A promise, for a line of text: `P1 Nothing accepted is lost`.
#[must_use]
pub fn heading(promise: Promise) -> String {
    format!("{} {}", promise.number(), promise.title())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use drumline_oracle::journal::History;
    use drumline_oracle::{Blocked, Evidence, Final, judge};

    use super::*;
    use crate::faults::Happened;
    use crate::{Faults, Plan};

    fn entry(event: Event, pid: u32, fence: u64, second: u64) -> Entry {
        Entry {
            event,
            id: "<b>a</b>".to_owned(),
            pid,
            fence,
            at_ns: second * 1_000_000_000,
            ..Entry::default()
        }
    }

    /// A drill of ten seconds, in which the run of process 1 was lost and went on.
    fn drilled() -> Drilled {
        let history = History {
            runs: vec![
                entry(Event::Start, 1, 1, 10),
                entry(Event::Start, 2, 2, 15),
                entry(Event::End, 1, 1, 18),
                entry(Event::End, 2, 2, 20),
            ],
            ..History::default()
        };
        let finals = vec![Final {
            id: "<b>a</b>".to_owned(),
            status: 30,
            starts: 2,
            ..Final::default()
        }];
        let evidence = Evidence {
            history,
            finals,
            ..Evidence::default()
        };
        Drilled {
            verdict: judge(&evidence),
            target: "Redis 7, RabbitMQ 3".to_owned(),
            plan: Arc::new(Plan {
                duration: Duration::from_secs(10),
                managers: 2,
                workers: 2,
                concurrency: 1,
                tokens: 1,
                rate: 1,
                lease: Duration::from_secs(1),
                seed: 1,
            }),
            faults: Faults {
                happened: vec![Happened {
                    at_ns: 15_000_000_000,
                    what: "worker 1 stopped".to_owned(),
                }],
                ..Faults::default()
            },
            history: evidence.history,
            blocked: vec![Blocked {
                id: String::new(),
                token: 0,
                why: "paused".to_owned(),
                from_ns: 0,
                until_ns: 0,
            }],
        }
    }

    #[test]
    fn the_page_says_what_is_wrong_and_shows_each_run_and_fault() {
        let page = html(&drilled()).unwrap();
        assert!(page.contains("<h1>A promise was broken</h1>"), "{page}");
        assert!(page.contains("P2: attempt 0 of &#60;b&#62;a"), "{page}");
        assert!(page.contains("not tested: no token stood still"), "{page}");
        assert!(page.contains("<span>token 0, paused</span>"), "{page}");
        assert!(page.contains("2 runs, 1 of them lost"), "{page}");
        assert!(page.contains("<li>5 s: worker 1 stopped</li>"), "{page}");
        let lost = "<rect class=\"lost\" x=\"0\" width=\"500\" height=\"10\"/>";
        assert!(page.contains(lost), "{page}");
        assert!(
            page.contains("class=\"stale\" x=\"797\" width=\"3\""),
            "{page}"
        );
        assert!(page.contains("class=\"mark\" x=\"500\""), "{page}");
    }

    #[test]
    fn the_page_stands_alone_and_fits_a_phone_and_the_dark() {
        let page = html(&drilled()).unwrap();
        for loads in ["src=", "href=", "url(", "@import", "<script"] {
            assert!(!page.contains(loads), "{loads}");
        }
        assert!(page.contains("width=device-width"));
        assert!(page.contains("prefers-color-scheme: dark"));
        assert!(page.contains("max-width: 40rem"));
    }
}

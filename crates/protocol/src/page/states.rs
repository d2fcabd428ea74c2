//! The tables and the diagram of docs/states.md, written from [`apply`].
//!
//! Every cell is computed: each event happens to each status, once for every
//! header in [`samples`] that could make a difference, and the cell has all
//! results. A new status or event does not compile before [`samples`] has it,
//! and changes the page.

pub mod samples;

use std::fmt::Write as _;

use crate::operation::{Header, first_header};
use crate::status::{State, Status};
use crate::transition::{Event, EventKind, Transition, apply};

use self::samples::{LATER, NOW, at, rules};

/// Returns all parts of the page, in the order in which they stand there.
#[must_use]
pub fn parts() -> Vec<String> {
    vec![
        super::part("statuses", &statuses()),
        super::part("diagram", &diagram()),
        super::part(
            "transitions",
            &grid(&Status::ALL, samples::headers, Rows::All),
        ),
        super::part(
            "transitions of an operation that holds its chain",
            &grid(
                &[Status::Failed, Status::Canceled],
                samples::holding,
                Rows::Accepted,
            ),
        ),
        super::part(
            "transitions of a series",
            &grid(
                &[
                    Status::Waiting,
                    Status::Succeeded,
                    Status::Failed,
                    Status::Canceled,
                ],
                samples::series,
                Rows::Accepted,
            ),
        ),
    ]
}

/// Returns every arrow of the tables: the event, the status before it and the status after it.
/// Removals lead to no status and are left out.
#[must_use]
pub fn arrows() -> Vec<(EventKind, Status, Status)> {
    let mut arrows = Vec::new();
    for from in samples::statuses() {
        let mut headers = samples::headers(from);
        headers.extend(samples::series(from));
        if matches!(from, Status::Failed | Status::Canceled) {
            headers.extend(samples::holding(from));
        }
        for event in samples::events() {
            for transition in transitions(&headers, &event) {
                let arrow = (event.kind(), from, transition.header.status);
                if !transition.effects.remove && !arrows.contains(&arrow) {
                    arrows.push(arrow);
                }
            }
        }
    }
    arrows
}

/// The statuses with their numbers.
fn statuses() -> String {
    let mut text = "| StateCode | StatusCode | meaning |\n|---|---|---|\n".to_owned();
    let mut last = None;
    for status in samples::statuses() {
        let state = status.state();
        let shown = if last == Some(state) {
            String::new()
        } else {
            format!("{} {} ", state.code(), state.name())
        };
        last = Some(state);
        let (code, name) = (status.code(), status.name());
        let meaning = samples::meaning(status);
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "| {shown}| {code} {name} | {meaning} |");
    }
    text
}

/// Every arrow, as Mermaid draws it.
fn diagram() -> String {
    let mut text = "```mermaid\nstateDiagram-v2\n".to_owned();
    let mut arrow = |from: &str, to: &str, label: &str| {
        let _infallible = writeln!(text, "    {from} --> {to} : {label}");
    };
    let created = |until| first_header(rules(), until, at().commit, NOW).status;
    arrow("[*]", &node(created(None)), "create");
    arrow("[*]", &node(created(Some(LATER))), "create, postponed");
    let headers = |status| {
        let mut headers = samples::headers(status);
        if status == Status::Waiting || status.state() == State::Completed {
            headers.extend(samples::series(status));
        }
        headers
    };
    for from in samples::statuses() {
        let headers = headers(from);
        for to in samples::statuses() {
            let label = events_between(&headers, |transition| {
                !transition.effects.remove && transition.header.status == to
            });
            if !label.is_empty() {
                arrow(&node(from), &node(to), &label);
            }
        }
        let label = events_between(&headers, |transition| transition.effects.remove);
        if !label.is_empty() {
            arrow(&node(from), "[*]", &label);
        }
    }
    text + "```\n"
}

/// The names of the events after which `leads` there from one of the headers.
fn events_between(headers: &[Header], leads: impl Fn(&Transition) -> bool) -> String {
    let mut names = Vec::new();
    for event in samples::events() {
        let name = event.name();
        if !names.contains(&name) && transitions(headers, &event).iter().any(&leads) {
            names.push(name);
        }
    }
    names.join(", ")
}

fn node(status: Status) -> String {
    format!("{}{}", status.name(), status.code())
}

/// The rows of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// One per event.
    All,
    /// One per event that is accepted anywhere, and one for the others.
    Accepted,
}

/// A table with a row for each event and a column for each status.
fn grid(columns: &[Status], headers: fn(Status) -> Vec<Header>, rows: Rows) -> String {
    let mut text = String::from("| event | from |");
    for status in columns {
        let _infallible = write!(text, " {} |", status.code());
    }
    text += &format!("\n|---|---|{}\n", "---|".repeat(columns.len()));
    let mut refused = false;
    for events in samples::events().chunk_by(|one, other| one.name() == other.name()) {
        let Some(event) = events.first() else {
            continue;
        };
        let cells: Vec<String> = columns
            .iter()
            .map(|&status| cell(&headers(status), events))
            .collect();
        if rows == Rows::Accepted && cells.iter().all(|cell| cell == REFUSED) {
            refused = true;
            continue;
        }
        let note = samples::note(event);
        let name = format!("{} {note}", event.name());
        let name = name.trim_end();
        let (source, cells) = (samples::source(event), cells.join(" | "));
        let _infallible = writeln!(text, "| {name} | {source} | {cells} |");
    }
    if refused {
        let cells = vec![REFUSED; columns.len()].join(" | ");
        let _infallible = writeln!(text, "| all others | | {cells} |");
    }
    text
}

/// The mark of a refused event.
const REFUSED: &str = "-";

/// Everything that the events lead to from the headers.
fn cell(headers: &[Header], events: &[Event]) -> String {
    let mut results: Vec<String> = Vec::new();
    for event in events {
        for header in headers {
            let Ok(transition) = apply(header, event.clone(), at()) else {
                continue;
            };
            let result = result(header, &transition);
            if !results.contains(&result) {
                results.push(result);
            }
        }
    }
    if results.is_empty() {
        REFUSED.to_owned()
    } else {
        results.join(" or ")
    }
}

fn result(before: &Header, transition: &Transition) -> String {
    let code = transition.header.status.code();
    if transition.effects.remove {
        "gone".to_owned()
    } else if before.holding && !transition.header.holding {
        format!("{code}, the chain goes on")
    } else {
        code.to_string()
    }
}

/// The transitions that an event makes from those headers that accept it.
fn transitions(headers: &[Header], event: &Event) -> Vec<Transition> {
    headers
        .iter()
        .filter_map(|header| apply(header, event.clone(), at()).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../../docs/states.md");

    #[test]
    fn the_page_has_the_transitions_of_the_code() {
        let parts = parts();
        assert_eq!(PAGE.matches("written by the code").count(), parts.len());
        for part in parts {
            let name = part.lines().next().unwrap();
            assert!(
                PAGE.contains(&part),
                "docs/states.md is not what the code says at `{name}`: run `make docs` and commit it"
            );
        }
    }

    #[test]
    fn every_note_of_a_table_is_explained_below_it() {
        for event in samples::events() {
            let note = samples::note(&event);
            let explained = PAGE.lines().any(|line| line.starts_with(note));
            assert!(explained, "{}: {note}", event.name());
        }
    }

    #[test]
    fn a_settled_operation_is_removed_and_nothing_else_happens_to_it() {
        let mut settled = 0;
        for status in samples::statuses() {
            let mut headers = samples::headers(status);
            headers.extend(samples::series(status));
            headers.extend(samples::holding(status));
            headers.retain(Header::is_settled);
            settled += headers.len();
            for event in samples::events() {
                for transition in transitions(&headers, &event) {
                    assert!(transition.effects.remove, "{status:?}, {}", event.name());
                }
            }
        }
        assert!(settled >= 3, "one of each end");
    }

    #[test]
    fn the_arrows_are_those_of_the_tables() {
        let arrows = arrows();
        for arrow in [
            (
                EventKind::Claim,
                Status::WaitingForResources,
                Status::InProgress,
            ),
            (EventKind::Release, Status::Pausing, Status::Waiting),
            (EventKind::Resume, Status::Failed, Status::Failed),
            (EventKind::Occur, Status::Waiting, Status::Waiting),
        ] {
            assert!(arrows.contains(&arrow), "{arrow:?}");
        }
        let ends = arrows
            .iter()
            .filter(|(_, from, _)| *from == Status::Succeeded);
        assert_eq!(ends.count(), 0);
        assert!(arrows.iter().all(|(event, ..)| *event != EventKind::Delete));
    }

    #[test]
    fn every_status_is_in_the_tables() {
        assert_eq!(samples::statuses(), Status::ALL);
    }
}

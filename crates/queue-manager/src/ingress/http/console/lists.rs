//! `/series`: the operations that recur; and the parts of pages that look at the newest
//! operations.
//!
//! No index lists series. So the page looks at the newest Suspended operations, and says
//! how many it has looked at.

use axum::extract::State;
use axum::response::Html;
use drumline_backend::store::{Filter, Page, Summary};
use drumline_console::{Cell, Moment, Section, Sheet, SheetPage, Text};
use drumline_protocol::{OperationId, Recurrence, State as Stage, Timestamp};
use tokio::time::{Duration, Instant};

use super::html;
use super::operation::title;
use super::viewer::Seen;
use crate::error::Result;
use crate::ingress::http::problem::Answer;
use crate::recurrence;
use crate::service::{Query, QueueManager};

/// Operations that are looked at for a page.
const LOOKED_AT: usize = 200;
/// The time for which the next times of series are computed for a page. Most rules take
/// microseconds, and one with a COUNT some milliseconds.
const LONGEST: Duration = Duration::from_millis(100);

/// The operations that recur.
pub(super) async fn series(
    State(manager): State<QueueManager>,
    seen: Seen,
) -> Answer<Html<String>> {
    let filter = Filter {
        state: Some(Stage::Suspended),
        ..Filter::default()
    };
    let found = look(&manager, &seen, filter, None).await?;
    let mut sheet = Sheet {
        columns: vec![
            "Series",
            "Rule",
            "Next",
            "Next five times",
            "Last occurrence",
        ],
        intro: vec![looked_at(&found, "Suspended operation")],
        empty: "There is no series among these.",
        ..Sheet::default()
    };
    let end = Instant::now() + LONGEST;
    for one in &found.operations {
        let Some(recurrence) = &one.header.recurrence else {
            continue;
        };
        let times = if Instant::now() < end {
            manager.next_occurrences(&one.header).unwrap_or_default()
        } else {
            Vec::new()
        };
        let times = times.into_iter().map(|at| {
            let words = recurrence::by_its_clock(recurrence, at);
            (at, Text::line(&words))
        });
        let times = Cell::times(times.collect());
        let times = if times.is_empty() && one.header.postpone_until.is_some() {
            Cell::link("on its page", format!("/operations/{}", one.id))
        } else {
            times
        };
        let next = match one.header.postpone_until {
            Some(next) => moment_cell(Some(next), seen.now),
            None => Cell::text("none: it is paused"),
        };
        let last = recurrence.last.map_or_else(Cell::default, |last| {
            let at = Moment {
                at: last.created(),
                now: seen.now,
            };
            Cell::link(at.relative(), format!("/operations/{last}"))
        });
        sheet.rows.push(vec![
            Cell::link(title(&one.body), format!("/operations/{}", one.id)),
            Cell::text(rule_in_words(recurrence)),
            next,
            times,
            last,
        ]);
    }
    Ok(html(&SheetPage {
        frame: seen.frame("Series", Section::Series),
        lead: vec![Text::sentence(
            "A series creates an operation each time its rule comes due; it never runs itself",
        )],
        search: None,
        sheets: vec![sheet],
    }))
}

/// The newest operations that a filter selects, or those that are older than a cursor.
pub(super) async fn look(
    manager: &QueueManager,
    seen: &Seen,
    filter: Filter,
    cursor: Option<OperationId>,
) -> Result<Page<Summary>> {
    let query = Query {
        filter,
        cursor,
        limit: LOOKED_AT,
    };
    manager.list_summaries(&seen.actor, &query).await
}

/// The extent of a search, in a sentence. `what` names one of its objects.
pub(super) fn looked_at(found: &Page<Summary>, what: &str) -> Text {
    let count = found.operations.len();
    Text::sentence(&match found.next {
        Some(next) => format!(
            "looked at the newest {count} {what}s, back to {}; there are more",
            drumline_console::exact(next.created())
        ),
        None => match count {
            0 => format!("there is no {what}"),
            1 => format!("looked at the only {what}"),
            _ => format!("looked at all {count} {what}s"),
        },
    })
}

pub(super) fn moment_cell(at: Option<Timestamp>, now: Timestamp) -> Cell {
    at.map_or_else(Cell::default, |at| Cell::moment(Moment { at, now }))
}

/// A rule, with its time zone behind it.
fn rule_in_words(recurrence: &Recurrence) -> String {
    match recurrence.time_zone() {
        Some(zone) => format!("{} ({zone})", recurrence.rule()),
        None => recurrence.rule().to_owned(),
    }
}

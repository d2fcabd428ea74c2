//! `/failures`: failures that are the same to a person, put together.

use axum::extract::State;
use axum::response::Html;
use drumline_backend::store::{FailureGroup, FailureHours, Filter, Rollup};
use drumline_console::{Cell, Chart, Moment, Section, Sheet, SheetPage, Text, address, number};
use drumline_protocol::{Status, Timestamp};

use super::viewer::Seen;
use super::{html, pulse};
use crate::error::Result;
use crate::ingress::http::problem::Answer;
use crate::service::{Failing, Query, QueueManager};

/// Groups that are shown.
const SHOWN: usize = 100;

/// The page.
pub(super) async fn failures(
    State(manager): State<QueueManager>,
    seen: Seen,
) -> Answer<Html<String>> {
    let (groups, runs) = tokio::join!(
        // One more shows whether there are more.
        manager.failing(&seen.actor, SHOWN + 1),
        runs(&manager, &seen),
    );
    let (groups, runs) = (groups?, runs?);
    let mut columns = vec![
        "Message",
        "Failures",
        "Last 24 hours",
        "Code",
        "Latest",
        "First",
        "Error",
    ];
    if runs.is_some() {
        columns.push("Failed of all that ended in 3 hours");
    }
    let rows = groups.iter().take(SHOWN).map(|group| {
        let mut row = row(group, seen.now);
        row.extend(runs.as_ref().map(|runs| share(runs, &group.group)));
        row
    });
    let mut intro = Vec::new();
    if groups.len() > SHOWN {
        let more = format!("these are the {SHOWN} kinds that failed last, and there are more");
        intro.push(Text::sentence(&more));
    } else if groups.is_empty() && has_failed(&manager, &seen).await? {
        intro.push(Text::sentence(
            "operations have failed, but none is counted: a failure is counted some seconds later, and forgotten 30 days after the last one",
        ));
    }
    let empty = if intro.is_empty() {
        "Nothing has failed."
    } else {
        "No failure is counted."
    };
    let all = address("/operations", [("status", "Failed")]);
    let sheet = Sheet {
        columns,
        rows: rows.collect(),
        intro,
        empty,
        links: vec![(Text::line("All operations that failed"), all)],
        ..Sheet::default()
    };
    let lead = "Failures are put together if their message name and code are the same, and their errors differ in numbers, ids and quoted texts only";
    Ok(html(&SheetPage {
        frame: seen.frame("Failures", Section::Failures),
        lead: vec![Text::sentence(lead)],
        search: None,
        sheets: vec![sheet],
    }))
}

fn row(failing: &Failing, now: Timestamp) -> Vec<Cell> {
    let Failing { group, hours } = failing;
    let FailureGroup {
        key: _,
        message_name,
        code,
        pattern,
        count,
        first,
        last,
        sample,
    } = group;
    let failed = [("messageName", message_name.as_str()), ("status", "Failed")];
    let cell = Cell::text(code.to_string());
    let words = match pattern.trim() {
        "" => "no words",
        words => words,
    };
    vec![
        Cell::link(message_name.as_str(), address("/operations", failed)),
        Cell::text(number(*count)),
        last_day(hours),
        match code.name() {
            Some(name) => cell.with_note(name),
            None => cell,
        },
        Cell::moment(Moment { at: *last, now }),
        Cell::moment(Moment { at: *first, now }),
        Cell::link(words, format!("/operations/{sample}")),
    ]
}

/// The failures of each of the last hours, as bars.
fn last_day(hours: &FailureHours) -> Cell {
    let all = number(hours.iter().sum());
    let now = number(hours.last().copied().unwrap_or(0));
    Cell::chart(Chart {
        title: "Failures in each of the last 24 hours",
        summary: Text::line(&format!("{all}, in this hour {now}")),
        class: "bad",
        values: hours.to_vec(),
    })
}

/// Counts the runs of each message name lately, for callers that may see the fleet: the numbers are of all organizations.
async fn runs(manager: &QueueManager, seen: &Seen) -> Result<Option<Vec<(String, Rollup)>>> {
    if !seen.rights.fleet {
        return Ok(None);
    }
    let counts = manager.last_hours().await?;
    let by_message = pulse::by_message(&counts).into_iter();
    Ok(Some(
        by_message
            .map(|(name, rollup)| (name.clone(), rollup))
            .collect(),
    ))
}

fn share(runs: &[(String, Rollup)], group: &FailureGroup) -> Cell {
    let own = runs.iter().find(|(name, _)| *name == group.message_name);
    own.map_or_else(Cell::default, |(_, rollup)| {
        let failed = rollup.failed.saturating_add(rollup.expired);
        let (failed, ended) = (number(failed), number(rollup.ended()));
        Cell::text(format!("{failed} of {ended}"))
    })
}

/// Returns true if an operation that failed is found at a glance.
async fn has_failed(manager: &QueueManager, seen: &Seen) -> Result<bool> {
    let query = Query {
        filter: Filter {
            status: Some(Status::Failed),
            ..Filter::default()
        },
        cursor: None,
        limit: 1,
    };
    let found = manager.glance(&seen.actor, &query).await?;
    Ok(!found.operations.is_empty())
}

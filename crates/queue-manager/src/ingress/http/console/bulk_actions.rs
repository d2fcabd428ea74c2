//! `/actions`: actions on many operations, with their progress.

use axum::extract::{Path, State};
use axum::response::{Html, Redirect};
use drumline_console::{
    ActionPage, Cell, Moment, Section, Sheet, SheetPage, Text, address, number,
};
use drumline_protocol::BulkAction;

use super::html;
use super::viewer::Seen;
use crate::ingress::http::actions::read;
use crate::ingress::http::extractors::Parameters;
use crate::ingress::http::problem::Answer;
use crate::ingress::http::query;
use crate::service::QueueManager;

/// The actions of the organization, newest first.
pub(super) async fn list(
    State(manager): State<QueueManager>,
    seen: Seen,
    Parameters(pairs): Parameters,
) -> Answer<Html<String>> {
    let query::PageQuery {
        cursor: before,
        limit,
    } = query::actions(pairs)?;
    let mut found = manager.actions(&seen.actor, before, limit + 1).await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let mut links = Vec::new();
    if before.is_some() {
        links.push((Text::line("Newest"), "/actions".to_owned()));
    }
    if let Some(last) = found.last().filter(|_| has_more) {
        let older = address("/actions", [("cursor", last.id.to_string().as_str())]);
        links.push((Text::line("Older"), older));
    }
    let sheet = Sheet {
        columns: vec![
            "Action", "State", "Done", "Refused", "Started", "By", "Reason",
        ],
        rows: found.iter().map(|action| row(action, &seen)).collect(),
        empty: "There are no actions.",
        links,
        ..Sheet::default()
    };
    let lead = "“Act on all that match”, below a list of operations, starts an action. It is done by the service, page by page, and kept here for 30 days.";
    Ok(html(&SheetPage {
        frame: seen.frame("Actions", Section::Actions),
        lead: vec![Text::line(lead)],
        search: None,
        sheets: vec![sheet],
    }))
}

fn row(action: &BulkAction, seen: &Seen) -> Vec<Cell> {
    let conditions = action.conditions.iter();
    let conditions: Vec<_> = conditions
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let conditions = if conditions.is_empty() {
        "every operation".to_owned()
    } else {
        conditions.join(", ")
    };
    let label = drumline_console::bulk(action.change.kind());
    let started = Moment {
        at: action.started_on,
        now: seen.now,
    };
    vec![
        Cell::link(label, format!("/actions/{}", action.id)).with_note(conditions),
        Cell::text(action.stage_name()),
        Cell::text(number(action.counts.done)),
        Cell::text(number(action.counts.refused)),
        Cell::moment(started),
        Cell::text(action.author.name()),
        Cell::text(action.reason.as_str()),
    ]
}

/// One action.
pub(super) async fn show(
    State(manager): State<QueueManager>,
    seen: Seen,
    Path(id): Path<String>,
) -> Answer<Html<String>> {
    let action = manager.action(&seen.actor, read(id)?).await?;
    let title = drumline_console::bulk_title(action.change.kind());
    let frame = seen.frame(title, Section::Actions);
    Ok(html(&ActionPage::of(frame, &action, seen.now)))
}

/// Aborts an action.
pub(super) async fn abort(
    State(manager): State<QueueManager>,
    seen: Seen,
    Path(id): Path<String>,
) -> Answer<Redirect> {
    let action = manager.abort_action(&seen.actor, read(id)?).await?;
    Ok(Redirect::to(&format!("/actions/{}", action.id)))
}

//! `/audit`: the audit stream as a table, and `/audit.jsonl`, its export.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use drumline_console::{AuditFilter, AuditRow, AuditSheet, Moment, Section, Text};
use drumline_protocol::{OperationId, Timestamp};

use super::html;
use super::viewer::Seen;
use crate::ingress::http::audit_stream;
use crate::ingress::http::extractors::Parameters;
use crate::ingress::http::problem::Answer;
use crate::service::{AuditLine, AuditPage, AuditScope, QueueManager};

/// The entries that the address asks for.
pub(super) async fn page(
    State(manager): State<QueueManager>,
    seen: Seen,
    sight: AuditScope,
    Parameters(pairs): Parameters,
) -> Answer<Response> {
    let read = audit_stream::read(pairs.clone(), manager.options().limits.page);
    let is_later_page = pairs
        .iter()
        .any(|(name, value)| name == "cursor" && !value.is_empty());
    let given = pairs
        .into_iter()
        .filter(|(name, value)| name != "cursor" && !value.is_empty());
    let filter = AuditFilter {
        pairs: given.collect(),
    };
    let (status, found, mistakes) = match read {
        Ok(query) => {
            let found = manager.audit_page(&sight, &query).await?;
            (StatusCode::OK, found, Vec::new())
        }
        Err(invalid) => {
            let wrong = invalid.attributes.iter();
            let wrong = wrong.map(|wrong| (Text::line(&wrong.name), Text::line(&wrong.why)));
            let found = AuditPage::default();
            (StatusCode::UNPROCESSABLE_ENTITY, found, wrong.collect())
        }
    };
    let page = AuditSheet {
        frame: seen.frame("Audit", Section::Audit),
        filter,
        mistakes,
        rows: found
            .entries
            .iter()
            .map(|line| row(line, seen.now))
            .collect(),
        is_of_all: sight == AuditScope::Everything,
        is_later_page,
        next: found.next.map(|place| place.to_string()),
    };
    Ok((status, html(&page)).into_response())
}

/// The entries that the address asks for, as a file.
pub(super) async fn file(
    State(manager): State<QueueManager>,
    sight: AuditScope,
    Parameters(pairs): Parameters,
) -> Answer<Response> {
    let query = audit_stream::read(pairs, manager.options().limits.page)?;
    Ok(audit_stream::export(manager, sight, query).await?)
}

fn row(line: &AuditLine, now: Timestamp) -> AuditRow {
    let text = |name| Text::line(line.text(name));
    let some = |name| Some(text(name)).filter(|text| !text.is_empty());
    let at = Timestamp::parse_rfc3339(line.text("time")).ok();
    let count = line
        .members
        .get("count")
        .and_then(serde_json::Value::as_u64);
    let filter = line
        .members
        .get("filter")
        .and_then(serde_json::Value::as_object);
    let conditions = filter.into_iter().flatten().map(|(name, value)| {
        let value = value.as_str().unwrap_or_default();
        format!("{name}={value}")
    });
    let conditions: Vec<String> = conditions.collect();
    let pages = pages_of(line.text("action"));
    AuditRow {
        at: at.map(|at| Moment { at, now }),
        action: text("action"),
        request: some("request"),
        caller: some("caller").or_else(|| some("principal")),
        principal: some("principal"),
        organization: some("organization"),
        outcome: text("outcome"),
        reason: some("reason"),
        ids: line
            .ids()
            .map(|id| {
                let operation: Option<OperationId> = id.parse().ok();
                let address = operation.zip(pages);
                let address = address.map(|(id, pages)| format!("{pages}/{id}"));
                (Text::line(id), address)
            })
            .collect(),
        filter: Some(Text::line(&conditions.join(" "))).filter(|text| !text.is_empty()),
        count,
        address: some("address"),
    }
}

/// The pages of what a request is about; `None` if it has no page of its own. The ids of
/// actions on many and of workers have the form of an operation's.
fn pages_of(action: &str) -> Option<&'static str> {
    if action.contains("/workers/") {
        None
    } else if action.contains("/actions") || action.contains(" /many/") {
        Some("/actions")
    } else {
        Some("/operations")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_to_the_page_of_what_it_names() {
        for (action, pages) in [
            ("POST /v1/operations/{id}/cancel", Some("/operations")),
            ("POST /operations/{id}/run-again", Some("/operations")),
            ("POST /v1/actions", Some("/actions")),
            ("POST /actions/{id}/abort", Some("/actions")),
            ("POST /many/run-again", Some("/actions")),
            ("POST /v1/workers/{id}/drain", None),
        ] {
            assert_eq!(pages_of(action), pages, "{action}");
        }
    }
}

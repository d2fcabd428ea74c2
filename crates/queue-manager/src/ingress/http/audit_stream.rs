//! `/v1/audit`: who has asked for which change, and who was denied.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use drumline_api::{FieldError, Invalid};
use drumline_auth::{Organizations, Principal};
use drumline_protocol::Timestamp;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::{Map, Value};

use super::extractors::{self, Parameters};
use super::problem::Answer;
use super::{openapi, query};
use crate::error::{Error, Result};
use crate::ingress::problem::Problem;
use crate::service::{AuditLine, AuditPage, AuditQuery, AuditScope, QueueManager};

/// Entries on a page if the request names no number.
const USUAL_PAGE: usize = 50;
/// Entries that are read at once for an export: 800 kB at most.
const EXPORTED: usize = 500;
/// The media type of lines of JSON.
const LINES: &str = "application/x-ndjson";
/// The outcomes of entries.
pub(super) const OUTCOMES: [&str; 5] = ["done", "denied", "refused", "failed", "leftOut"];

/// A page of entries.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditView {
    entries: Vec<Map<String, Value>>,
    next_cursor: Option<String>,
}

/// List audit entries
///
/// The newest 10,000 changes that were asked for and requests that were denied, newest
/// first. A key of some organizations is shown the entries of the organization that the
/// request acts in. A key of all organizations is shown all entries. A page looks at
/// 2,000 entries at most, so it may be short although there is a next one.
#[utoipa::path(
    get, path = "/v1/audit", tag = "fleet",
    params(
        ("who" = Option<String>, Query, description = "The caller, or the principal: `jo`, `key:k7f3q2ab`, `k7f3q2ab`"),
        ("action" = Option<String>, Query, description = "A part of the action, or the name of an organization request, in any case: `cancel`"),
        ("id" = Option<String>, Query, description = "The operation or the pause"),
        ("organization" = Option<String>, Query, description = "The organization"),
        ("outcome" = Option<String>, Query, description = "`done`, `denied`, `refused`, `failed` or `leftOut`"),
        ("since" = Option<String>, Query, description = "The earliest time, RFC 3339"),
        ("until" = Option<String>, Query, description = "The latest time, RFC 3339"),
        ("limit" = Option<u32>, Query, description = "The maximum number of entries, 1 to 500. Default: 50"),
        ("cursor" = Option<String>, Query, description = "The `nextCursor` of the previous page"),
        ("format" = Option<String>, Query, description = "`jsonl`: all entries that match, a line each, as with `Accept: application/x-ndjson`"),
    ),
    responses(
        (status = 200, description = "A page of entries", body = openapi::AuditEntries),
        openapi::Invalid,
        openapi::Busy,
    )
)]
pub(crate) async fn list(
    State(manager): State<QueueManager>,
    sight: AuditScope,
    headers: HeaderMap,
    Parameters(mut pairs): Parameters,
) -> Answer<Response> {
    let accepted = headers.get(ACCEPT);
    let accepted = accepted.and_then(|value| value.to_str().ok());
    let mut is_export = accepted.is_some_and(|types| types.contains(LINES));
    if let Some(at) = pairs.iter().position(|(name, _)| name == "format") {
        let (name, format) = pairs.swap_remove(at);
        match format.as_str() {
            "jsonl" => is_export = true,
            "json" | "" => {}
            _ => {
                let wrong = FieldError::new(name, "must be json or jsonl");
                return Err(Invalid::arguments(vec![wrong]).into());
            }
        }
    }
    let query = read(pairs, manager.options().limits.page)?;
    if is_export {
        return Ok(export(manager, sight, query).await?);
    }
    let page = manager.audit_page(&sight, &query).await?;
    let entries = page.entries.into_iter().map(|line| line.members).collect();
    let next_cursor = page.next.map(|place| place.to_string());
    Ok(Json(AuditView {
        entries,
        next_cursor,
    })
    .into_response())
}

/// Reads the conditions of a page.
///
/// # Errors
/// With every parameter that breaks a rule.
pub(super) fn read(pairs: Vec<(String, String)>, longest: usize) -> Result<AuditQuery, Invalid> {
    let mut query = AuditQuery {
        limit: USUAL_PAGE.min(longest),
        ..AuditQuery::default()
    };
    let mut errors = Vec::new();
    for (name, value) in pairs {
        if let Err(why) = set(&mut query, &name, value, longest) {
            errors.push(FieldError::new(name, why));
        }
    }
    if errors.is_empty() {
        Ok(query)
    } else {
        Err(Invalid::arguments(errors))
    }
}

fn set(query: &mut AuditQuery, name: &str, value: String, longest: usize) -> Result<(), String> {
    let time = |text: &str| {
        let at = Timestamp::parse_rfc3339(text);
        at.map(Some)
            .map_err(|_error| "must be a time, as 2026-11-30T06:00:00Z".to_owned())
    };
    match name {
        _ if value.is_empty() => {}
        "who" => query.who = Some(value),
        "action" => query.action = Some(value),
        "id" => query.id = Some(value),
        "organization" => query.organization = Some(value),
        "outcome" if OUTCOMES.contains(&value.as_str()) => query.outcome = Some(value),
        "outcome" => return Err(format!("must be one of {}", OUTCOMES.join(", "))),
        "since" => query.since = time(&value)?,
        "until" => query.until = time(&value)?,
        "limit" => query.limit = query::read_limit(&value, longest)?,
        "cursor" => {
            let place = value.parse();
            let place = place.map_err(|_not| query::NOT_A_CURSOR.to_owned())?;
            query.cursor = Some(place);
        }
        _ => return Err("is an unknown parameter".to_owned()),
    }
    Ok(())
}

/// Answers with all entries that match, a line each. A failure behind the first lines
/// breaks the answer off.
pub(super) async fn export(
    manager: QueueManager,
    sight: AuditScope,
    query: AuditQuery,
) -> Result<Response> {
    let query = AuditQuery {
        limit: EXPORTED,
        ..query
    };
    let first = manager.audit_page(&sight, &query).await?;
    let text = lines(&first.entries);
    let rest = stream::try_unfold(first.next, move |place| {
        let (manager, sight) = (manager.clone(), sight.clone());
        let query = AuditQuery {
            cursor: place,
            ..query.clone()
        };
        async move {
            if place.is_none() {
                return Ok::<_, Error>(None);
            }
            let AuditPage { entries, next } = manager.audit_page(&sight, &query).await?;
            Ok(Some((lines(&entries), next)))
        }
    });
    let all = stream::once(async { Ok::<_, Error>(text) }).chain(rest);
    let headers = [
        (CONTENT_TYPE, LINES),
        (CONTENT_DISPOSITION, "attachment; filename=\"audit.jsonl\""),
    ];
    Ok((headers, Body::from_stream(all)).into_response())
}

fn lines(entries: &[AuditLine]) -> String {
    let mut text = String::new();
    for line in entries {
        // It was read from JSON, and can be written.
        text.push_str(&serde_json::to_string(&line.members).unwrap_or_default());
        text.push('\n');
    }
    text
}

/// The entries that the sender of a request may see.
impl FromRequestParts<QueueManager> for AuditScope {
    type Rejection = Box<Problem>;

    async fn from_request_parts(
        parts: &mut Parts,
        _manager: &QueueManager,
    ) -> Result<Self, Self::Rejection> {
        let principal = parts.extensions.get::<Arc<Principal>>();
        let organizations = principal.map(|principal| &principal.organizations);
        match organizations {
            // Without keys every caller may do everything.
            None | Some(Organizations::All) => Ok(Self::Everything),
            Some(Organizations::Only(_)) => {
                let actor = extractors::actor(&parts.extensions, &parts.headers)?;
                Ok(Self::Only(actor.organization))
            }
        }
    }
}

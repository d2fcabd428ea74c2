//! `/operations/{id}`: one operation, and why it stands where it stands.

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use drumline_backend::store::Filter;
use drumline_console::{Chain, OperationPage, Related, Section, Text, Timeline, Waiting, address};
use drumline_protocol::{ChainKey, Operation, OperationId};
use uuid::Uuid;

use super::html;
use super::operations::rows;
use super::viewer::Seen;
use crate::error::Result;
use crate::ingress::http::extractors::Id;
use crate::ingress::http::problem::Answer;
use crate::ingress::http::waiting::WaitingView;
use crate::service::{Query, QueueManager};

/// Operations before it that are shown of its chain.
const BEFORE: usize = 3;
/// Operations behind it that are counted.
const BEHIND: usize = 50;
/// Children that are shown.
const CHILDREN: usize = 10;

/// The page.
pub(super) async fn operation(
    State(manager): State<QueueManager>,
    seen: Seen,
    Id(id): Id,
) -> Answer<Response> {
    let operation = manager.get(&seen.actor, id).await?;
    let page = page_of(&manager, &seen, &operation).await?;
    Ok(page.into_response())
}

/// The page of an operation that was just read.
async fn page_of(
    manager: &QueueManager,
    seen: &Seen,
    operation: &Operation,
) -> Result<Html<String>> {
    let (waiting, history, chain, children) = tokio::join!(
        waiting(manager, operation),
        manager.history_of(operation),
        chain(manager, seen, operation),
        children(manager, seen, operation),
    );
    let waiting = waiting?;
    let body = &operation.body;
    let title = if body.name.trim().is_empty() {
        &body.message_name
    } else {
        &body.name
    };
    let frame = seen.frame(title.as_str(), Section::Operations);
    let mut page = OperationPage::of(frame, operation, waiting.as_ref());
    page.root = root(manager, seen, waiting.as_ref()).await?;
    page.timeline = Timeline::of(&history?, seen.now);
    page.chain = chain?;
    page.related = children?.into_iter().collect();
    Ok(html(&page))
}

/// The reason why it waits, in the words of the API.
async fn waiting(manager: &QueueManager, operation: &Operation) -> Result<Option<Waiting>> {
    let reason = manager.explain(operation).await?;
    let expires_on = operation.header.expires_on();
    Ok(reason.map(|reason| {
        let view = WaitingView::from(reason).until_expiry(expires_on);
        Waiting {
            detail: view.detail,
            on: view.operation_id,
        }
    }))
}

/// The operation that it waits for, and the reason of that one: the root of the
/// matter, because the head of a chain waits for no other operation.
async fn root(
    manager: &QueueManager,
    seen: &Seen,
    waits: Option<&Waiting>,
) -> Result<Option<(String, Vec<Text>)>> {
    let on = waits.and_then(|waiting| waiting.on.as_ref());
    let Some(id) = on.and_then(|on| on.parse::<OperationId>().ok()) else {
        return Ok(None);
    };
    let Ok(head) = manager.get(&seen.actor, id).await else {
        // It was removed in between.
        return Ok(None);
    };
    let waiting = waiting(manager, &head).await?;
    let why = drumline_console::why(&head, waiting.as_ref(), seen.now);
    Ok(Some((id.to_string(), why)))
}

/// Its place among the operations with its token.
async fn chain(
    manager: &QueueManager,
    seen: &Seen,
    operation: &Operation,
) -> Result<Option<Chain>> {
    let Some(token) = &operation.body.dependency_token else {
        return Ok(None);
    };
    let filter = Filter {
        chain: Some(ChainKey::new(&operation.body.organization, token)),
        ..Filter::default()
    };
    let query = |cursor, limit| Query {
        filter: filter.clone(),
        cursor,
        limit,
    };
    let (older, newest) = (query(Some(operation.id), BEFORE + 1), query(None, BEHIND));
    let (older, newest) = tokio::join!(
        manager.glance(&seen.actor, &older),
        manager.glance(&seen.actor, &newest),
    );
    let (older, newest) = (older?, newest?);
    let newer = newest.operations.iter().filter(|one| one.id > operation.id);
    let behind = newer.count();
    let has_met_it = behind < newest.operations.len();
    let shown = older.operations.get(..BEFORE).unwrap_or(&older.operations);
    Ok(Some(Chain {
        token: Text::line(token.as_str()),
        address: address("/operations", [("dependencyToken", token.as_str())]),
        before: rows(shown, seen.now),
        more_before: shown.len() < older.operations.len() || older.next.is_some(),
        behind,
        more_behind: !has_met_it && newest.next.is_some(),
    }))
}

/// The operations that its handler, or its recurrence, has created.
async fn children(
    manager: &QueueManager,
    seen: &Seen,
    operation: &Operation,
) -> Result<Option<Related>> {
    let id = operation.id;
    let query = Query {
        filter: Filter {
            parent_id: Some(Uuid::from_bytes(*id.as_bytes())),
            ..Filter::default()
        },
        cursor: None,
        limit: CHILDREN,
    };
    let found = manager.glance(&seen.actor, &query).await?;
    if found.operations.is_empty() {
        return Ok(None);
    }
    Ok(Some(Related {
        title: if operation.header.is_series() {
            "Latest occurrences"
        } else {
            "Created by its handler"
        },
        rows: rows(&found.operations, seen.now),
        address: address("/operations", [("parentId", id.to_string().as_str())]),
        more: found.next.is_some(),
    }))
}

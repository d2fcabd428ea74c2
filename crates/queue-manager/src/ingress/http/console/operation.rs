//! `/operations/{id}`: one operation, and why it stands where it stands.

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use drumline_backend::store::Filter;
use drumline_console::{
    Badge, Behind, Chain, OperationPage, Related, Root, Section, Text, Timeline, Waiting, address,
    done,
};
use drumline_protocol::{Action, Body, ChainKey, Operation, OperationId};
use uuid::Uuid;

use super::operations::rows;
use super::viewer::Seen;
use super::{html, value};
use crate::error::Result;
use crate::ingress::http::extractors::{Id, Parameters};
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
    Parameters(pairs): Parameters,
) -> Answer<Response> {
    let operation = manager.get(&seen.actor, id).await?;
    let action = Action::ALL
        .into_iter()
        .find(|action| action.name() == value(&pairs, "done"));
    let note = action.and_then(|action| done(action, operation.header.status));
    let page = page_of(&manager, &seen, &operation, note).await?;
    Ok(page.into_response())
}

/// The page of an operation that was just read.
async fn page_of(
    manager: &QueueManager,
    seen: &Seen,
    operation: &Operation,
    done: Option<Text>,
) -> Result<Html<String>> {
    let (waiting, history, chain, children) = tokio::join!(
        waiting(manager, operation),
        manager.history_of(operation),
        chain(manager, seen, operation),
        children(manager, seen, operation),
    );
    let waiting = waiting?;
    let frame = seen.frame(title(&operation.body), Section::Operations);
    let mut page = OperationPage::of(frame, operation, waiting.as_ref());
    page.done = done;
    page.root = root(manager, seen, waiting.as_ref()).await?;
    page.timeline = Timeline::of(&history?, seen.now);
    page.chain = chain?;
    page.related = children?.into_iter().collect();
    Ok(html(&page))
}

/// The words by which people know an operation.
pub(super) fn title(body: &Body) -> &str {
    if body.name.trim().is_empty() {
        &body.message_name
    } else {
        &body.name
    }
}

/// The reason why it waits, in the words of the API.
pub(super) async fn waiting(
    manager: &QueueManager,
    operation: &Operation,
) -> Result<Option<Waiting>> {
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
) -> Result<Option<Root>> {
    let on = waits.and_then(|waiting| waiting.on.as_ref());
    let Some(id) = on.and_then(|on| on.parse::<OperationId>().ok()) else {
        return Ok(None);
    };
    let Ok(head) = manager.get(&seen.actor, id).await else {
        // It was removed in between.
        return Ok(None);
    };
    let waiting = waiting(manager, &head).await?;
    Ok(Some(Root {
        id: id.to_string(),
        name: Text::line(title(&head.body)),
        status: Badge(head.header.status),
        reasons: drumline_console::why(&head, waiting.as_ref(), seen.now),
    }))
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
    let older = query(Some(operation.id), BEFORE + 1);
    let (older, behind) = tokio::join!(
        manager.glance(&seen.actor, &older),
        behind(manager, seen, operation),
    );
    let (older, behind) = (older?, behind?);
    let shown = older.operations.get(..BEFORE).unwrap_or(&older.operations);
    Ok(Some(Chain {
        token: Text::line(token.as_str()),
        address: address("/operations", [("dependencyToken", token.as_str())]),
        before: rows(shown, seen.now),
        more_before: shown.len() < older.operations.len() || older.next.is_some(),
        behind: behind.count,
        more_behind: behind.more,
    }))
}

/// The operations that were created behind it in its token.
pub(super) async fn behind(
    manager: &QueueManager,
    seen: &Seen,
    operation: &Operation,
) -> Result<Behind> {
    let Some(token) = &operation.body.dependency_token else {
        return Ok(Behind::default());
    };
    let query = Query {
        filter: Filter {
            chain: Some(ChainKey::new(&operation.body.organization, token)),
            ..Filter::default()
        },
        cursor: None,
        limit: BEHIND,
    };
    let newest = manager.glance(&seen.actor, &query).await?;
    let newer = newest.operations.iter().filter(|one| one.id > operation.id);
    let count = newer.count();
    Ok(Behind {
        count,
        more: count == newest.operations.len() && newest.next.is_some(),
    })
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

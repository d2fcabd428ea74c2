//! `/operations/{id}`: one operation, and why it stands where it stands.

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use drumline_backend::store::{Filter, Neighbourhood, Summary};
use drumline_console::{
    AttemptLine, Badge, Chain, OperationPage, Related, Root, Section, Text, Timeline, Waiting,
    address, done,
};
use drumline_protocol::{Action, Body, Operation, OperationId, Pause, limits};
use uuid::Uuid;

use super::operations::rows;
use super::viewer::Seen;
use super::{html, value};
use crate::error::Result;
use crate::ingress::http::extractors::{Id, Parameters};
use crate::ingress::http::problem::Answer;
use crate::ingress::http::waiting::{ASKED_FOR_A_PERSON, WaitingView};
use crate::recurrence;
use crate::service::{Explanation, Query, QueueManager, WaitingFor};

/// The nearest operations of its chain that are shown.
const NEAR: Neighbourhood = Neighbourhood {
    before: 3,
    behind: 5,
};
/// The characters of a handler's message that the headline shows.
const HEADLINE_CHARS: usize = 300;
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
    let (waiting, course, chain, children) = tokio::join!(
        waiting(manager, operation),
        manager.course_of(operation),
        chain(manager, seen, operation),
        children(manager, seen, operation),
    );
    let waiting = waiting?;
    let frame = seen.frame(title(&operation.body), Section::Operations);
    let mut page = OperationPage::of(frame, operation, waiting.as_ref());
    page.done = done;
    if let Some(recurrence) = &operation.header.recurrence {
        let times = manager.next_occurrences(&operation.header);
        let times = times.unwrap_or_default().into_iter();
        let words = times.map(|at| recurrence::by_its_clock(recurrence, at));
        page.add_next_times(&words.collect::<Vec<_>>());
    }
    page.root = root(manager, waiting.as_ref()).await?;
    let course = course?;
    page.timeline = Timeline::of(&course.history, seen.now);
    page.attempts = AttemptLine::all(&course.attempts, seen.now);
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
        let lift = pause_of(&reason).map(|pause| format!("/pauses/{}/lift", pause.scope.key()));
        let view = WaitingView::from(reason).until_expiry(expires_on);
        Waiting {
            detail: with_words(view.detail, operation),
            on: view.operation_id,
            lift,
        }
    }))
}

/// The reason with the words of its handler in place of the name of their attribute.
fn with_words(detail: String, operation: &Operation) -> String {
    let fault = operation.report.fault.as_ref();
    let words = fault.map(|fault| match fault.friendly_message.as_str() {
        "" => fault.message.as_str(),
        friendly => friendly,
    });
    let words = limits::cut(words.unwrap_or_default(), HEADLINE_CHARS).trim();
    if words.is_empty() {
        return detail;
    }
    let said = format!("its handler asks for a person: {words}");
    detail.replacen(ASKED_FOR_A_PERSON, &said, 1)
}

/// The pause that it waits for, or that the head of its order waits for.
fn pause_of(reason: &Explanation) -> Option<&Pause> {
    let root = reason.root.as_ref();
    let of_root = root.and_then(|root| root.waiting_for.as_ref());
    let mut waits = [Some(&reason.waiting_for), of_root].into_iter().flatten();
    waits.find_map(|waiting| {
        if let WaitingFor::Pause(pause) = waiting {
            Some(&**pause)
        } else {
            None
        }
    })
}

/// The operation that it waits for: the head of its order.
pub(super) async fn root(manager: &QueueManager, waits: Option<&Waiting>) -> Result<Option<Root>> {
    let on = waits.and_then(|waiting| waiting.on.as_ref());
    let Some(id) = on.and_then(|on| on.parse::<OperationId>().ok()) else {
        return Ok(None);
    };
    let found = manager.summaries(&[id]).await?;
    // It may have been removed in between.
    Ok(found.into_iter().next().flatten().map(|head| Root {
        id: id.to_string(),
        name: Text::line(title(&head.body)),
        status: Badge(head.header.status),
    }))
}

/// Its place in the order of its token.
async fn chain(
    manager: &QueueManager,
    seen: &Seen,
    operation: &Operation,
) -> Result<Option<Chain>> {
    let Some(token) = &operation.body.dependency_token else {
        return Ok(None);
    };
    let place = manager.store().chain_place(operation.id, NEAR).await?;
    let ids = place.as_ref().map(|place| place.neighbours.as_slice());
    let found = manager.summaries(ids.unwrap_or_default()).await?;
    let found: Vec<Summary> = found.into_iter().flatten().collect();
    Ok(Some(Chain {
        token: Text::line(token.as_str()),
        address: address("/operations", [("dependencyToken", token.as_str())]),
        before: place.as_ref().map_or(0, |place| place.before),
        behind: place.as_ref().map_or(0, |place| place.behind),
        neighbours: rows(&found, seen.now),
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

//! `/operations`: the grid.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use drumline_backend::store::{Page, Summary};
use drumline_console::{Filter, Known, Moment, OperationsPage, Row, Section, Text, address, done};
use drumline_protocol::{Action, Status, Timestamp};

use super::viewer::Seen;
use super::{html, value};
use crate::ingress::http::extractors::Parameters;
use crate::ingress::http::problem::Answer;
use crate::ingress::http::query;
use crate::service::QueueManager;

/// The rows of a page of a listing.
pub(super) fn rows(operations: &[Summary], now: Timestamp) -> Vec<Row> {
    operations
        .iter()
        .map(|one| Row::of(one.id, &one.header, &one.body, now))
        .collect()
}

/// The grid, with the conditions and the place that the address names.
pub(super) async fn operations(
    State(manager): State<QueueManager>,
    seen: Seen,
    Parameters(pairs): Parameters,
) -> Answer<Response> {
    if pairs.iter().any(|(_, value)| value.is_empty()) {
        // An empty field of the form is no condition.
        let given = pairs.iter().filter(|(_, value)| !value.is_empty());
        let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
        return Ok(Redirect::to(&address("/operations", given)).into_response());
    }
    let is_deleted = value(&pairs, "done") == Action::Delete.name();
    let pairs: Vec<_> = pairs
        .into_iter()
        .filter(|(name, _)| name != "done")
        .collect();
    let longest = manager.options().limits.page;
    let read = query::list(pairs.clone(), &seen.actor, longest);
    let is_later_page = pairs.iter().any(|(name, _)| name == "cursor");
    let conditions = pairs.into_iter().filter(|(name, _)| name != "cursor");
    let filter = Filter {
        pairs: conditions.collect(),
    };
    let frame = seen.frame("Operations", Section::Operations);
    let (listing, limit, mistakes) = match read {
        Ok(query) => {
            let listing = manager.list_summaries(&seen.actor, &query).await?;
            (listing, query.limit, Vec::new())
        }
        Err(invalid) => {
            let wrong = invalid.attributes.iter();
            let wrong = wrong.map(|wrong| (Text::line(&wrong.name), Text::line(&wrong.why)));
            (Page::default(), 0, wrong.collect())
        }
    };
    let known = known(&manager, &seen, &listing.operations).await;
    let is_short = listing.operations.len() < limit;
    let status = if mistakes.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    let page = OperationsPage {
        frame,
        filter,
        known,
        mistakes,
        done: done(Action::Delete, Status::Succeeded).filter(|_| is_deleted),
        rows: rows(&listing.operations, seen.now),
        is_later_page,
        looked_back_to: listing.next.filter(|_| is_short).map(|next| Moment {
            at: next.created(),
            now: seen.now,
        }),
        next: listing.next.map(|next| next.to_string()),
    };
    Ok((status, html(&page)).into_response())
}

/// The values that the fields of the filter offer: those of the operations on the page,
/// and the queues and message names of live workers for a viewer that may see these.
async fn known(manager: &QueueManager, seen: &Seen, listed: &[Summary]) -> Known {
    let mut known = Known::default();
    for Summary { body, .. } in listed {
        known.add("messageName", &body.message_name);
        known.add("queue", body.queue.as_str());
        known.add("ownerId", &body.owner);
        let entity = body.primary_entity_type.as_deref();
        known.add("primaryEntityType", entity.unwrap_or_default());
        let token = body.dependency_token.as_ref();
        known.add("dependencyToken", token.map_or("", |token| token.as_str()));
    }
    if !seen.rights.fleet {
        return known;
    }
    // Without the store there is no list either, and the page says so.
    let roster = manager.backend().membership.roster().await;
    for group in roster.iter().flat_map(|roster| roster.groups()) {
        for queue in &group.profile.queues {
            known.add("queue", queue.as_str());
        }
        let names = group.profile.messages.iter();
        for name in names.filter(|name| *name != "*") {
            known.add("messageName", name);
        }
    }
    known
}

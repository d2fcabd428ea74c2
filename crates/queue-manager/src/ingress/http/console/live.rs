//! `/live`: the changes of the operations on a page, as server-sent events.
//!
//! A page names its operations with their versions, and the conditions of its list.
//! Once a second it is told which of them have changed, and how many new ones there
//! are. The page of an action on many names the action instead. Values are sent, and no
//! markup.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use drumline_backend::store::{Filter, Summary};
use drumline_console::{ActionNumbers, Row, exact};
use drumline_protocol::{ActionId, BulkAction, OperationId};
use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use super::value;
use super::viewer::Seen;
use crate::error::Result;
use crate::ingress::http::extractors::Parameters;
use crate::ingress::http::problem::Answer;
use crate::ingress::http::query;
use crate::ingress::problem::Problem;
use crate::service::QueueManager;

/// Operations that a page may name.
const ROWS: usize = 100;
/// The interval of looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// The interval of signs of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// The life of a stream. The browser comes back, and its key is checked again.
const LIFETIME: Duration = Duration::from_secs(300);
/// The time after which the browser comes back.
const RETRY: Duration = Duration::from_secs(2);
/// The parameters that are no conditions.
const OWN: [&str; 5] = ["rows", "newest", "cursor", "limit", "action"];

/// A row as it is now.
#[derive(Debug, Serialize)]
struct RowView {
    id: String,
    version: u64,
    class: &'static str,
    sign: &'static str,
    label: &'static str,
    reason: String,
    attempt: u32,
    host: Option<String>,
}

/// The numbers of an action as they are now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ActionNumbersView {
    done: String,
    refused: String,
    counted: String,
    stage: String,
    is_open: bool,
}

impl ActionNumbersView {
    fn of(action: &BulkAction) -> Self {
        let numbers = ActionNumbers::of(action);
        Self {
            done: numbers.done,
            refused: numbers.refused,
            counted: numbers.counted,
            stage: numbers.stage.to_string(),
            is_open: numbers.is_open,
        }
    }
}

/// Follows the operations of a page.
pub(super) async fn live(
    State(manager): State<QueueManager>,
    seen: Seen,
    Parameters(pairs): Parameters,
) -> Answer<impl IntoResponse> {
    let rows = versions(value(&pairs, "rows"));
    let newest = value(&pairs, "newest").parse().ok();
    let action = value(&pairs, "action").parse().ok();
    let conditions = pairs
        .into_iter()
        .filter(|(name, _)| !OWN.contains(&name.as_str()));
    let longest = manager.options().limits.page;
    let query = query::list(conditions.collect(), &seen.actor, longest)?;
    let permit = manager.event_stream().ok_or_else(|| {
        Problem::busy("there are as many streams of events as are allowed".to_owned())
    })?;
    let now = Instant::now();
    let page = Page {
        manager,
        seen,
        rows,
        newest,
        filter: query.filter,
        action,
        revision: 0,
        news: 0,
        next: now,
        end: now + LIFETIME,
        sign_of_life: now,
        _permit: permit,
    };
    let batches = stream::unfold(page, |mut page| async {
        let events = page.next().await?;
        Some((stream::iter(events), page))
    });
    let greeting = stream::iter([Event::default().retry(RETRY)]);
    let events = greeting.chain(batches.flatten()).map(Ok::<_, Infallible>);
    Ok(([("x-accel-buffering", "no")], Sse::new(events)))
}

/// Reads `id.version,id.version`.
fn versions(text: &str) -> HashMap<OperationId, Option<u64>> {
    let rows = text.split(',').filter_map(|row| {
        let (id, version) = row.split_once('.')?;
        Some((id.parse().ok()?, version.parse().ok()))
    });
    rows.take(ROWS).collect()
}

/// A page that a person looks at.
struct Page {
    manager: QueueManager,
    seen: Seen,
    /// The versions that it shows; `None`: it knows that the operation is gone.
    rows: HashMap<OperationId, Option<u64>>,
    /// The newest operation that it shows.
    newest: Option<OperationId>,
    filter: Filter,
    /// The action on many operations that it shows.
    action: Option<ActionId>,
    /// The revision of the action that it was told.
    revision: u64,
    /// The number of new operations that it was told.
    news: usize,
    next: Instant,
    end: Instant,
    sign_of_life: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Page {
    /// The next events; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Vec<Event>> {
        loop {
            if self.next >= self.end {
                return None;
            }
            let manager = self.manager.clone();
            tokio::select! {
                () = sleep_until(self.next) => {}
                () = manager.drained() => return None,
            }
            self.next = Instant::now() + INTERVAL;
            let mut events = Vec::new();
            match self.look(&mut events).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::debug!(%error, "a page is not brought up to date");
                    events.push(Event::default().event("away").data("away"));
                }
            }
            if events.is_empty() && self.sign_of_life <= Instant::now() {
                let now = exact(self.manager.store().now());
                events.push(Event::default().event("alive").data(now));
            }
            if !events.is_empty() {
                self.sign_of_life = Instant::now() + SIGN_OF_LIFE;
                return Some(events);
            }
        }
    }

    /// Looks once.
    async fn look(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let ids: Vec<OperationId> = self.rows.keys().copied().collect();
        let found = self.manager.watched(&self.seen.actor, &ids).await?;
        let now = self.manager.store().now();
        for (id, found) in ids.into_iter().zip(found) {
            let version = found.as_ref().map(|one| one.header.version);
            if self.rows.insert(id, version) == Some(version) {
                continue;
            }
            let event = match found {
                Some(one) => json("row", &view(&one, now)),
                None => Some(Event::default().event("gone").data(id.to_string())),
            };
            events.extend(event);
        }
        if let Some(id) = self.action {
            let action = self.manager.action(&self.seen.actor, id).await?;
            if action.revision != self.revision {
                self.revision = action.revision;
                events.extend(json("action", &ActionNumbersView::of(&action)));
            }
        }
        if let Some(newest) = self.newest {
            let ids = self
                .manager
                .watched_newest(&self.seen.actor, &self.filter)
                .await?;
            let news = ids.iter().filter(|id| **id > newest).count();
            if news != self.news {
                self.news = news;
                events.push(Event::default().event("new").data(news.to_string()));
            }
        }
        Ok(())
    }
}

fn view(one: &Summary, now: drumline_protocol::Timestamp) -> RowView {
    let row = Row::of(one.id, &one.header, &one.body, now);
    RowView {
        id: row.id,
        version: one.header.version,
        class: row.status.class(),
        sign: row.status.sign(),
        label: row.status.label(),
        reason: row.reason.to_string(),
        attempt: row.attempt,
        host: row.host.map(|host| host.to_string()),
    }
}

fn json(name: &str, value: &impl Serialize) -> Option<Event> {
    Event::default().event(name).json_data(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_its_operations_with_their_versions() {
        let id = "01a1ee56-5e7b-7707-800f-070707070707";
        let read = versions(&format!("{id}.7,nonsense,x.1,"));
        assert!(read.len() <= 1, "{read:?}");
        assert!(versions("").is_empty());
    }
}

//! `/v1/events`: operations as they end, as server-sent events.
//!
//! Each event's id is a place in the order of completions, so that a client that
//! comes back with it (browsers do so by themselves) goes on where it was, on
//! any queue manager. Operations that were removed in between are left out.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use drumline_api::{FieldError, Invalid};
use drumline_backend::store::{self, ANSWER_BYTES, Filter, Summary};
use futures_util::stream::{self, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::extractors::{self, By, Parameters};
use super::problem::Answer;
use super::{openapi, query};
use crate::error::Error;
use crate::ingress::problem::Problem;
use crate::service::{Completions, Cursor, QueueManager, Shown, Subscriber};

/// The header in which a client sends the place up to which it has read.
const LAST_EVENT_ID: &str = "last-event-id";
/// Tells proxies to pass events on at once.
const NOT_BUFFERED: (&str, &str) = ("x-accel-buffering", "no");
/// Ends that are looked at at once.
const AT_ONCE: usize = 16;
/// Selected operations that are read at once. One reader occupies their memory, and
/// that of what was read before: some MiB with the largest payloads.
const READ_AT_ONCE: usize = 2;
/// The time after which a client shall come back when the connection broke.
const RETRY: Duration = Duration::from_secs(2);
/// The interval at which an idle client is sent the current cursor, so that it
/// does not come back with a cursor of last week.
const SEND_CURSOR: Duration = Duration::from_secs(15);
/// The rest while the store is unavailable.
const REST: Duration = Duration::from_secs(1);

/// Follow completions
///
/// Server-sent events in the order of completion: `completed`, with the operation
/// as `data`. The stream begins now, or after `Last-Event-ID`, with no gap and no
/// duplicate except for operations that were removed since. `lastEventId=0`
/// begins with the oldest completion that is still stored.
#[utoipa::path(
    get, path = "/v1/events", tag = "operations",
    params(
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was read"),
        ("lastEventId" = Option<String>, Query, description = "The same, for clients that cannot set headers; the header has precedence"),
        openapi::EventConditions,
    ),
    responses(
        (status = 200, description = "A stream of events that does not end", content_type = "text/event-stream", body = String),
        openapi::Invalid,
        openapi::Busy,
    )
)]
pub(crate) async fn events(
    State(manager): State<QueueManager>,
    By(actor): By,
    Parameters(pairs): Parameters,
    headers: HeaderMap,
) -> Answer<impl IntoResponse> {
    let mut wanted = query::events(pairs, &actor)?;
    if let Some(value) = extractors::once(&headers, LAST_EVENT_ID)? {
        let cursor = value.to_str().ok().and_then(|text| text.parse().ok());
        wanted.cursor = Some(cursor.ok_or_else(not_a_cursor)?);
    }
    let stream = manager.event_stream().ok_or_else(|| {
        let most = manager.options().event_streams;
        let detail = format!("there are {most} streams of events, and no more are allowed");
        Problem::busy(detail)
    })?;
    let subscriber = manager
        .completions()
        .subscribe(wanted.cursor)
        .await
        .map_err(Error::from)?;
    // With the place: a client that is cut off before its first event goes on
    // from here, and not from the place of its return.
    let greeting = Event::default()
        .retry(RETRY)
        .id(subscriber.cursor().to_string());
    let reader = Reader {
        sent: subscriber.cursor(),
        sent_at: Instant::now(),
        subscriber,
        filter: wanted.filter,
        manager,
        _stream: stream,
    };
    let batches = stream::unfold(reader, |mut reader| async {
        let events = reader.next().await?;
        Some((stream::iter(events), reader))
    });
    let events = stream::iter([greeting]).chain(batches.flatten());
    let events = Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::default());
    Ok(([NOT_BUFFERED], events))
}

fn not_a_cursor() -> Invalid {
    let why = "must be the id of an event of this service";
    Invalid::arguments(vec![FieldError::new("Last-Event-ID", why)])
}

/// A client that reads events.
struct Reader {
    manager: QueueManager,
    subscriber: Subscriber,
    filter: Filter,
    /// The last cursor that was sent to the client.
    sent: Cursor,
    sent_at: Instant,
    _stream: OwnedSemaphorePermit,
}

impl Reader {
    /// The next events; `None` when this manager is drained. The client comes
    /// back, and meets another manager.
    async fn next(&mut self) -> Option<Vec<Event>> {
        let manager = self.manager.clone();
        let some = async {
            loop {
                match self.look().await {
                    Ok(events) if !events.is_empty() => return events,
                    Ok(_nothing) => {}
                    Err(error) => {
                        tracing::debug!(%error, "completions could not be read");
                        sleep(REST).await;
                    }
                }
            }
        };
        tokio::select! {
            events = some => Some(events),
            () = manager.drained() => None,
        }
    }

    /// Looks once for new ends.
    async fn look(&mut self) -> store::Result<Vec<Event>> {
        let Completions { entries, cursor } = self.subscriber.next(AT_ONCE).await?;
        let ids: Vec<_> = entries.iter().map(|(_, id)| *id).collect();
        // A failure here leaves the cursor as it was.
        let found = self.manager.ended_summaries(&ids).await?;
        let is_selected = |one: &Option<Arc<Summary>>| {
            one.as_ref()
                .is_some_and(|it| self.filter.selects_summary(it))
        };
        let selected = entries.into_iter().zip(found);
        let selected: Vec<_> = selected
            .filter(|(_, one)| is_selected(one))
            .map(|(end, _)| end)
            .collect();
        let (mut cursor, mut bytes) = (cursor, 0);
        let mut events = Vec::new();
        let mut pieces = selected.chunks(READ_AT_ONCE).peekable();
        while let Some(piece) = pieces.next() {
            let ids: Vec<_> = piece.iter().map(|(_, id)| *id).collect();
            let found = self.manager.ended(&ids).await?;
            for (end, shown) in piece.iter().zip(found) {
                if let Some(shown) = shown {
                    bytes += shown.json().len();
                    let cursor = Cursor::of(*end);
                    events.push(completed(&shown, cursor));
                    self.note_sent(cursor);
                }
            }
            if bytes >= ANSWER_BYTES
                && pieces.peek().is_some()
                && let Some(last) = piece.last()
            {
                // The next look goes on behind it.
                cursor = Cursor::of(*last);
                break;
            }
        }
        self.subscriber.advance(cursor);
        if self.sent_at.elapsed() >= SEND_CURSOR && self.sent != cursor {
            // Without data it is no event to a client, but a cursor.
            events.push(Event::default().id(cursor.to_string()));
            self.note_sent(cursor);
        }
        Ok(events)
    }

    fn note_sent(&mut self, cursor: Cursor) {
        self.sent = cursor;
        self.sent_at = Instant::now();
    }
}

fn completed(shown: &Shown, cursor: Cursor) -> Event {
    let event = Event::default().event("completed");
    event.id(cursor.to_string()).data(shown.json())
}

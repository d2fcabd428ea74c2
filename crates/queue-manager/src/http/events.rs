//! `/v1/events`: operations as they complete, as server-sent events.
//!
//! Best effort: what completes while nobody listens, or faster than somebody
//! reads, is not told again. A list says what is; this says when to look.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use drumline_protocol::OperationId;
use drumline_protocol::view::OperationView;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::manager::QueueManager;

/// Operations that are read at once when they complete faster than one by one.
const AT_ONCE: usize = 64;

/// Completions as they happen
///
/// Server-sent events: `completed` with the operation as `data`, `missed` when
/// some were left out because they came faster than they were read.
#[utoipa::path(
    get, path = "/v1/events", tag = "fleet",
    responses((status = 200, description = "Events without end", content_type = "text/event-stream", body = String))
)]
pub(crate) async fn events(
    State(manager): State<QueueManager>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let completions = manager.store().completions();
    let batches = stream::unfold((manager, completions), |(manager, mut completions)| async {
        let events = tokio::select! {
            events = next(&manager, &mut completions) => events?,
            () = manager.drained() => return None,
        };
        Some((stream::iter(events), (manager, completions)))
    });
    Sse::new(batches.flatten().map(Ok)).keep_alive(KeepAlive::default())
}

/// The next events, at least one; `None` at the end.
async fn next(
    manager: &QueueManager,
    completions: &mut Receiver<OperationId>,
) -> Option<Vec<Event>> {
    let mut ids = Vec::new();
    let mut events = Vec::new();
    match completions.recv().await {
        Ok(id) => ids.push(id),
        Err(RecvError::Lagged(_)) => events.push(missed()),
        Err(RecvError::Closed) => return None,
    }
    while ids.len() < AT_ONCE {
        match completions.try_recv() {
            Ok(id) => ids.push(id),
            Err(TryRecvError::Lagged(_)) => events.push(missed()),
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    match manager.store().get(&ids).await {
        Ok(found) => events.extend(found.iter().flatten().map(|operation| {
            let view = OperationView::from(operation);
            let id = view.id.clone();
            Event::default()
                .event("completed")
                .id(id)
                .json_data(view)
                .unwrap_or_else(|_unwritable| missed())
        })),
        Err(error) => {
            tracing::debug!(%error, "completions not shown");
            events.push(missed());
        }
    }
    Some(events)
}

fn missed() -> Event {
    Event::default().event("missed").data("")
}

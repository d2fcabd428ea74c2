//! `drumline events`: one line for each operation that is Completed.

use drumline_client::{Event, EventFilter, OperationView};
use futures_util::TryStreamExt as _;
use serde_json::json;

use super::Session;
use crate::cli::client::Events;
use crate::exit::{Exit, Result};
use crate::output::operation::one_line;

/// Follows, until somebody interrupts it or as many are told as were asked for.
pub(crate) async fn run(session: &Session, events: &Events) -> Result<Exit> {
    let mut told = 0;
    let mut stream = session.reached().await?.events(filter(events));
    while let Some(event) = stream.try_next().await? {
        let Event { id, operation } = event;
        if session.out.is_json() {
            session
                .out
                .json(&json!({ "event": id, "operation": operation }))?;
        } else {
            session.out.line(&line(session, &operation))?;
        }
        told += 1;
        if told == events.limit && events.limit > 0 {
            break;
        }
    }
    Ok(Exit::Ok)
}

fn line(session: &Session, operation: &OperationView) -> String {
    let what = [&operation.message_name, &operation.name]
        .map(String::as_str)
        .join(" ");
    format!(
        "{}  {}",
        what.trim_end(),
        one_line(operation, session.out.now())
    )
}

fn filter(events: &Events) -> EventFilter {
    let mut filter = EventFilter::new();
    if let Some(message) = &events.message {
        filter = filter.message_name(message);
    }
    if let Some(status) = events.status {
        filter = filter.status(status);
    }
    if let Some(name) = &events.name {
        filter = filter.name(name);
    }
    if let Some(token) = &events.token {
        filter = filter.token(token);
    }
    if let Some(id) = events.correlation_id {
        filter = filter.correlation_id(id);
    }
    if let Some(after) = &events.after {
        filter = filter.after(after);
    }
    filter
}

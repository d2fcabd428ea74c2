//! `drumline events`: one line for each operation that is Completed.

use drumline_client::{Error, Event, EventFilter, OperationView};
use futures_util::TryStreamExt as _;
use serde_json::json;

use super::Session;
use crate::cli::client::Events;
use crate::exit::{Exit, Failure, Result};
use crate::output::clean::clean;
use crate::output::operation::one_line;

/// Follows until interrupted, or until the requested number of events was
/// printed.
pub(crate) async fn run(session: &Session, events: &Events) -> Result<Exit> {
    let mut told = 0;
    let mut stream = session.reached().await?.events(filter(events));
    while let Some(event) = stream
        .try_next()
        .await
        .map_err(|error| in_our_words(error, events))?
    {
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

/// An unknown place, under the name of the flag that it came with.
fn in_our_words(error: Error, events: &Events) -> Failure {
    let about_place = error.problem().and_then(|problem| {
        let mut wrong = problem.attributes.iter();
        wrong.find(|attribute| attribute.name == "Last-Event-ID")
    });
    match (&events.after, about_place) {
        (Some(after), Some(wrong)) => Failure::new(
            Exit::Usage,
            format!(
                "--after {after}: {}, as `drumline events --output json` prints it; 0 is the oldest",
                wrong.detail
            ),
        ),
        (Some(_), None) | (None, _) => error.into(),
    }
}

fn line(session: &Session, operation: &OperationView) -> String {
    let what = [&operation.message_name, &operation.name]
        .map(|text| clean(text))
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

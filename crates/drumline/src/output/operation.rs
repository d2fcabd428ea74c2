//! Operations for people.

use drumline_client::{Explained, OperationView};
use drumline_protocol::text::counted;
use serde_json::value::RawValue;

use super::clean::clean;
use super::table::{Table, table};
use super::time::{self, Now};

/// Longest piece of JSON or text in a single line.
const EXCERPT: usize = 400;

/// All attributes of an operation.
pub(crate) fn details(operation: &OperationView, now: Now) -> String {
    rows(operation, now).text()
}

/// The same, and why it does not run or does not end.
pub(crate) fn explained(explained: &Explained, now: Now) -> String {
    let mut rows = rows(&explained.operation, now);
    if let Some(waiting_for) = &explained.waiting_for {
        rows.add_row(["waits for", &waiting_for.detail]);
    }
    rows.text()
}

/// The reason why it does not run or does not end; otherwise how it stands.
pub(crate) fn explanation(explained: &Explained, now: Now) -> String {
    let operation = &explained.operation;
    match &explained.waiting_for {
        Some(waiting_for) => format!(
            "{}  {}, {}: {}",
            operation.id,
            operation.state,
            operation.status,
            clean(&waiting_for.detail)
        ),
        None => one_line(operation, now),
    }
}

fn rows(operation: &OperationView, now: Now) -> Table {
    let mut rows = table(&[]);
    let mut add = |what: &str, text: Option<String>| {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            rows.add_row([what, &text]);
        }
    };
    let time = |text: &Option<String>| text.as_deref().map(|text| now.tell(text));
    add("id", Some(operation.id.clone()));
    add("message", Some(operation.message_name.clone()));
    add("name", Some(operation.name.clone()));
    add(
        "state",
        Some(format!(
            "{}, {} ({}/{})",
            operation.state, operation.status, operation.state_code, operation.status_code
        )),
    );
    add("progress", progress(operation));
    add("token", operation.dependency_token.clone());
    add("token policy", policy(operation));
    add("queue", Some(operation.queue.clone()));
    add(
        "type",
        Some(match &operation.operation_type_name {
            Some(name) => format!("{} {name}", operation.operation_type),
            None => operation.operation_type.to_string(),
        }),
    );
    add("created", Some(now.tell(&operation.created_on)));
    add("postponed until", time(&operation.postpone_until));
    add("start not after", time(&operation.not_after));
    add("recurrence", operation.recurrence_pattern.clone());
    add("by the clocks of", operation.recurrence_time_zone.clone());
    add("since", time(&operation.recurrence_start_time));
    let next_times = operation.next_occurrences.iter().flatten();
    for (index, next) in next_times.enumerate() {
        let what = if index == 0 { "next times" } else { "" };
        add(what, Some(now.tell(next)));
    }
    add("webhook", operation.webhook_url.clone());
    add("started", time(&operation.started_on));
    add("completed", time(&operation.completed_on));
    add("worker", operation.host_id.clone());
    add("attempts", attempts(operation));
    add("error", error(operation));
    add("error message", operation.message.as_deref().map(excerpt));
    let has_failed = operation.start_count > 0 && operation.error_code.is_some();
    let printed =
        has_failed.then(|| format!("`drumline attempts --last {}` shows it", operation.id));
    add("output", printed);
    add("data", operation.data.as_deref().map(json));
    add("result", operation.result.as_deref().map(json));
    add("correlation id", Some(operation.correlation_id.to_string()));
    add("possible now", Some(operation.legal_actions.join(", ")));
    rows
}

/// The result of an operation.
pub(crate) fn one_line(operation: &OperationView, now: Now) -> String {
    let mut line = format!(
        "{}  {}, {}",
        operation.id, operation.state, operation.status
    );
    match (operation.state_code, &operation.postpone_until) {
        (1, Some(until)) => line.push_str(&format!(", until {}", now.tell(until))),
        (1, None) => line.push_str(match waits_for_a_worker(operation) {
            Some(Wait::Handler) => ", until a worker has a handler for it",
            Some(Wait::Throttle) => ", until its handler succeeds again",
            None => ", until it is resumed",
        }),
        _ => {}
    }
    if let Some(progress) = progress(operation).filter(|_| operation.state_code == 2) {
        line.push_str(&format!(", {progress}"));
    }
    if operation.holds_token {
        line.push_str(", holds its token");
    }
    if let Some(error) = brief_error(operation) {
        line.push_str(&format!(": {error}"));
    }
    line
}

/// The error codes of the waits that end by themselves.
const NO_HANDLER: &str = "0x8D000002";
const THROTTLED: &str = "0x80040328";

/// A wait that no person has to end.
enum Wait {
    Handler,
    Throttle,
}

/// The wait of an operation that is Suspended without a time, by its error code. A
/// person who pauses an operation after such a wait leaves the code there, so
/// `explain` may say more.
fn waits_for_a_worker(operation: &OperationView) -> Option<Wait> {
    match operation.error_code.as_deref()? {
        NO_HANDLER => Some(Wait::Handler),
        THROTTLED => Some(Wait::Throttle),
        _ => None,
    }
}

/// The headings that [`row`] fills.
pub(crate) const HEADINGS: [&str; 7] = [
    "ID", "MESSAGE", "NAME", "TOKEN", "STATUS", "CREATED", "NOTE",
];

/// One row of a listing.
pub(crate) fn row(operation: &OperationView, now: Now) -> [String; 7] {
    let note = match operation.state_code {
        1 => match (
            operation.postpone_until.as_deref(),
            waits_for_a_worker(operation),
        ) {
            (None, Some(Wait::Handler)) => Some("waits for a handler".to_owned()),
            (None, Some(Wait::Throttle)) => Some("throttled".to_owned()),
            (until, _) => until.and_then(time::parse).map(|until| now.distance(until)),
        },
        2 => progress(operation),
        _ if operation.holds_token => Some("holds its token".to_owned()),
        _ => None,
    };
    [
        operation.id.clone(),
        operation.message_name.clone(),
        operation.name.clone(),
        operation.dependency_token.clone().unwrap_or_default(),
        operation.status.clone().into_owned(),
        time::parse(&operation.created_on).map_or_else(
            || operation.created_on.clone(),
            |created| now.distance(created),
        ),
        note.or_else(|| brief_error(operation)).unwrap_or_default(),
    ]
}

fn policy(operation: &OperationView) -> Option<String> {
    let text = match (&*operation.token_policy, operation.holds_token) {
        (_, true) => "hold: its token waits until it is resumed (skipped)",
        ("hold", false) => "hold: its token waits if it fails or is cancelled",
        (_, false) => return None,
    };
    Some(text.to_owned())
}

fn progress(operation: &OperationView) -> Option<String> {
    let progress = operation.progress.as_ref()?;
    Some(
        format!("{} % {}", progress.percent, clean(&progress.text))
            .trim_end()
            .to_owned(),
    )
}

fn attempts(operation: &OperationView) -> Option<String> {
    let mut text = match operation.start_count {
        0 => return None,
        1 => "started once".to_owned(),
        count => format!("started {count} times"),
    };
    if operation.retry_count > 0 {
        let retries = counted(operation.retry_count.into(), "time", "times");
        text.push_str(&format!(", retried {retries}"));
    }
    if operation.lost_count > 0 {
        let lost = counted(operation.lost_count.into(), "worker", "workers");
        text.push_str(&format!(", {lost} lost"));
    }
    if operation.execution_time_span > 0.0 {
        text.push_str(&format!(
            ", {} s in handlers",
            operation.execution_time_span
        ));
    }
    Some(text)
}

fn error(operation: &OperationView) -> Option<String> {
    let text = operation
        .friendly_message
        .as_deref()
        .filter(|text| !text.is_empty())
        .or(operation.message.as_deref())?;
    let text = excerpt(text);
    Some(match &operation.error_code {
        Some(code) => format!("{text} ({code})"),
        None => text,
    })
}

/// In a listing there is room for one text, and the technical one says more.
fn brief_error(operation: &OperationView) -> Option<String> {
    let text = operation
        .message
        .as_deref()
        .filter(|text| !text.is_empty())
        .or(operation.friendly_message.as_deref())?;
    Some(text.lines().next().map(excerpt).unwrap_or_default())
}

fn json(value: &RawValue) -> String {
    excerpt(value.get())
}

/// The start of a text in one line.
fn excerpt(text: &str) -> String {
    let text = text.trim();
    let line: String = text.chars().take(EXCERPT).collect();
    let more = if line.len() < text.len() { "…" } else { "" };
    clean(&line) + more
}

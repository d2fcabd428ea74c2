//! The history of an operation as programs and people see it.

use drumline_protocol::History;
use drumline_protocol::history::{Author, Entry};
use serde::{Deserialize, Serialize};

/// The history of an operation, oldest entry first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryView {
    /// The first and the last entries. Where `number` jumps, entries were dropped.
    pub entries: Vec<EntryView>,
    /// The number of entries that were dropped.
    pub omitted: u64,
}

/// One change of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryView {
    /// The place of the change among all changes of the operation, from 1.
    pub number: u64,
    /// The time, RFC 3339.
    pub at: String,
    /// The event: `create`, `claim`, `succeed`, and others in later releases.
    pub event: String,
    /// The state after the change, in words.
    pub state: String,
    /// The status after the change, in words.
    pub status: String,
    /// The attempt that runs, or that ran last; 0 before the first.
    pub attempt: u32,
    /// The author of the change.
    pub actor: ActorView,
    /// The time until which the operation is to wait, if it waits for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The code of the fault, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The reason for people, cut to 120 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The author of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorView {
    /// `caller`, `worker`, `handler`, `manager` or `schedule`.
    pub kind: String,
    /// The name of the caller, the host id of the worker, the id of the operation
    /// whose handler it was, the maintenance task, or the id of the series.
    pub name: String,
}

impl From<&History> for HistoryView {
    fn from(history: &History) -> Self {
        let History { entries, omitted } = history;
        Self {
            entries: entries.iter().map(EntryView::from).collect(),
            omitted: *omitted,
        }
    }
}

impl From<&Entry> for EntryView {
    fn from(entry: &Entry) -> Self {
        // The status before is the one of the entry before.
        let Entry {
            version,
            at,
            event,
            from: _,
            status,
            attempt,
            author,
            until,
            code,
            reason,
        } = entry;
        Self {
            number: *version,
            at: at.to_string(),
            event: in_camel_case(event.name()),
            state: status.state().name().to_owned(),
            status: status.name().to_owned(),
            attempt: *attempt,
            actor: ActorView::from(author),
            until: until.map(|until| until.to_string()),
            error_code: code.map(|code| code.to_string()),
            reason: reason.clone(),
        }
    }
}

impl From<&Author> for ActorView {
    fn from(author: &Author) -> Self {
        Self {
            kind: author.kind().to_owned(),
            name: author.name(),
        }
    }
}

/// The words of an event as one: `leaseExpired`.
fn in_camel_case(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    for (place, word) in words.split(' ').enumerate() {
        let mut letters = word.chars();
        match letters.next() {
            Some(first) if place > 0 => text.extend(first.to_uppercase()),
            first => text.extend(first),
        }
        text.extend(letters);
    }
    text
}

#[cfg(test)]
mod tests {
    use drumline_protocol::transition::EventKind;
    use drumline_protocol::{ErrorCode, Status, Timestamp};

    use super::*;

    #[test]
    fn an_entry_is_shown_in_words() {
        let entry = Entry {
            version: 7,
            at: Timestamp::from_millis(1_795_000_000_000),
            event: EventKind::LeaseExpired,
            from: Status::InProgress,
            status: Status::Failed,
            attempt: 2,
            author: Author::manager("lease reaper"),
            until: None,
            code: Some(ErrorCode::WORKER_LOST),
            reason: Some("it was lost".to_owned()),
        };
        let history = History {
            entries: vec![entry],
            omitted: 3,
        };
        let shown = serde_json::to_value(HistoryView::from(&history)).unwrap();
        assert_eq!(
            shown,
            serde_json::json!({
                "entries": [{
                    "number": 7,
                    "at": "2026-11-18T11:06:40.000Z",
                    "event": "leaseExpired",
                    "state": "Completed",
                    "status": "Failed",
                    "attempt": 2,
                    "actor": {"kind": "manager", "name": "lease reaper"},
                    "errorCode": ErrorCode::WORKER_LOST.to_string(),
                    "reason": "it was lost",
                }],
                "omitted": 3,
            })
        );
        assert_eq!(
            serde_json::from_value::<HistoryView>(shown).unwrap(),
            HistoryView::from(&history)
        );
    }
}

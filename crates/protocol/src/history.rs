//! The history of an operation: one entry for each commit.
//!
//! The first [`FIRST`] and the last [`LAST`] entries are kept. Entries in between
//! are dropped, and counted: the version of an operation grows by one with each
//! commit, so the entries that are missing are known.
//!
//! Most operations are created, run once and succeed. All of that stands in
//! their record, so that no entry is stored for it:
//!
//! ```text
//! version  1 created   the body: who and when
//!          2 claim     the header: its host, its start   ─┐ as long as nothing
//!          3 succeed   the header: its host, its end      ─┘ else has happened
//! ```
//!
//! The first commit that leaves this way stores the entries before it, too
//! ([`to_store`]). [`History::new`] puts both kinds together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error_code::ErrorCode;
use crate::id::OperationId;
use crate::limits;
use crate::operation::{Body, Creator, Header, StopRequest};
use crate::status::{State, Status};
use crate::time::Timestamp;
use crate::transition::{EventKind, Transition};

/// The oldest entries, which are kept: how it began.
pub const FIRST: u64 = 4;
/// The newest entries, which are kept: how it came to stand where it stands.
pub const LAST: u64 = 28;

/// The author of a commit: the API calls it the actor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Author {
    /// A client, by the name of its caller.
    Caller(String),
    /// A worker, by its host id.
    Worker(String),
    /// The handler of an operation, which created this one.
    Handler(OperationId),
    /// A maintenance task of a queue manager, by its name.
    Manager(String),
    /// A series, by its id, whose time has come.
    Schedule(OperationId),
}

impl Author {
    /// The worker with this host id.
    #[must_use]
    pub fn worker(host: impl Into<String>) -> Self {
        Self::Worker(host.into())
    }

    /// The maintenance task with this name.
    #[must_use]
    pub fn manager(task: impl Into<String>) -> Self {
        Self::Manager(task.into())
    }

    /// The author in words: the name alone for a caller, and with the kind before it
    /// for any other.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Caller(name) => name.clone(),
            Self::Worker(_) | Self::Handler(_) | Self::Manager(_) | Self::Schedule(_) => {
                format!("{} {}", self.kind(), self.name())
            }
        }
    }

    /// The word for the kind of author.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Caller(_) => "caller",
            Self::Worker(_) => "worker",
            Self::Handler(_) => "handler",
            Self::Manager(_) => "manager",
            Self::Schedule(_) => "schedule",
        }
    }

    /// The name of the author among those of its kind.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Caller(name) | Self::Worker(name) | Self::Manager(name) => name.clone(),
            Self::Handler(id) | Self::Schedule(id) => id.to_string(),
        }
    }
}

/// One commit of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The version that the commit wrote; 1 is the creation.
    pub version: u64,
    /// The store's time.
    pub at: Timestamp,
    /// The event that happened.
    pub event: EventKind,
    /// The status before.
    pub from: Status,
    /// The status after.
    pub status: Status,
    /// The attempt that runs, or that ran last; 0 before the first.
    pub attempt: u32,
    /// The author of the commit.
    pub author: Author,
    /// The time until which the operation is to wait, if it waits for a time.
    pub until: Option<Timestamp>,
    /// The code of the fault, if the event brought one.
    pub code: Option<ErrorCode>,
    /// The reason in words, cut to [`limits::REASON_CHARS`].
    pub reason: Option<String>,
}

impl Entry {
    /// The entry of a transition from `before`.
    #[must_use]
    pub fn new(before: &Header, transition: &Transition, author: &Author) -> Self {
        let header = &transition.header;
        let fault = transition.fault.as_ref();
        let reason = fault.map(|fault| {
            let text = if fault.message.is_empty() {
                &fault.friendly_message
            } else {
                &fault.message
            };
            limits::cut(text, limits::REASON_CHARS).to_owned()
        });
        Self {
            version: header.version,
            at: header.modified_on,
            event: transition.event,
            from: before.status,
            status: header.status,
            attempt: header.attempt(),
            author: match (transition.event, &header.host_id) {
                // The host is in the header already, and must be the same there.
                (EventKind::Claim, Some(host)) => Author::Worker(host.clone()),
                _ => author.clone(),
            },
            until: wakes(header),
            code: fault.map(|fault| fault.code),
            reason,
        }
    }
}

/// The time until which an operation is to wait, or will when its handler has
/// stopped.
const fn wakes(header: &Header) -> Option<Timestamp> {
    match (header.status.state(), header.stop) {
        (State::Suspended, _) => header.postpone_until,
        (State::Locked, Some(StopRequest::Postpone(until))) => Some(until),
        (State::Locked, Some(StopRequest::Pause) | None) | (State::Ready | State::Completed, _) => {
            None
        }
    }
}

/// The entries that a commit stores: none if the header shows all that has
/// happened; else its own, and those before it that were not stored so far.
#[must_use]
pub fn to_store(before: &Header, transition: &Transition, author: &Author) -> Vec<Entry> {
    // Nothing is stored of an operation that is gone.
    if transition.effects.remove {
        return Vec::new();
    }
    let entry = Entry::new(before, transition, author);
    if shown_by(&transition.header).last() == Some(&entry) {
        return Vec::new();
    }
    let mut entries = shown_by(before);
    entries.push(entry);
    entries
}

/// The entries behind the creation that a header shows by itself: those of an
/// operation that was claimed at once, and succeeded at once.
fn shown_by(header: &Header) -> Vec<Entry> {
    let Header {
        version,
        status,
        starts: 1,
        host_id: Some(host),
        started_on: Some(started),
        ..
    } = header
    else {
        return Vec::new();
    };
    let claim = Entry {
        version: 2,
        at: *started,
        event: EventKind::Claim,
        from: Status::WaitingForResources,
        status: Status::InProgress,
        attempt: 1,
        author: Author::worker(host),
        until: None,
        code: None,
        reason: None,
    };
    match (version, status, header.completed_on) {
        (2, Status::InProgress, _) => vec![claim],
        // It was claimed once, and succeeded: two commits, and there are no more.
        (3, Status::Succeeded, Some(ended)) => {
            let succeed = Entry {
                version: 3,
                at: ended,
                event: EventKind::Succeed,
                from: Status::InProgress,
                status: Status::Succeeded,
                ..claim.clone()
            };
            vec![claim, succeed]
        }
        _ => Vec::new(),
    }
}

/// The place of a new entry among the stored ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind all others.
    Append,
    /// Instead of the one at this place, from 0.
    Replace(usize),
}

impl Place {
    /// The place of the entry of this version. The first entries are followed by
    /// a ring of the last ones; the creation is not stored.
    #[must_use]
    pub fn of(version: u64) -> Self {
        match version.checked_sub(FIRST + LAST + 1) {
            None => Self::Append,
            Some(beyond) => {
                let place = FIRST - 1 + beyond % LAST;
                Self::Replace(usize::try_from(place).unwrap_or(usize::MAX))
            }
        }
    }
}

/// Adds entries to the stored ones. An entry whose place does not exist is
/// appended: the reader looks at versions, not at places.
pub fn store(stored: &mut Vec<Entry>, entries: Vec<Entry>) {
    for entry in entries {
        match Place::of(entry.version) {
            Place::Replace(place) if place < stored.len() => {
                if let Some(old) = stored.get_mut(place) {
                    *old = entry;
                }
            }
            Place::Replace(_) | Place::Append => stored.push(entry),
        }
    }
}

/// The history of an operation, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The entries that are kept. Versions that are missing between two of them
    /// were dropped.
    pub entries: Vec<Entry>,
    /// The number of entries that were dropped.
    pub omitted: u64,
}

impl History {
    /// The history of an operation with this header and body, of which these
    /// entries are stored.
    #[must_use]
    pub fn new(header: &Header, body: &Body, stored: Vec<Entry>) -> Self {
        let shown = shown_by(header);
        let mut entries: BTreeMap<u64, Entry> = BTreeMap::new();
        for entry in shown.into_iter().chain(stored) {
            entries.insert(entry.version, entry);
        }
        entries.insert(1, created(header, body, entries.get(&2)));
        let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        Self {
            entries: entries.into_values().collect(),
            omitted: header.version.saturating_sub(count),
        }
    }
}

/// The entry of the creation; `second` is the entry behind it.
fn created(header: &Header, body: &Body, second: Option<&Entry>) -> Entry {
    let status = match second {
        Some(second) => second.from,
        None if header.version == 1 || header.is_series() => header.status,
        None => Status::WaitingForResources,
    };
    Entry {
        version: 1,
        at: body.created_on,
        event: EventKind::Create,
        from: status,
        status,
        attempt: 0,
        author: creator(body),
        until: None,
        code: None,
        reason: None,
    }
}

fn creator(body: &Body) -> Author {
    let parent = body
        .parent_id
        .and_then(|parent| OperationId::from_bytes(*parent.as_bytes()));
    match (body.creator, parent) {
        (Creator::Handler, Some(parent)) => Author::Handler(parent),
        (Creator::Series, Some(series)) => Author::Schedule(series),
        (Creator::Caller | Creator::Handler | Creator::Series, _) => {
            Author::Caller(body.owner.clone())
        }
    }
}

#[cfg(test)]
mod tests;

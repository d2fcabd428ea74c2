//! The entries that are stored, their places, and the history that is read back.

use std::time::Duration;

use super::*;
use crate::codec;
use crate::id::{CommitId, Partition};
use crate::operation::{Fault, Recurrence, Rules, first_header, series_header};
use crate::retry::Jitter;
use crate::transition::{At, Event, apply};

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// An operation whose events are committed one after the other.
struct Life {
    header: Header,
    body: Body,
    stored: Vec<Entry>,
    now: Timestamp,
}

impl Life {
    fn new() -> Self {
        Self {
            header: first_header(Rules::default(), None, CommitId(1), NOW),
            body: Body {
                owner: "ann".to_owned(),
                ..Body::new("DoIt", NOW)
            },
            stored: Vec::new(),
            now: NOW,
        }
    }

    fn happens(&mut self, event: Event, author: &Author) -> &mut Self {
        self.now = self.now.saturating_add(Duration::from_millis(7));
        let at = At {
            now: self.now,
            commit: CommitId(self.header.version + 1),
        };
        let transition = apply(&self.header, event, at).unwrap();
        let entries = to_store(&self.header, &transition, author);
        store(&mut self.stored, entries);
        self.header = transition.header;
        self
    }

    fn claim(&mut self) -> &mut Self {
        let host = "host:1".to_owned();
        self.happens(Event::Claim { host }, &worker())
    }

    fn history(&self) -> History {
        History::new(&self.header, &self.body, self.stored.clone())
    }

    fn events(&self) -> Vec<&'static str> {
        let events = self.history().entries;
        events.iter().map(|entry| entry.event.name()).collect()
    }
}

fn worker() -> Author {
    Author::worker("host:1")
}

fn ann() -> Author {
    Author::Caller("ann".to_owned())
}

#[test]
fn an_operation_that_runs_once_stores_nothing() {
    let mut life = Life::new();
    assert_eq!(life.events(), ["create"]);
    assert_eq!(life.claim().events(), ["create", "claim"]);
    life.happens(Event::Succeed, &worker());
    assert_eq!(life.events(), ["create", "claim", "succeed"]);
    assert_eq!(life.stored, []);
    let history = life.history();
    assert_eq!(history.omitted, 0);
    let times: Vec<i64> = history.entries.iter().map(|it| it.at.as_millis()).collect();
    let start = NOW.as_millis();
    assert_eq!(times, [start, start + 7, start + 14]);
    let authors = history.entries.into_iter().map(|entry| entry.author);
    assert_eq!(authors.collect::<Vec<_>>(), [ann(), worker(), worker()]);
}

#[test]
fn the_entries_that_a_header_showed_are_stored_when_something_else_happens() {
    let mut life = Life::new();
    life.claim().happens(Event::Pause, &ann());
    assert_eq!(life.stored.len(), 2);
    life.happens(Event::Stopped, &worker())
        .happens(Event::Resume, &ann())
        .claim()
        .happens(Event::Succeed, &worker());
    assert_eq!(
        life.events(),
        [
            "create", "claim", "pause", "stopped", "resume", "claim", "succeed"
        ]
    );
    let attempts = life.history().entries.into_iter().map(|it| it.attempt);
    assert_eq!(attempts.collect::<Vec<_>>(), [0, 1, 1, 1, 1, 2, 2]);
}

#[test]
fn a_success_in_another_name_is_stored() {
    let mut life = Life::new();
    life.claim().happens(Event::Succeed, &ann());
    assert_eq!(life.stored.len(), 2);
    let last = life.history().entries.pop().unwrap();
    assert_eq!(last.author, ann());
}

#[test]
fn a_failure_says_its_code_and_a_cut_message() {
    let mut life = Life::new();
    let fault = Fault::new(
        ErrorCode::NETWORK_ERROR,
        "the line is down",
        &"x".repeat(999),
    );
    life.claim().happens(
        Event::Retry {
            fault,
            after: Some(Duration::from_secs(9)),
            jitter: Jitter(0),
        },
        &worker(),
    );
    let last = life.history().entries.pop().unwrap();
    assert_eq!(last.code, Some(ErrorCode::NETWORK_ERROR));
    assert_eq!(last.reason.unwrap().len(), limits::REASON_CHARS);
    assert_eq!(
        last.until,
        Some(last.at.saturating_add(Duration::from_secs(9)))
    );
    assert_eq!(
        (last.from, last.status),
        (Status::InProgress, Status::Waiting)
    );
}

#[test]
fn the_first_and_the_last_entries_are_kept_and_the_others_counted() {
    let mut life = Life::new();
    let most = usize::try_from(FIRST + LAST).unwrap();
    for count in 2..200_u64 {
        let event = if count % 2 == 0 {
            Event::Pause
        } else {
            Event::Resume
        };
        life.happens(event, &ann());
        let history = life.history();
        let versions: Vec<u64> = history.entries.iter().map(|it| it.version).collect();
        let newest = life.header.version;
        let expected: Vec<u64> = (1..=newest)
            .filter(|version| *version <= FIRST || *version > newest.saturating_sub(LAST))
            .collect();
        assert_eq!(versions, expected);
        assert_eq!(history.omitted + versions.len() as u64, newest);
        assert!(life.stored.len() < most);
    }
    assert_eq!(life.history().entries.len(), most);
}

#[test]
fn a_history_whose_stored_part_is_lost_says_so() {
    let mut life = Life::new();
    for _ in 0..30 {
        life.happens(Event::Pause, &ann())
            .happens(Event::Resume, &ann());
    }
    life.stored.clear();
    life.happens(Event::Pause, &ann());
    let history = life.history();
    assert_eq!(history.entries.len(), 2);
    assert_eq!(history.omitted, life.header.version - 2);
    assert_eq!(history.entries[0].status, Status::WaitingForResources);
}

#[test]
fn a_series_is_created_as_it_stands() {
    let mut life = Life::new();
    let recurrence = Recurrence {
        pattern: "FREQ=DAILY".to_owned(),
        start: NOW,
        last: None,
    };
    life.header = series_header(Rules::default(), recurrence, None, CommitId(1), NOW);
    life.header.version = 3;
    assert_eq!(life.history().entries[0].status, Status::Waiting);
}

#[test]
fn an_entry_whose_place_is_lost_is_appended() {
    let mut life = Life::new();
    while life.header.version < FIRST + LAST {
        life.happens(Event::Pause, &ann())
            .happens(Event::Resume, &ann());
    }
    let newest = life.stored.last().unwrap().clone();
    for version in newest.version + 1..newest.version + 9 {
        let Place::Replace(place) = Place::of(version) else {
            panic!("version {version} has a place in the ring");
        };
        for left in [0, place - 1, place] {
            let mut stored = life.stored.clone();
            stored.truncate(left);
            let entry = Entry {
                version,
                ..newest.clone()
            };
            store(&mut stored, vec![entry.clone()]);
            assert_eq!((stored.len(), stored.last()), (left + 1, Some(&entry)));
        }
    }
}

#[test]
fn an_author_is_named_with_its_kind() {
    let id = OperationId::new(NOW, Partition::new(1), [2; 16]);
    for (author, kind, name) in [
        (Author::worker("host:1"), "worker", "host:1".to_owned()),
        (Author::Handler(id), "handler", id.to_string()),
        (Author::manager("leases"), "manager", "leases".to_owned()),
        (Author::Schedule(id), "schedule", id.to_string()),
    ] {
        assert_eq!((author.kind(), author.name()), (kind, name.clone()));
        assert_eq!(author.in_words(), format!("{kind} {name}"));
    }
    assert_eq!((ann().kind(), ann().name()), ("caller", "ann".to_owned()));
    assert_eq!(ann().in_words(), "ann", "a caller is known by its name");
}

#[test]
fn a_creation_names_its_creator_and_its_first_status() {
    let parent = OperationId::new(NOW, Partition::new(1), [2; 16]);
    let header = first_header(
        Rules::default(),
        Some(NOW.saturating_add(Duration::from_secs(1))),
        CommitId(1),
        NOW,
    );
    for (creator, author) in [
        (Creator::Caller, Author::Caller("ann".to_owned())),
        (Creator::Handler, Author::Handler(parent)),
        (Creator::Series, Author::Schedule(parent)),
    ] {
        let mut life = Life::new();
        life.body.creator = creator;
        life.body.parent_id = Some(uuid::Uuid::from_bytes(*parent.as_bytes()));
        life.header = header.clone();
        assert_eq!(life.history().entries[0].author, author);
        assert_eq!(life.history().entries[0].status, Status::Waiting);
        life.happens(Event::Resume, &ann());
        assert_eq!(life.history().entries[0].status, Status::Waiting);
    }
}

/// The promise for the store's memory.
#[test]
fn an_entry_takes_few_bytes_beside_its_texts() {
    let mut life = Life::new();
    life.claim().happens(
        Event::Retry {
            fault: Fault::new(ErrorCode::NETWORK_ERROR, "", "ECONNREFUSED"),
            after: None,
            jitter: Jitter(0),
        },
        &worker(),
    );
    for entry in &life.stored {
        let texts = entry.author.name().len() + entry.reason.as_ref().map_or(0, String::len);
        let bytes = codec::encode(entry).unwrap().len() - texts;
        println!("{bytes} bytes: {}", entry.event.name());
        // A list in Redis adds two or three bytes.
        assert!(bytes <= 42, "{bytes} bytes");
    }
}

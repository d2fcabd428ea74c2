//! History: every commit is on record, once, and goes with its operation.

use std::time::Duration;

use drumline_backend::store::{Committed, Guard, Recorded, ReportParts, Transacted};
use drumline_protocol::history::{Entry, FIRST, LAST};
use drumline_protocol::transition::EventKind;
use drumline_protocol::{
    Author, Event, History, Jitter, OperationId, Progress, Report, Status, Timestamp,
};

use super::commit::{commit, commit_done, commit_one};
use crate::StoreHarness;
use crate::fixtures::{Fixture, HOST, claim_event, fault, independent, of_token};

/// The entries are in the order of the commits, each with its author, and the
/// last one agrees with the header.
pub async fn every_commit_is_on_record_in_order(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(of_token("a")).await;
    let id = fresh.id;
    fixture.client(id, Event::Pause).await;
    fixture.client(id, Event::Resume).await;
    let fence = fixture.claim(id).await;
    let retry = Event::Retry {
        fault: fault(),
        after: Some(Duration::from_secs(60)),
        jitter: Jitter(0),
    };
    fixture.holder(id, fence, retry).await;
    fixture.client(id, Event::Resume).await;
    let fence = fixture.claim(id).await;
    let guard = Guard::Unchanged {
        holding: fixture.holding(fence),
        beat: 0,
    };
    fixture.event(id, Event::LeaseExpired, guard).await;
    let fence = fixture.claim(id).await;
    fixture.client(id, Event::Cancel).await;
    fixture.holder(id, fence, Event::Stopped).await;

    let history = history(&fixture, id).await;
    let told: Vec<_> = history
        .entries
        .iter()
        .map(|entry| {
            (
                entry.event,
                entry.status,
                entry.attempt,
                entry.author.kind(),
            )
        })
        .collect();
    let (ready, waiting) = (Status::WaitingForResources, Status::Waiting);
    assert_eq!(
        told,
        [
            (EventKind::Create, ready, 0, "caller"),
            (EventKind::Pause, waiting, 0, "caller"),
            (EventKind::Resume, ready, 0, "caller"),
            (EventKind::Claim, Status::InProgress, 1, "worker"),
            (EventKind::Retry, waiting, 1, "worker"),
            (EventKind::Resume, ready, 1, "caller"),
            (EventKind::Claim, Status::InProgress, 2, "worker"),
            (EventKind::LeaseExpired, ready, 2, "manager"),
            (EventKind::Claim, Status::InProgress, 3, "worker"),
            (EventKind::Cancel, Status::Canceling, 3, "caller"),
            (EventKind::Stopped, Status::Canceled, 3, "worker"),
        ]
    );
    let retried = &history.entries[4];
    assert_eq!(retried.code, Some(fault().code));
    assert_eq!(retried.reason, Some(fault().message));
    let until = retried.at.saturating_add(Duration::from_secs(60));
    assert_eq!(retried.until, Some(until));
}

/// An operation that runs once, and so needs nothing stored, has its history
/// all the same, at each step.
pub async fn an_operation_that_runs_once_has_its_history(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    assert_eq!(events(&fixture, id).await, [EventKind::Create]);
    let fence = fixture.claim(id).await;
    let claimed = [EventKind::Create, EventKind::Claim];
    assert_eq!(events(&fixture, id).await, claimed);
    fixture.holder(id, fence, Event::Succeed).await;
    let last = history(&fixture, id).await.entries.pop().expect("an entry");
    assert_eq!(last.event, EventKind::Succeed);
    assert_eq!(last.author, Author::worker(HOST));
    assert_eq!(recorded(&fixture, id).await.entries, []);
}

/// A failure is on record, together with the claim that the header has shown so
/// far.
pub async fn what_the_header_showed_is_stored_when_it_shows_it_no_longer(
    harness: &dyn StoreHarness,
) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    let fence = fixture.claim(id).await;
    fixture.holder(id, fence, Event::Fail(fault())).await;
    let told = events(&fixture, id).await;
    assert_eq!(told, [EventKind::Create, EventKind::Claim, EventKind::Fail]);
}

/// A commit that is repeated after an unclear answer has one entry, and a
/// commit that is refused has none.
pub async fn a_repeated_commit_has_one_entry(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let open = |event| commit(&fixture, fresh.id, &fresh.header, event, Guard::None);
    let (pause, stale) = (open(Event::Pause), open(Event::Cancel));
    commit_done(&fixture, pause.clone()).await;
    commit_done(&fixture, pause.clone()).await;
    let both = fixture.store.commit(vec![pause.clone(), pause]).await;
    assert_eq!(both.expect("commit").len(), 2);
    let answer = commit_one(&fixture, stale).await;
    assert!(matches!(answer, Committed::Conflict(_)), "{answer:?}");
    let stored = recorded(&fixture, fresh.id).await.entries;
    let versions: Vec<u64> = stored.iter().map(|entry| entry.version).collect();
    assert_eq!(versions, [2]);
}

/// A commit that meets another holder, or is not the head, leaves no entry.
pub async fn a_refused_commit_has_no_entry(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    fixture.create(of_token("a")).await;
    let second = fixture.create(of_token("a")).await;
    let taking = fixture.taking();
    let claim = commit(&fixture, second.id, &second.header, claim_event(), taking);
    assert!(matches!(
        commit_one(&fixture, claim).await,
        Committed::NotHead
    ));
    let stale = commit(
        &fixture,
        second.id,
        &second.header,
        Event::Pause,
        Guard::Holder(fixture.holding(drumline_protocol::Fence(1))),
    );
    assert!(matches!(
        commit_one(&fixture, stale).await,
        Committed::Fenced
    ));
    assert_eq!(events(&fixture, second.id).await, [EventKind::Create]);
    assert_eq!(recorded(&fixture, second.id).await.entries, []);
}

/// The first and the last entries are kept, the others are counted, and the
/// stored part does not grow.
pub async fn a_long_history_keeps_its_ends(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    for _ in 0..45 {
        fixture.client(id, Event::Pause).await;
        fixture.client(id, Event::Resume).await;
        let history = history(&fixture, id).await;
        let newest = fixture.read(id).await.header.version;
        let versions: Vec<u64> = history.entries.iter().map(|it| it.version).collect();
        let kept = |version: &u64| *version <= FIRST || *version > newest.saturating_sub(LAST);
        let expected: Vec<u64> = (1..=newest).filter(kept).collect();
        assert_eq!(versions, expected);
        assert_eq!(history.omitted, newest - versions.len() as u64);
    }
    let stored = recorded(&fixture, id).await.entries.len() as u64;
    assert_eq!(stored, FIRST + LAST - 1);
}

/// Each commit of a transaction has its entry; a refused transaction has none.
pub async fn a_transaction_writes_the_entries_of_its_commits(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(independent()).await;
    let second = fixture.create(fixture.together(of_token("a"))).await;
    let new = fixture.prepare(independent());
    let pause = |of: &crate::fixtures::Fresh| {
        commit(&fixture, of.id, &of.header, Event::Pause, Guard::None)
    };
    let stale = {
        let mut stale = pause(&second);
        stale.expected += 1;
        stale
    };
    let refused = fixture
        .store
        .transact(vec![], vec![pause(&first), stale])
        .await;
    assert!(matches!(refused, Ok(Transacted::Refused { .. })));
    assert_eq!(events(&fixture, first.id).await, [EventKind::Create]);

    let commits = vec![pause(&first), pause(&second)];
    for _ in 0..2 {
        let made = fixture
            .store
            .transact(vec![new.clone()], commits.clone())
            .await;
        assert!(matches!(made, Ok(Transacted::Done { .. })), "{made:?}");
    }
    for id in [first.id, second.id] {
        let told = events(&fixture, id).await;
        assert_eq!(told, [EventKind::Create, EventKind::Pause]);
        assert_eq!(recorded(&fixture, id).await.entries.len(), 1);
    }
    assert_eq!(events(&fixture, new.id).await, [EventKind::Create]);
}

/// The history goes with its operation, and a later one of the same id starts
/// a history of its own.
pub async fn a_history_is_removed_with_its_operation(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let new = fixture.prepare(independent());
    let id = new.id;
    assert_eq!(fixture.store.history(id).await.expect("history"), None);
    fixture.store_new(new.clone()).await;
    fixture.client(id, Event::Pause).await;
    fixture.client(id, Event::Cancel).await;
    assert_eq!(recorded(&fixture, id).await.entries.len(), 2);
    fixture.client(id, Event::Delete).await;
    assert_eq!(fixture.store.history(id).await.expect("history"), None);
    let mut again = new;
    again.header.commit = fixture.ids.commit();
    fixture.store_new(again).await;
    assert_eq!(recorded(&fixture, id).await.entries, []);
}

/// A report of the holder is no commit, and has no entry.
pub async fn a_report_is_not_on_record(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    let fence = fixture.claim(id).await;
    let report = Report {
        progress: Some(Progress {
            percent: 1,
            text: String::new(),
        }),
        ..Report::default()
    };
    let written = fixture
        .store
        .report(id, fixture.holding(fence), &report, ReportParts::All)
        .await;
    assert!(written.expect("report"));
    let claimed = [EventKind::Create, EventKind::Claim];
    assert_eq!(events(&fixture, id).await, claimed);
}

/// The history of an operation that exists. Whatever has happened, its last
/// entry agrees with the header, and each entry begins where the one before it
/// has ended.
async fn history(fixture: &Fixture, id: OperationId) -> History {
    let recorded = recorded(fixture, id).await;
    let operation = fixture.read(id).await;
    assert_eq!(recorded.header, operation.header);
    let history = recorded.history(&operation.body);
    let header = operation.header;
    let place = |entry: &Entry| (entry.version, entry.status, entry.at);
    let expected: (u64, Status, Timestamp) = (header.version, header.status, header.modified_on);
    assert_eq!(history.entries.last().map(place), Some(expected));
    for pair in history.entries.windows(2) {
        let [before, after] = pair else { continue };
        assert!(before.version < after.version, "{before:?} {after:?}");
        let gap = after.version - before.version > 1;
        assert!(gap || before.status == after.from, "{before:?} {after:?}");
    }
    history
}

async fn recorded(fixture: &Fixture, id: OperationId) -> Recorded {
    let found = fixture.store.history(id).await.expect("history");
    found.expect("the operation is there")
}

async fn events(fixture: &Fixture, id: OperationId) -> Vec<EventKind> {
    let entries = history(fixture, id).await.entries;
    entries.iter().map(|entry| entry.event).collect()
}

//! Operations, numbers, locks, keys and pauses go on behind a restart, although the clock
//! of the next process shows less.

use std::collections::BTreeSet;
use std::time::Duration;

use drumline_backend::store::{Created, Filter, Stamp};
use drumline_protocol::{Event, PauseKind, Status};

use crate::RestartHarness;
use crate::fixtures::{Draft, Fixture, independent, of_token};
use crate::store::idempotency::reservation;
use crate::store::pauses::scope;

/// The clock is an hour behind after each restart.
const HOUR: Duration = Duration::from_secs(3_600);

/// The same process in its next life, as far as the store knows.
async fn next(fixture: &Fixture, harness: &dyn RestartHarness) -> Fixture {
    harness.restart(HOUR).await;
    Fixture {
        store: harness.connect().await,
        ..fixture.clone()
    }
}

/// The operations of a token go on where they were, and new ones stand behind them.
pub async fn a_chain_keeps_its_order(harness: &dyn RestartHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await;
    let second = fixture.create(of_token("a")).await;
    let third = fixture.create(of_token("a")).await;
    fixture.run(first.id).await;

    let fixture = next(&fixture, harness).await;
    let fourth = fixture.create(of_token("a")).await;
    assert!(fourth.sequence > third.sequence);
    assert!(fixture.entry(second.id).await.is_some());
    for follower in [third.id, fourth.id] {
        assert_eq!(fixture.entry(follower).await, None);
    }
    for id in [second.id, third.id, fourth.id] {
        fixture.run(id).await;
        assert_eq!(fixture.read(id).await.header.status, Status::Succeeded);
    }
}

/// A fence, a stamp and an end are greater than all before, whatever the clock shows.
pub async fn numbers_never_fall(harness: &dyn RestartHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await;
    let partition = first.id.partition();
    let fence = fixture.claim(first.id).await;
    fixture.holder(first.id, fence, Event::Succeed).await;
    let before = fixture.store.stamp(partition).await.expect("stamp");
    let seen = fixture.store.ended_since(Stamp(0), 100).await;
    let seen = seen.expect("ended").until;

    let mut last = (fence, before, seen);
    let mut fixture = fixture;
    for _ in 0..3 {
        fixture = next(&fixture, harness).await;
        let stamp = fixture.store.stamp(partition).await.expect("stamp");
        assert!(stamp > last.1, "{stamp:?} after {:?}", last.1);
        let fresh = fixture.create(of_token("a")).await;
        let fence = fixture.claim(fresh.id).await;
        assert!(fence > last.0, "{fence:?} after {:?}", last.0);
        fixture.holder(fresh.id, fence, Event::Succeed).await;
        let ended = fixture.store.ended_since(last.2, 100).await;
        let ended = ended.expect("ended");
        let ids: Vec<_> = ended.entries.iter().map(|(_, id)| *id).collect();
        assert_eq!(ids, [fresh.id], "an end that nobody has seen");
        last = (fence, stamp, ended.until);
    }
}

/// A lock has its owner and its fence still, and its holder may end the operation.
pub async fn a_lock_is_kept(harness: &dyn RestartHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(of_token("a")).await;
    let fence = fixture.claim(fresh.id).await;

    let fixture = next(&fixture, harness).await;
    let lock = fixture.store.lock(fresh.id).await.expect("lock");
    let lock = lock.expect("it is locked");
    assert_eq!(lock.holding(), fixture.holding(fence));
    assert_eq!(fixture.entry(fresh.id).await, None);
    fixture.holder(fresh.id, fence, Event::Succeed).await;
}

/// Whatever may run is offered again, and nothing else is.
pub async fn what_may_run_is_offered_again(harness: &dyn RestartHarness) {
    let fixture = Fixture::new(harness).await;
    let waiting = fixture.create(independent()).await;
    let confirmed = fixture.create(independent()).await;
    let stamp = confirmed.offer.expect("it is offered");
    fixture.confirm(confirmed.id, stamp).await;
    let running = fixture.create(independent()).await;
    fixture.claim(running.id).await;
    let done = fixture.create(independent()).await;
    fixture.run(done.id).await;
    let postponed = Draft {
        postponed_by: Some(HOUR),
        ..independent()
    };
    let postponed = fixture.create(postponed).await;
    let partition = waiting.id.partition();

    let fixture = next(&fixture, harness).await;
    let entries = fixture.outbox_entries(partition).await;
    let ids: Vec<_> = entries.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [waiting.id, confirmed.id]);
    assert!(fixture.offered(partition).await.is_empty());
    // An offer of the life before is not taken for one of this life.
    assert!(entries.iter().all(|(_, now)| *now != stamp));
    let counts = fixture.store.counts().await.expect("counts");
    let counts = (
        counts.ready,
        counts.suspended,
        counts.locked,
        counts.completed,
    );
    assert_eq!(counts, (2, 1, 1, 1));
    let all = fixture.store.list(&Filter::default(), None, 100).await;
    let all: Vec<_> = all
        .expect("list")
        .operations
        .iter()
        .map(|one| one.id)
        .collect();
    let created = [postponed.id, done.id, running.id, confirmed.id, waiting.id];
    assert_eq!(all, created, "newest first");
}

/// An idempotency key stands for its operation, also for one that is removed.
pub async fn a_key_stands_for_its_operation(harness: &dyn RestartHarness) {
    let fixture = Fixture::new(harness).await;
    let mut new = fixture.prepare(independent());
    let mine = reservation(&fixture, [7; 16], 1);
    let partition = mine.key.partition(fixture.store.partitions());
    new.id = fixture.ids.operation(fixture.store.now(), partition);
    let mut mine = mine;
    mine.reserved.id = new.id;
    new.key = Some(mine);
    let created = fixture.store.create(vec![new.clone()]).await;
    let created = created.expect("create");
    assert!(matches!(created.as_slice(), [Created::New { .. }]));

    let fixture = next(&fixture, harness).await;
    let again = reservation(&fixture, [7; 16], 1);
    let held = fixture.store.reserve(&[again]).await.expect("reserve");
    assert_eq!(held, [mine.reserved]);
    fixture.run(new.id).await;
    fixture.client(new.id, Event::Delete).await;

    let fixture = next(&fixture, harness).await;
    let removed = fixture.store.were_removed(&[new.id]).await;
    assert_eq!(removed.expect("removed"), [true]);
}

/// A pause holds what it has held, and what comes, until it is lifted.
pub async fn a_pause_goes_on(harness: &dyn RestartHarness) {
    let fixture = Fixture::new(harness).await;
    let key = fixture
        .pause(&scope(PauseKind::MessageName, "DoIt"), None)
        .await;
    let held = fixture.create(independent()).await;
    assert_eq!(held.offer, None);

    let fixture = next(&fixture, harness).await;
    let pauses = fixture.store.pauses().await.expect("pauses");
    assert_eq!(pauses.pauses.len(), 1);
    let later = fixture.create(independent()).await;
    assert_eq!(later.offer, None);
    let partition = held.id.partition();
    assert!(fixture.outbox_entries(partition).await.is_empty());

    assert!(fixture.store.lift_pause(key).await.expect("lift"));
    let fixture = next(&fixture, harness).await;
    let released = fixture.store.release_held(partition, None, 10).await;
    assert_eq!(released.expect("release").count, 2);
    let entries = fixture.outbox_entries(partition).await;
    // The id of the later one has the earlier time: the clock was set back.
    let ids: BTreeSet<_> = entries.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, BTreeSet::from([held.id, later.id]));
}

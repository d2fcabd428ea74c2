//! Locks: one holder, and no write by any other process.

use drumline_backend::apply_event::Applied;
use drumline_backend::store::{Committed, Guard, Lock, Renewal, ReportParts};
use drumline_protocol::{Event, Fence, OperationId, Progress, Report, Status};

use super::commit::{commit, commit_one};
use crate::StoreHarness;
use crate::fixtures::{Fixture, LEASE, fault, independent, of_token};

/// A claim takes a lock that every process can see.
pub async fn a_claim_takes_a_lock(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    let fence = fixture.claim(id).await;
    let lock = lock_of(&fixture.another(harness).await, id).await;
    let lock = lock.expect("it is locked");
    assert_eq!(lock.owner, fixture.worker);
    assert_eq!(lock.fence, fence);
    assert_eq!(lock.lease, LEASE);
}

/// Every end of a holding ends its lock, and the next holding has a greater
/// fence.
pub async fn the_end_of_a_holding_gives_up_the_lock(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    let mut last = Fence(0);
    for event in [
        Event::Release,
        Event::Suspend(fault()),
        Event::Retry {
            fault: fault(),
            after: None,
            jitter: fixture.ids.jitter(),
        },
        Event::Succeed,
    ] {
        let fence = fixture.claim(id).await;
        assert!(fence > last, "{fence} after {last}");
        last = fence;
        fixture.holder(id, fence, event).await;
        assert_eq!(lock_of(&fixture, id).await, None);
        let renewed = fixture
            .store
            .renew(&[(id, fixture.holding(fence))])
            .await
            .expect("renew");
        assert_eq!(renewed, [Renewal::Lost]);
        if fixture.read(id).await.header.status == Status::Waiting {
            fixture.client(id, Event::Resume).await;
        }
    }
}

/// A renewal moves the beat, of the caller's locks only, and answers in order.
pub async fn a_renewal_moves_the_beat(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mine = fixture.create(independent()).await.id;
    let other = fixture.create(of_token("a")).await.id;
    let free = fixture.create(independent()).await.id;
    let fence = fixture.claim(mine).await;
    let other_fence = fixture.claim(other).await;
    let before = lock_of(&fixture, mine).await.expect("locked");
    let other_before = lock_of(&fixture, other).await.expect("locked");
    let held = Renewal::Held {
        asked_to_stop: false,
    };
    let stale = Fence(fence.0.saturating_sub(1));
    let locks = [(free, fence), (mine, fence), (mine, stale), (other, fence)];
    let locks = locks.map(|(id, fence)| (id, fixture.holding(fence)));
    let answers = fixture.store.renew(&locks).await.expect("renew");
    let other_answer = if other_fence == fence {
        held
    } else {
        Renewal::Lost
    };
    assert_eq!(answers, [Renewal::Lost, held, Renewal::Lost, other_answer]);
    let after = lock_of(&fixture, mine).await.expect("locked");
    assert_ne!(after.beat, before.beat);
    assert_eq!(
        after,
        Lock {
            beat: after.beat,
            ..before
        }
    );
    if other_answer == Renewal::Lost {
        assert_eq!(lock_of(&fixture, other).await, Some(other_before));
    }
    assert!(fixture.store.renew(&[]).await.expect("renew").is_empty());
}

/// The holder finds the requests to stop without naming what it runs; no other
/// member finds them, and they are gone when it has stopped.
pub async fn a_holder_finds_its_requests_to_stop(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let requests = async |fixture: &Fixture, holder| {
        let mut found = fixture.store.stop_requests(holder).await.expect("requests");
        found.sort_unstable();
        found
    };
    let mut asked = Vec::new();
    for event in [Event::Pause, Event::Cancel] {
        let id = fixture.create(independent()).await.id;
        let fence = fixture.claim(id).await;
        // Another process asks.
        other.client(id, event).await;
        asked.push((id, fence));
    }
    let undisturbed = fixture.create(independent()).await.id;
    fixture.claim(undisturbed).await;
    asked.sort_unstable();
    // An answer may be lost, so a request is there until it was met.
    for _ in 0..2 {
        assert_eq!(requests(&fixture, fixture.worker).await, asked);
    }
    let stranger = fixture.ids.member();
    assert_eq!(requests(&fixture, stranger).await, []);
    while let Some((id, fence)) = asked.pop() {
        fixture.holder(id, fence, Event::Stopped).await;
        assert_eq!(requests(&fixture, fixture.worker).await, asked);
    }
}

/// The holder is notified with its next renewal that it must stop, until it
/// has.
pub async fn a_request_to_stop_comes_with_the_renewal(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let until = fixture.store.now().saturating_add(LEASE);
    for event in [Event::Pause, Event::Postpone(until), Event::Cancel] {
        let id = fixture.create(independent()).await.id;
        let fence = fixture.claim(id).await;
        let before = lock_of(&fixture, id).await;
        fixture.client(id, event).await;
        assert_eq!(
            lock_of(&fixture, id).await,
            before,
            "it does not count as a beat"
        );
        for _ in 0..2 {
            let renewed = fixture
                .store
                .renew(&[(id, fixture.holding(fence))])
                .await
                .expect("renew");
            let asked = Renewal::Held {
                asked_to_stop: true,
            };
            assert_eq!(renewed, [asked]);
        }
        fixture.holder(id, fence, Event::Stopped).await;
        assert_eq!(lock_of(&fixture, id).await, None);
        if fixture.read(id).await.header.status == Status::Waiting {
            // The request was met; the next holding knows nothing of it.
            fixture.client(id, Event::Resume).await;
            let fence = fixture.claim(id).await;
            let renewed = fixture
                .store
                .renew(&[(id, fixture.holding(fence))])
                .await
                .expect("renew");
            let held = Renewal::Held {
                asked_to_stop: false,
            };
            assert_eq!(renewed, [held]);
        }
    }
}

/// A take-over is judged by fence and beat alone: a watcher that saw them move,
/// or was too slow to see that they did, takes nothing.
pub async fn a_lock_that_moves_is_not_taken_over(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    let fence = fixture.claim(id).await;
    let seen = lock_of(&fixture, id).await.expect("locked");
    fixture
        .store
        .renew(&[(id, fixture.holding(fence))])
        .await
        .expect("renew");
    let late = fixture.event(id, Event::LeaseExpired, watched(&seen)).await;
    assert!(matches!(late, Applied::Fenced), "{late:?}");
    assert_eq!(fixture.read(id).await.header.status, Status::InProgress);

    let seen = lock_of(&fixture, id).await.expect("locked");
    let taken = fixture.event(id, Event::LeaseExpired, watched(&seen)).await;
    let Applied::Done(header, done) = taken else {
        panic!("it stood still: {taken:?}");
    };
    assert_eq!(header.status, Status::WaitingForResources);
    assert_eq!(header.lost, 1);
    assert_eq!(fixture.entry(id).await, done.offer);
    assert!(done.offer.is_some());
    assert_eq!(lock_of(&fixture, id).await, None);
}

/// Two managers watch one lock: one of them takes it over, once.
pub async fn of_two_watchers_one_takes_over(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let id = fixture.create(independent()).await.id;
    fixture.claim(id).await;
    let seen = lock_of(&fixture, id).await.expect("locked");
    let (one, two) = tokio::join!(
        fixture.event(id, Event::LeaseExpired, watched(&seen)),
        other.event(id, Event::LeaseExpired, watched(&seen)),
    );
    let made = [one, two];
    let made = made.iter().filter(|one| matches!(one, Applied::Done(..)));
    assert_eq!(made.count(), 1);
    assert_eq!(fixture.read(id).await.header.lost, 1);
}

/// A holder that lost its lock writes nothing more.
pub async fn a_stale_fence_writes_nothing(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await.id;
    let second = fixture.create(of_token("a")).await.id;
    let stale = fixture.claim(first).await;
    let seen = lock_of(&fixture, first).await.expect("locked");
    fixture
        .event(first, Event::LeaseExpired, watched(&seen))
        .await;

    // The lock has no holder now …
    for event in [Event::Succeed, Event::Release, Event::Fail(fault())] {
        let late = fixture
            .event(first, event, Guard::Holder(fixture.holding(stale)))
            .await;
        assert!(matches!(late, Applied::Refused(_)), "{late:?}");
    }
    // … and now another worker holds it.
    let fence = fixture.claim(first).await;
    assert!(fence > stale);
    let header = fixture.read(first).await.header;
    for event in [Event::Succeed, Event::Release, Event::Fail(fault())] {
        let write = commit(
            &fixture,
            first,
            &header,
            event,
            Guard::Holder(fixture.holding(stale)),
        );
        let late = commit_one(&fixture, write).await;
        assert!(matches!(late, Committed::Fenced), "{late:?}");
    }
    let write = commit(
        &fixture,
        first,
        &header,
        Event::LeaseExpired,
        watched(&seen),
    );
    assert!(matches!(
        commit_one(&fixture, write).await,
        Committed::Fenced
    ));
    assert_eq!(fixture.read(first).await.header, header);
    let renewed = fixture
        .store
        .renew(&[(first, fixture.holding(stale))])
        .await
        .expect("renew");
    assert_eq!(renewed, [Renewal::Lost]);
    let next = fixture.holder(first, fence, Event::Succeed).await.promoted;
    assert_eq!(next.map(|head| head.operation.id), Some(second));
}

/// A fence that was given out twice is that of its owner alone: a store that has lost
/// its last writes, and whose clock was set back, may do so.
pub async fn the_fence_of_another_owner_is_stale(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let id = fixture.create(of_token("a")).await.id;
    let fence = fixture.claim(id).await;
    let (mine, twin) = (fixture.holding(fence), other.holding(fence));
    assert_ne!(mine, twin);
    let seen = lock_of(&fixture, id).await.expect("locked");
    assert_eq!(seen.holding(), mine);
    let header = fixture.read(id).await.header;
    let beat = seen.beat;
    for (event, guard) in [
        (Event::Succeed, Guard::Holder(twin)),
        (Event::Release, Guard::Holder(twin)),
        (
            Event::LeaseExpired,
            Guard::Unchanged {
                holding: twin,
                beat,
            },
        ),
    ] {
        let write = commit(&other, id, &header, event, guard);
        let answer = commit_one(&other, write).await;
        assert!(matches!(answer, Committed::Fenced), "{answer:?}");
    }
    let renewed = other.store.renew(&[(id, twin), (id, mine)]).await;
    let held = Renewal::Held {
        asked_to_stop: false,
    };
    assert_eq!(renewed.expect("renew"), [Renewal::Lost, held]);
    let report = Report::default();
    let written = other
        .store
        .report(id, twin, &report, ReportParts::All)
        .await;
    assert!(!written.expect("report"), "another member holds it");
    assert_eq!(fixture.read(id).await.header, header);
    fixture.holder(id, fence, Event::Succeed).await;
}

/// The fence is looked at before the chain and after the version.
pub async fn an_old_version_is_told_before_a_stale_fence(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    let stale = fixture.claim(id).await;
    let held = fixture.read(id).await.header;
    let write = commit(
        &fixture,
        id,
        &held,
        Event::Succeed,
        Guard::Holder(fixture.holding(stale)),
    );
    let seen = lock_of(&fixture, id).await.expect("locked");
    fixture.event(id, Event::LeaseExpired, watched(&seen)).await;
    let answer = commit_one(&fixture, write).await;
    assert!(matches!(answer, Committed::Conflict(_)), "{answer:?}");
}

/// Reports are the holder's to write, while it holds the lock.
pub async fn a_report_is_the_holders_to_write(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(independent()).await.id;
    let report = |percent| Report {
        progress: Some(Progress {
            percent,
            text: "so far".to_owned(),
        }),
        checkpoint: Some("{}".to_owned()),
        ..Report::default()
    };
    let write = async |id, fence, percent| {
        let written = fixture
            .store
            .report(
                id,
                fixture.holding(fence),
                &report(percent),
                ReportParts::All,
            )
            .await;
        written.expect("report")
    };
    assert!(!write(id, Fence(1), 1).await, "nobody holds it");
    let stale = fixture.claim(id).await;
    let header = fixture.read(id).await.header;
    assert!(write(id, stale, 10).await);
    assert!(write(id, stale, 20).await);
    let found = fixture.read(id).await;
    assert_eq!(found.report, report(20));
    assert_eq!(found.header, header, "a report is no new version");

    let seen = lock_of(&fixture, id).await.expect("locked");
    fixture.event(id, Event::LeaseExpired, watched(&seen)).await;
    assert!(!write(id, stale, 30).await, "it was taken over");
    let fence = fixture.claim(id).await;
    assert!(!write(id, stale, 30).await, "somebody else holds it");
    assert_eq!(fixture.read(id).await.report, report(20));
    assert!(write(id, fence, 40).await);
    assert!(!write(fixture.prepare(independent()).id, fence, 1).await);
}

/// A lost worker's operation that may not start twice fails, and frees its chain.
pub async fn a_lost_at_most_once_operation_fails_and_frees_its_chain(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut draft = of_token("a");
    draft.at_most_once = true;
    let first = fixture.create(draft).await.id;
    let second = fixture.create(of_token("a")).await.id;
    fixture.claim(first).await;
    let seen = lock_of(&fixture, first).await.expect("locked");
    let taken = fixture
        .event(first, Event::LeaseExpired, watched(&seen))
        .await;
    let Applied::Done(header, done) = taken else {
        panic!("it stood still: {taken:?}");
    };
    assert_eq!(header.status, Status::Failed);
    let next = done.promoted.map(|head| head.operation.id);
    assert_eq!(next, Some(second));
    assert!(fixture.read(first).await.report.fault.is_some());
}

/// The lock of an operation, as a watcher sees it.
pub(crate) async fn lock_of(fixture: &Fixture, id: OperationId) -> Option<Lock> {
    let locks = fixture.store.locks(id.partition()).await.expect("locks");
    let found = locks.into_iter().find(|lock| lock.id == id);
    let alone = fixture.store.lock(id).await.expect("the lock");
    assert_eq!(alone, found, "one lock and all locks agree");
    found
}

/// The guard of a watcher that has seen this lock stand still.
pub(crate) const fn watched(lock: &Lock) -> Guard {
    Guard::Unchanged {
        holding: lock.holding(),
        beat: lock.beat,
    }
}

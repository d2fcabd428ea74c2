//! Due times, judged by the store's clock.

use std::time::Duration;

use drumline_backend::apply_event::Applied;
use drumline_backend::store::{Filter, Guard};
use drumline_protocol::{ErrorCode, Event, OperationId, Partition, State};

use crate::StoreHarness;
use crate::fixtures::{Draft, Fixture, fault, independent, of_token};
use crate::wait::eventually;

/// A span that is far enough to be seen before, and near enough to be waited
/// for.
const SHORT: Duration = Duration::from_millis(300);
/// A span that is later than any case looks.
const HOUR: Duration = Duration::from_secs(3_600);

/// A postponed operation is due when its time has come, not earlier, and is
/// then offered.
pub async fn an_operation_is_due_when_its_time_has_come(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let later = fixture.create(postponed(independent(), HOUR)).await;
    let fresh = fixture.create(postponed(independent(), SHORT)).await;
    let until = fresh.header.postpone_until.expect("postponed");
    let id = eventually("it is due", async || {
        let due = due(&fixture, Partition::new(0)).await.pop();
        // The store's clock is the judge; ours is an estimate of it.
        let slack = Duration::from_millis(100);
        let now = fixture.store.now().saturating_add(slack);
        assert!(
            due.is_none() || now >= until,
            "{now} is too early for {until}"
        );
        due
    })
    .await;
    assert_eq!(id, fresh.id);
    // It stays listed until a caller has woken it.
    assert_eq!(due(&fixture, Partition::new(0)).await, [fresh.id]);
    let done = wake(&fixture, fresh.id).await;
    assert_eq!(fixture.entry(fresh.id).await, done);
    assert!(done.is_some());
    assert!(due(&fixture, Partition::new(0)).await.is_empty());
    assert_eq!(
        fixture.read(later.id).await.header.status.state(),
        State::Suspended
    );
}

/// Several operations are due: the earliest comes first, and no more than asked
/// for.
pub async fn the_earliest_comes_first(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut times = Vec::new();
    for ms in [250, 50, 150] {
        let span = Duration::from_millis(ms);
        let fresh = fixture.create(postponed(independent(), span)).await;
        times.push((fresh.header.postpone_until, fresh.id));
    }
    // A busy machine may have taken longer to create them than they differ.
    times.sort_unstable();
    let [(_, first), (_, second), (_, third)] = times.as_slice() else {
        panic!("three were created");
    };
    eventually("all are due", async || {
        let all = due(&fixture, Partition::new(0)).await;
        (all.len() == 3).then(|| assert_eq!(all, [*first, *second, *third]))
    })
    .await;
    let two = fixture.store.due(Partition::new(0), 2).await.expect("due");
    assert_eq!(two, [*first, *second]);
    let elsewhere = due(&fixture, Partition::new(1)).await;
    assert!(elsewhere.is_empty(), "each partition has its own");
}

/// A retry comes back by itself, behind no operation of its chain.
pub async fn a_retry_comes_due(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(of_token("a")).await;
    fixture.create(of_token("a")).await;
    let fence = fixture.claim(fresh.id).await;
    let retry = Event::Retry {
        fault: fault(),
        after: Some(Duration::from_millis(50)),
        jitter: fixture.ids.jitter(),
    };
    fixture.holder(fresh.id, fence, retry).await;
    let partition = fresh.id.partition();
    let id = eventually("it is due", async || due(&fixture, partition).await.pop()).await;
    assert_eq!(id, fresh.id);
    assert!(wake(&fixture, fresh.id).await.is_some());
    assert_eq!(fixture.read(fresh.id).await.header.retry_count, 1);
    fixture.run(fresh.id).await;
}

/// An operation is postponed again: the new time counts.
pub async fn a_time_can_be_moved(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let earlier = fixture.create(postponed(independent(), HOUR)).await;
    let now = fixture.store.now();
    fixture.client(earlier.id, Event::Postpone(now)).await;
    let later = fixture.create(postponed(independent(), SHORT)).await;
    let until = now.saturating_add(HOUR);
    fixture.client(later.id, Event::Postpone(until)).await;
    let partition = Partition::new(0);
    let id = eventually("it is due", async || due(&fixture, partition).await.pop()).await;
    assert_eq!(id, earlier.id);
    // A manager that read the list before the time was moved wakes no
    // operation.
    let early = fixture.event(later.id, Event::Due, Guard::None).await;
    assert!(matches!(early, Applied::Refused(_)), "{early:?}");
}

/// A resumed, cancelled or paused operation does not come due any more.
pub async fn a_time_can_be_cleared(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let span = Duration::from_millis(100);
    for event in [Event::Resume, Event::Cancel] {
        let fresh = fixture.create(postponed(independent(), span)).await;
        fixture.client(fresh.id, event).await;
    }
    let last = fixture.create(postponed(independent(), 2 * span)).await;
    let partition = Partition::new(0);
    let id = eventually("the last is due", async || {
        // The earlier ones would have come before it.
        due(&fixture, partition).await.first().copied()
    })
    .await;
    assert_eq!(id, last.id);
}

/// Two managers see the same operation due: it wakes once.
pub async fn of_two_managers_one_wakes_it(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let draft = postponed(independent(), Duration::from_millis(50));
    let fresh = fixture.create(draft).await;
    let partition = fresh.id.partition();
    eventually("it is due", async || due(&fixture, partition).await.pop()).await;
    let (one, two) = tokio::join!(
        fixture.event(fresh.id, Event::Due, Guard::None),
        other.event(fresh.id, Event::Due, Guard::None),
    );
    let made = [one, two];
    let made = made.iter().filter(|one| matches!(one, Applied::Done(..)));
    assert_eq!(made.count(), 1);
    assert_eq!(fixture.read(fresh.id).await.header.version, 2);
}

/// An operation whose handler is throttled waits without a time, and goes on when it
/// is resumed; the reason is reported.
pub async fn a_throttled_operation_is_put_off(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(of_token("a")).await;
    let (header, _) = fixture.client(fresh.id, Event::Throttle).await;
    assert_eq!((header.starts, header.retry_count), (0, 0));
    assert_eq!(fixture.entry(fresh.id).await, None);
    let report = fixture.read(fresh.id).await.report;
    let code = report.fault.map(|fault| fault.code);
    assert_eq!(code, Some(ErrorCode::THROTTLED));
    let untimed = Filter {
        waits_without_time: Some(true),
        ..Filter::default()
    };
    let ids = async || {
        let page = fixture
            .store
            .list(&untimed, None, 1_000)
            .await
            .expect("list");
        page.operations.iter().map(|one| one.id).collect::<Vec<_>>()
    };
    assert!(ids().await.contains(&fresh.id));
    fixture.client(fresh.id, Event::Resume).await;
    assert!(!ids().await.contains(&fresh.id));
    fixture.run(fresh.id).await;
}

fn postponed(draft: Draft, by: Duration) -> Draft {
    Draft {
        postponed_by: Some(by),
        ..draft
    }
}

async fn due(fixture: &Fixture, partition: Partition) -> Vec<OperationId> {
    fixture.store.due(partition, 100).await.expect("due")
}

/// Wakes the due operation. Our estimate of the store's time may be a moment
/// behind the store, and then the transition refuses: a moment later it does
/// not.
async fn wake(fixture: &Fixture, id: OperationId) -> Option<drumline_backend::store::Stamp> {
    eventually("it wakes", async || {
        match fixture.event(id, Event::Due, Guard::None).await {
            Applied::Done(_, done) => Some(done.offer),
            Applied::Refused(_) => None,
            other @ (Applied::NotHead | Applied::Held | Applied::Fenced | Applied::Missing) => {
                panic!("expected it to wake: {other:?}")
            }
        }
    })
    .await
}

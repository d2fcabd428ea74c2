//! Notices: the ends of operations that a receiver outside is notified of,
//! until it was.

use std::time::Duration;

use drumline_backend::store::Notice;
use drumline_protocol::{Event, OperationId, Partition};

use crate::StoreHarness;
use crate::fixtures::{Draft, Fixture, independent, of_token};
use crate::wait::eventually;

/// A span that is later than any case looks.
const HOUR: Duration = Duration::from_secs(3_600);

/// A notice is noted in the step that ends its operation, and for nothing else.
pub async fn an_end_is_noted_where_somebody_is_to_be_told(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let told = fixture.create(webhook(independent())).await;
    let untold = fixture.create(independent()).await;
    fixture.client(told.id, Event::Pause).await;
    fixture.client(told.id, Event::Resume).await;
    assert!(notices(&fixture, told.id.partition()).await.is_empty());
    fixture.run(untold.id).await;
    fixture.run(told.id).await;
    let first_try = Notice {
        id: told.id,
        attempt: 0,
    };
    assert_eq!(notices(&fixture, told.id.partition()).await, [first_try]);
    // The notice stays until it is done.
    assert_eq!(notices(&fixture, told.id.partition()).await, [first_try]);
    let cancelled = fixture.create(webhook(of_token("a"))).await;
    fixture.client(cancelled.id, Event::Cancel).await;
    let partition = cancelled.id.partition();
    let found = notices(&fixture, partition).await;
    assert!(found.iter().any(|notice| notice.id == cancelled.id));
}

/// A notice that is delayed comes back after the delay with the number of its
/// tries.
pub async fn a_notice_is_put_off_and_counted(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let partition = Partition::new(0);
    let id = owed(&fixture).await;
    for attempt in 1..4 {
        later(&fixture, id, Duration::from_millis(20)).await;
        let found = eventually("it is due again", async || {
            notices(&fixture, partition).await.pop()
        })
        .await;
        assert_eq!(found, Notice { id, attempt });
    }
    later(&fixture, id, HOUR).await;
    assert!(notices(&fixture, partition).await.is_empty());
    // Even a notice that is delayed as long as possible is not lost, or early.
    let other = owed(&fixture).await;
    later(&fixture, other, Duration::MAX).await;
    assert!(notices(&fixture, partition).await.is_empty());
}

/// A notice that is delayed without a try comes back after the delay and counts
/// as before.
pub async fn a_notice_that_was_not_tried_is_put_off_uncounted(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let partition = Partition::new(0);
    let id = owed(&fixture).await;
    for attempt in 0..3 {
        untried(&fixture, id, HOUR).await;
        assert!(notices(&fixture, partition).await.is_empty());
        untried(&fixture, id, Duration::from_millis(20)).await;
        let found = eventually("it is due again", async || {
            notices(&fixture, partition).await.pop()
        })
        .await;
        assert_eq!(found, Notice { id, attempt });
        later(&fixture, id, Duration::ZERO).await;
    }
    // A notice that was delayed makes room for the others.
    let other = owed(&fixture).await;
    tick(&fixture).await;
    untried(&fixture, id, Duration::ZERO).await;
    let first = fixture.store.notices(partition, 1).await.expect("notices");
    assert_eq!(first.first().map(|notice| notice.id), Some(other));
    // A notice that is owed no more stays so.
    fixture.store.notice_done(id).await.expect("notice done");
    untried(&fixture, id, Duration::ZERO).await;
    let left = notices(&fixture, partition).await;
    assert!(left.iter().all(|notice| notice.id != id), "{left:?}");
}

/// A notice that is done does not come back, not even if it is delayed
/// afterwards.
pub async fn a_notice_is_done_once(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = owed(&fixture).await;
    for _ in 0..2 {
        fixture.store.notice_done(id).await.expect("notice done");
        assert!(notices(&fixture, id.partition()).await.is_empty());
        later(&fixture, id, Duration::ZERO).await;
        assert!(notices(&fixture, id.partition()).await.is_empty());
    }
}

/// A notice is owed from the end of its operation until it is done, also while it is
/// delayed; one answer covers operations of all partitions.
pub async fn a_notice_is_owed_until_it_is_done(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let (first, second) = (owed(&fixture).await, owed(&fixture).await);
    let running = fixture.create(webhook(of_token("a"))).await.id;
    let unasked = fixture.create(of_token("b")).await.id;
    fixture.client(unasked, Event::Cancel).await;
    let ids = [first, running, second, unasked];
    let are_owed = async || {
        fixture
            .store
            .notices_owed(&ids)
            .await
            .expect("notices owed")
    };
    assert_eq!(are_owed().await, [true, false, true, false]);
    later(&fixture, first, HOUR).await;
    fixture
        .store
        .notice_done(second)
        .await
        .expect("notice done");
    assert_eq!(are_owed().await, [true, false, false, false]);
    fixture.client(running, Event::Cancel).await;
    assert_eq!(are_owed().await, [true, true, false, false]);
    fixture.client(first, Event::Delete).await;
    assert_eq!(are_owed().await, [false, true, false, false]);
    let none = fixture.store.notices_owed(&[]).await;
    assert_eq!(none.expect("notices owed"), [] as [bool; 0]);
}

/// Notices that were never tried come first, then by their time; as many as
/// asked for.
pub async fn the_earliest_notice_comes_first(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let (one, two, three) = (
        owed(&fixture).await,
        owed(&fixture).await,
        owed(&fixture).await,
    );
    // Each a little later than the one before, by the store's clock.
    for id in [two, one] {
        tick(&fixture).await;
        later(&fixture, id, Duration::ZERO).await;
    }
    let partition = one.partition();
    let all = eventually("all are due", async || {
        let all = notices(&fixture, partition).await;
        (all.len() == 3).then_some(all)
    })
    .await;
    let order: Vec<OperationId> = all.iter().map(|notice| notice.id).collect();
    assert_eq!(order, [three, two, one]);
    let first = fixture.store.notices(partition, 1).await.expect("notices");
    assert_eq!(first, all[..1]);
    assert!(notices(&fixture, Partition::new(1)).await.is_empty());
}

/// A notice is removed with its operation: there is nothing left to report.
pub async fn a_notice_goes_with_its_operation(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = owed(&fixture).await;
    fixture.client(id, Event::Delete).await;
    assert!(notices(&fixture, id.partition()).await.is_empty());
}

fn webhook(draft: Draft) -> Draft {
    Draft {
        webhook: true,
        ..draft
    }
}

/// An operation of partition 0 that has ended and whose notice is owed.
async fn owed(fixture: &Fixture) -> OperationId {
    let fresh = fixture.create(webhook(independent())).await;
    fixture.client(fresh.id, Event::Cancel).await;
    fresh.id
}

async fn notices(fixture: &Fixture, partition: Partition) -> Vec<Notice> {
    let found = fixture.store.notices(partition, 100).await;
    found.expect("notices")
}

async fn later(fixture: &Fixture, id: OperationId, delay: Duration) {
    let put_off = fixture.store.notice_later(id, delay).await;
    put_off.expect("notice later");
}

async fn untried(fixture: &Fixture, id: OperationId, delay: Duration) {
    let put_off = fixture.store.notice_put_off(id, delay).await;
    put_off.expect("the notice is delayed");
}

/// Waits until the store's clock shows another millisecond.
async fn tick(fixture: &Fixture) {
    let before = fixture.store.now();
    eventually("the clock goes on", async || {
        (fixture.store.now().since(before) > Duration::from_millis(2)).then_some(())
    })
    .await;
}

//! Due times, judged by the store's clock.

use std::time::Duration;

use drumline_backend::apply_event::Applied;
use drumline_backend::store::Guard;
use drumline_protocol::{ErrorCode, Event, OperationId, Partition, State};

use crate::StoreHarness;
use crate::scene::{Draft, Scene, fault, independent, of_token};
use crate::wait::eventually;

/// A span that is far enough to be seen before, and near enough to be waited
/// for.
const SHORT: Duration = Duration::from_millis(300);
/// A span that is later than any case looks.
const HOUR: Duration = Duration::from_secs(3_600);

/// A postponed operation is due when its time has come, not earlier, and is
/// then offered.
pub async fn an_operation_is_due_when_its_time_has_come(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let later = scene.create(postponed(independent(), HOUR)).await;
    let fresh = scene.create(postponed(independent(), SHORT)).await;
    let until = fresh.header.postpone_until.expect("postponed");
    let id = eventually("it is due", async || {
        let due = due(&scene, Partition::new(0)).await.pop();
        // The store's clock is the judge; ours is an estimate of it.
        let slack = Duration::from_millis(100);
        let now = scene.store.now().saturating_add(slack);
        assert!(
            due.is_none() || now >= until,
            "{now} is too early for {until}"
        );
        due
    })
    .await;
    assert_eq!(id, fresh.id);
    // It stays listed until a caller has woken it.
    assert_eq!(due(&scene, Partition::new(0)).await, [fresh.id]);
    let done = wake(&scene, fresh.id).await;
    assert_eq!(scene.entry(fresh.id).await, done);
    assert!(done.is_some());
    assert!(due(&scene, Partition::new(0)).await.is_empty());
    assert_eq!(
        scene.read(later.id).await.header.status.state(),
        State::Suspended
    );
}

/// Several operations are due: the earliest comes first, and no more than asked
/// for.
pub async fn the_earliest_comes_first(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let mut times = Vec::new();
    for ms in [250, 50, 150] {
        let span = Duration::from_millis(ms);
        let fresh = scene.create(postponed(independent(), span)).await;
        times.push((fresh.header.postpone_until, fresh.id));
    }
    // A busy machine may have taken longer to create them than they differ.
    times.sort_unstable();
    let [(_, first), (_, second), (_, third)] = times.as_slice() else {
        panic!("three were created");
    };
    eventually("all are due", async || {
        let all = due(&scene, Partition::new(0)).await;
        (all.len() == 3).then(|| assert_eq!(all, [*first, *second, *third]))
    })
    .await;
    let two = scene.store.due(Partition::new(0), 2).await.expect("due");
    assert_eq!(two, [*first, *second]);
    let elsewhere = due(&scene, Partition::new(1)).await;
    assert!(elsewhere.is_empty(), "each partition has its own");
}

/// A retry comes back by itself, behind no operation of its chain.
pub async fn a_retry_comes_due(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let fresh = scene.create(of_token("a")).await;
    scene.create(of_token("a")).await;
    let fence = scene.claim(fresh.id).await;
    let retry = Event::Retry {
        fault: fault(),
        after: Some(Duration::from_millis(50)),
        jitter: scene.ids.jitter(),
    };
    scene.holder(fresh.id, fence, retry).await;
    let partition = fresh.id.partition();
    let id = eventually("it is due", async || due(&scene, partition).await.pop()).await;
    assert_eq!(id, fresh.id);
    assert!(wake(&scene, fresh.id).await.is_some());
    assert_eq!(scene.read(fresh.id).await.header.retry_count, 1);
    scene.run(fresh.id).await;
}

/// An operation is postponed again: the new time counts.
pub async fn a_time_can_be_moved(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let earlier = scene.create(postponed(independent(), HOUR)).await;
    let now = scene.store.now();
    scene.client(earlier.id, Event::Postpone(now)).await;
    let later = scene.create(postponed(independent(), SHORT)).await;
    let until = now.saturating_add(HOUR);
    scene.client(later.id, Event::Postpone(until)).await;
    let partition = Partition::new(0);
    let id = eventually("it is due", async || due(&scene, partition).await.pop()).await;
    assert_eq!(id, earlier.id);
    // A manager that read the list before the time was moved wakes no
    // operation.
    let early = scene.event(later.id, Event::Due, Guard::None).await;
    assert!(matches!(early, Applied::Refused(_)), "{early:?}");
}

/// A resumed, cancelled or paused operation does not come due any more.
pub async fn a_time_can_be_cleared(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let span = Duration::from_millis(100);
    for event in [Event::Resume, Event::Cancel] {
        let fresh = scene.create(postponed(independent(), span)).await;
        scene.client(fresh.id, event).await;
    }
    let last = scene.create(postponed(independent(), 2 * span)).await;
    let partition = Partition::new(0);
    let id = eventually("the last is due", async || {
        // The earlier ones would have come before it.
        due(&scene, partition).await.first().copied()
    })
    .await;
    assert_eq!(id, last.id);
}

/// Two managers see the same operation due: it wakes once.
pub async fn of_two_managers_one_wakes_it(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let other = scene.another(harness).await;
    let draft = postponed(independent(), Duration::from_millis(50));
    let fresh = scene.create(draft).await;
    let partition = fresh.id.partition();
    eventually("it is due", async || due(&scene, partition).await.pop()).await;
    let (one, two) = tokio::join!(
        scene.event(fresh.id, Event::Due, Guard::None),
        other.event(fresh.id, Event::Due, Guard::None),
    );
    let made = [one, two];
    let made = made.iter().filter(|one| matches!(one, Applied::Done(..)));
    assert_eq!(made.count(), 1);
    assert_eq!(scene.read(fresh.id).await.header.version, 2);
}

/// An operation that its throttled handler puts off comes back by itself; the
/// reason is reported.
pub async fn a_throttled_operation_is_put_off(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let fresh = scene.create(of_token("a")).await;
    let until = scene.store.now().saturating_add(SHORT);
    let (header, _) = scene.client(fresh.id, Event::Throttle { until }).await;
    assert_eq!((header.starts, header.retry_count), (0, 0));
    assert_eq!(scene.entry(fresh.id).await, None);
    let report = scene.read(fresh.id).await.report;
    let code = report.fault.map(|fault| fault.code);
    assert_eq!(code, Some(ErrorCode::THROTTLED));
    let partition = fresh.id.partition();
    eventually("it is due", async || due(&scene, partition).await.pop()).await;
    assert!(wake(&scene, fresh.id).await.is_some());
    scene.run(fresh.id).await;
}

fn postponed(draft: Draft, by: Duration) -> Draft {
    Draft {
        postponed_by: Some(by),
        ..draft
    }
}

async fn due(scene: &Scene, partition: Partition) -> Vec<OperationId> {
    scene.store.due(partition, 100).await.expect("due")
}

/// Wakes the due operation. Our estimate of the store's time may be a moment
/// behind the store, and then the transition refuses: a moment later it does
/// not.
async fn wake(scene: &Scene, id: OperationId) -> Option<drumline_backend::store::Stamp> {
    eventually("it wakes", async || {
        match scene.event(id, Event::Due, Guard::None).await {
            Applied::Done(_, done) => Some(done.offer),
            Applied::Refused(_) => None,
            other @ (Applied::NotHead | Applied::Fenced | Applied::Missing) => {
                panic!("expected it to wake: {other:?}")
            }
        }
    })
    .await
}

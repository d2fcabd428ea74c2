//! Work of many partitions: one question tells which have any.

use std::time::Duration;

use drumline_backend::store::{Stamp, Transacted, Work, WorkFound};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{Event, Partition};

use super::pauses::usual;
use crate::StoreHarness;
use crate::fixtures::{Draft, Fixture, independent};
use crate::wait::eventually;

/// All ends of a class of which `independent()` is one.
const ENDED: Work = Work::Ended(EndClass::Succeeded, Stamp(u64::MAX));

fn in_partition(partition: Partition) -> Draft {
    Draft {
        partition,
        ..independent()
    }
}

impl Fixture {
    async fn changes(&self) -> u64 {
        self.store.changes().await.expect("changes")
    }

    async fn with_work(&self, work: Work) -> Vec<Partition> {
        let all: Vec<Partition> = self.store.partitions().all().collect();
        let found = self.store.with_work(work, &all).await;
        found.expect("with_work").partitions
    }
}

/// An operation goes its way, and the work that it makes is told of its partition
/// alone.
pub async fn the_partitions_with_work_are_told(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let partition = Partition::new(3);
    let of_operations = [Work::Outbox, Work::Offered, Work::Locks, Work::Notices];
    for work in of_operations.into_iter().chain([Work::Due, ENDED]) {
        assert_eq!(fixture.with_work(work).await, [], "{work:?}");
    }
    let draft = Draft {
        webhook: true,
        ..in_partition(partition)
    };
    let fresh = fixture.create(draft).await;
    assert_eq!(fixture.with_work(Work::Outbox).await, [partition]);
    assert_eq!(fixture.with_work(Work::Offered).await, []);
    fixture
        .confirm(fresh.id, fresh.offer.expect("offered"))
        .await;
    assert_eq!(fixture.with_work(Work::Outbox).await, []);
    assert_eq!(fixture.with_work(Work::Offered).await, [partition]);
    assert_eq!(fixture.with_work(Work::Locks).await, []);
    let fence = fixture.claim(fresh.id).await;
    assert_eq!(fixture.with_work(Work::Locks).await, [partition]);
    assert_eq!(fixture.with_work(ENDED).await, []);
    let before = fixture.store.stamp(partition).await.expect("a stamp");
    fixture.holder(fresh.id, fence, Event::Succeed).await;
    for work in [Work::Outbox, Work::Offered, Work::Locks, Work::Due] {
        assert_eq!(fixture.with_work(work).await, [], "{work:?}");
    }
    assert_eq!(fixture.with_work(Work::Notices).await, [partition]);
    assert_eq!(fixture.with_work(ENDED).await, [partition]);
    let earlier = Work::Ended(EndClass::Succeeded, before);
    assert_eq!(fixture.with_work(earlier).await, [], "it ended later");
    let others = Work::Ended(EndClass::Unsuccessful, Stamp(u64::MAX));
    assert_eq!(fixture.with_work(others).await, []);
}

/// More members than a set keeps in one piece, and a time that has not come.
pub async fn work_of_any_size_is_told(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let partition = Partition::new(2);
    let drafts = (0..64).map(|_| fixture.prepare(in_partition(partition)));
    fixture.store_all(drafts.collect()).await;
    assert_eq!(fixture.with_work(Work::Outbox).await, [partition]);
    let later = |by| Draft {
        postponed_by: Some(by),
        ..in_partition(partition)
    };
    fixture.create(later(Duration::from_secs(3_600))).await;
    assert_eq!(fixture.with_work(Work::Due).await, []);
    let all: Vec<Partition> = fixture.store.partitions().all().collect();
    let found = fixture.store.with_work(Work::Due, &all).await;
    let next = found
        .expect("with_work")
        .next
        .expect("one waits for a time");
    assert!(next <= Duration::from_secs(3_600), "{next:?}");
    assert!(next > Duration::from_secs(3_500), "{next:?}");
    fixture.create(later(Duration::from_millis(50))).await;
    eventually("it is due", async || {
        let due = fixture.with_work(Work::Due).await;
        (due == [partition]).then_some(())
    })
    .await;
    // Partitions are asked about, no more.
    let others = [Partition::new(0), Partition::new(1)];
    let other = fixture.store.with_work(Work::Outbox, &others);
    assert_eq!(other.await.expect("with_work"), WorkFound::default());
    let none = fixture.store.with_work(Work::Outbox, &[]);
    assert_eq!(none.await.expect("with_work"), WorkFound::default());
}

/// A number tells that a call of any process may have given work; calls that read, and
/// those that take work away, leave it.
pub async fn what_may_give_work_is_counted(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let mut last = other.changes().await;
    let mut has_changed = async |what: &str, is_expected: bool| {
        let now = other.changes().await;
        assert_eq!(now != last, is_expected, "{what}: {last}, {now}");
        last = now;
    };
    has_changed("nothing", false).await;
    let fresh = fixture.create(independent()).await;
    has_changed("create", true).await;
    let stamp = fresh.offer.expect("offered");
    fixture.confirm(fresh.id, stamp).await;
    fixture.read(fresh.id).await;
    fixture.with_work(Work::Offered).await;
    has_changed("what was found is done, and looks", false).await;
    let again = fixture.store.reoffer(fresh.id, stamp, Duration::ZERO).await;
    again.expect("reoffer").expect("offered again");
    has_changed("reoffer", true).await;
    let fence = fixture.claim(fresh.id).await;
    has_changed("claim", true).await;
    fixture.holder(fresh.id, fence, Event::Succeed).await;
    has_changed("end", true).await;

    let created = fixture.prepare(independent());
    let answer = fixture.store.transact(vec![created], Vec::new()).await;
    assert!(matches!(answer, Ok(Transacted::Done { .. })), "{answer:?}");
    has_changed("transact", true).await;
    let key = fixture.pause(&usual(), None).await;
    has_changed("set_pause", true).await;
    fixture.create(independent()).await;
    has_changed("create of one that is held", true).await;
    fixture.lift(key).await;
    has_changed("lift_pause", true).await;
    let released = fixture.release(Partition::default(), 10).await;
    assert_eq!(released.count, 1);
    has_changed("release_held", true).await;
}

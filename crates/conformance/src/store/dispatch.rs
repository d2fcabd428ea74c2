//! The outbox: operations that ought to be in the broker, that are known
//! to be there, and that have to be offered again.

use std::time::Duration;

use drumline_backend::store::{LastOffer, OutboxLook, Stamp, Summary};
use drumline_protocol::{Event, Partition};
use tokio::task::JoinSet;

use crate::StoreHarness;
use crate::fixtures::{Fixture, fault, independent, of_token};
use crate::wait::eventually;

/// An hour: later than any case looks.
const HOUR: Duration = Duration::from_secs(3_600);

/// A confirm removes the entry that it published, and can be repeated.
pub async fn a_confirm_removes_the_entry_that_it_published(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let other = fixture.create(independent()).await;
    let stamp = fresh.offer.expect("offered");
    for _ in 0..2 {
        fixture.confirm(fresh.id, stamp).await;
        assert_eq!(fixture.entry(fresh.id).await, None);
        assert_eq!(fixture.entry(other.id).await, other.offer);
    }
}

/// A confirm that comes late leaves the newer entry, which it did not publish.
pub async fn a_late_confirm_leaves_the_newer_entry(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let old = fresh.offer.expect("offered");
    fixture.client(fresh.id, Event::Pause).await;
    let (_, done) = fixture.client(fresh.id, Event::Resume).await;
    let new = done.offer.expect("offered again");
    assert!(new > old);
    fixture.confirm(fresh.id, old).await;
    assert_eq!(fixture.entry(fresh.id).await, Some(new));
    fixture.confirm(fresh.id, new).await;
    assert_eq!(fixture.entry(fresh.id).await, None);
}

/// A promotion gets a stamp of its own, though it changes no version.
pub async fn a_late_confirm_leaves_the_entry_of_a_promotion(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await;
    let second = fixture.create(of_token("a")).await;
    let promoted = fixture.run(first.id).await.promoted.expect("promoted");
    assert!(promoted.stamp > first.offer.expect("offered"));
    fixture
        .confirm(second.id, first.offer.expect("offered"))
        .await;
    assert_eq!(fixture.entry(second.id).await, Some(promoted.stamp));
}

/// Operations that are claimed, paused, postponed or over are not to be
/// published.
pub async fn an_operation_that_leaves_ready_leaves_the_outbox(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let until = fixture.store.now().saturating_add(HOUR);
    for event in [Event::Pause, Event::Postpone(until), Event::Cancel] {
        let fresh = fixture.create(independent()).await;
        fixture.client(fresh.id, event).await;
        assert_eq!(fixture.entry(fresh.id).await, None);
    }
    let fresh = fixture.create(independent()).await;
    fixture.claim(fresh.id).await;
    assert_eq!(fixture.entry(fresh.id).await, None);
}

/// The relay gets the oldest entries first, with their operations.
pub async fn entries_are_given_out_oldest_first(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut created = Vec::new();
    for _ in 0..5 {
        created.push(fixture.create(independent()).await.id);
    }
    let look = OutboxLook::oldest(Duration::ZERO, 3);
    let page = fixture.store.outbox_entries(Partition::new(0), &look).await;
    let entries = page.expect("undispatched").into_entries();
    let ids: Vec<_> = entries.iter().map(|entry| entry.operation.id).collect();
    assert_eq!(Some(ids.as_slice()), created.get(..3));
    let whole = fixture.read(created[0]).await;
    assert_eq!(
        entries.first().map(|entry| &entry.operation),
        Some(&Summary::of(&whole))
    );
    let other = fixture.outbox_entries(Partition::new(1)).await;
    assert!(other.is_empty(), "each partition has its own");
}

/// Behind a stamp come the younger entries: entries that cannot be published
/// must not be the only ones that are ever looked at.
pub async fn entries_are_given_out_from_a_stamp_on(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut created = Vec::new();
    for _ in 0..5 {
        created.push(fixture.create(independent()).await.id);
    }
    let mut found = Vec::new();
    let mut look = OutboxLook::oldest(Duration::ZERO, 2);
    loop {
        let page = fixture.store.outbox_entries(Partition::new(0), &look).await;
        let Some(flow) = page.expect("undispatched").flows.pop() else {
            break;
        };
        look.behind.insert(flow.flow, flow.last);
        found.extend(flow.entries.iter().map(|entry| entry.operation.id));
        assert_eq!(flow.has_more, found.len() < created.len());
    }
    assert_eq!(found, created);
}

/// The store returns the last offer of an operation, and if the broker is known
/// to have it.
pub async fn the_last_offer_is_told(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let stamp = fresh.offer.expect("offered");
    let mut expected = LastOffer {
        stamp,
        is_in_outbox: true,
    };
    let told = async || fixture.store.last_offer(fresh.id).await.expect("told");
    assert_eq!(told().await, Some(expected));
    fixture.confirm(fresh.id, stamp).await;
    expected.is_in_outbox = false;
    assert_eq!(told().await, Some(expected));
    let again = fixture
        .store
        .reoffer(fresh.id, stamp, Duration::ZERO)
        .await
        .expect("reoffer");
    let again = again.expect("nobody was faster");
    expected = LastOffer {
        stamp: again,
        is_in_outbox: true,
    };
    assert_eq!(told().await, Some(expected));
    let nobody = fixture.prepare(independent()).id;
    let unknown = fixture.store.last_offer(nobody).await.expect("told");
    assert_eq!(unknown, None);
}

/// A young entry is its creator's to publish, not the relay's.
pub async fn young_entries_are_not_given_out(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let partition = fresh.id.partition();
    let old = fixture
        .store
        .outbox_entries(partition, &OutboxLook::oldest(HOUR, 10))
        .await;
    assert!(old.expect("undispatched").flows.is_empty());
    let age = Duration::from_millis(100);
    eventually("the entry is old enough", async || {
        let look = OutboxLook::oldest(age, 10);
        let page = fixture.store.outbox_entries(partition, &look).await;
        page.expect("undispatched").flows.pop()
    })
    .await;
}

/// Ready operations that the broker should know: heads and independents whose
/// entry was confirmed.
pub async fn what_ought_to_be_in_the_broker_is_told(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let partition = fixture.partition_of("a");
    let in_partition = || {
        let mut draft = independent();
        draft.partition = partition;
        draft
    };
    let head = fixture.create(of_token("a")).await;
    let parked = fixture.create(of_token("a")).await;
    let known = fixture.create(in_partition()).await;
    let unknown = fixture.create(in_partition()).await;
    let running = fixture.create(in_partition()).await;
    let waiting = fixture.create(in_partition()).await;
    for one in [&head, &known, &running, &waiting] {
        fixture.confirm(one.id, one.offer.expect("offered")).await;
    }
    let fence = fixture.claim(running.id).await;
    fixture.client(waiting.id, Event::Pause).await;
    let mut expected = vec![
        (head.id, head.offer.expect("offered")),
        (known.id, known.offer.expect("offered")),
    ];
    expected.sort_unstable();
    assert_eq!(fixture.offered(partition).await, expected);

    // Given back, the operation is offered again and not yet known.
    let given_back = fixture.holder(running.id, fence, Event::Release).await;
    assert_eq!(fixture.offered(partition).await, expected);
    let stamp = given_back.offer.expect("offered");
    fixture.confirm(running.id, stamp).await;
    assert!(
        fixture
            .offered(partition)
            .await
            .contains(&(running.id, stamp))
    );
    // Promoted and confirmed, the parked operation belongs to the list.
    let promoted = fixture.run(head.id).await.promoted.expect("promoted");
    fixture.confirm(parked.id, promoted.stamp).await;
    let offered = fixture.offered(partition).await;
    assert!(offered.contains(&(parked.id, promoted.stamp)));
    assert!(
        !offered
            .iter()
            .any(|(id, _)| *id == head.id || *id == unknown.id)
    );
}

/// A long list comes in pieces; a caller that follows the cursor sees all of it
/// once.
pub async fn what_ought_to_be_in_the_broker_is_told_in_pieces(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut expected = Vec::new();
    for number in 0..23 {
        let fresh = fixture.create(independent()).await;
        // Every third is not known to the broker yet, so that pieces are short.
        if number % 3 != 0 {
            let stamp = fresh.offer.expect("offered");
            fixture.confirm(fresh.id, stamp).await;
            expected.push((fresh.id, stamp));
        }
    }
    expected.sort_unstable();
    let mut found = Vec::new();
    let mut after = None;
    for _ in 0..23 {
        let piece = fixture.store.offered(Partition::new(0), after, 5).await;
        let (piece, next) = piece.expect("offered");
        found.extend(piece);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(after, None);
    assert_eq!(found, expected);
}

/// Two managers find the same loss: one of them offers it again.
pub async fn a_reoffer_is_a_compare_and_set(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for draft in [independent(), of_token("a")] {
        let fresh = fixture.create(draft).await;
        let seen = fresh.offer.expect("offered");
        fixture.confirm(fresh.id, seen).await;
        let mut tasks = JoinSet::new();
        for _ in 0..6 {
            let manager = fixture.another(harness).await;
            let id = fresh.id;
            tasks.spawn(async move {
                let stamp = manager.store.reoffer(id, seen, Duration::ZERO).await;
                stamp.expect("reoffer")
            });
        }
        let won: Vec<Stamp> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(won.len(), 1);
        let stamp = won[0];
        assert!(stamp > seen);
        assert_eq!(fixture.entry(fresh.id).await, Some(stamp));
        fixture.confirm(fresh.id, stamp).await;
        let offered = fixture.offered(fresh.id.partition()).await;
        assert!(offered.contains(&(fresh.id, stamp)));
    }
}

/// An operation that is not Ready any more, was offered since, or is parked is
/// not offered again.
pub async fn a_reoffer_of_what_has_moved_on_does_nothing(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let reoffer = async |id, seen| {
        let stamp = fixture.store.reoffer(id, seen, Duration::ZERO).await;
        stamp.expect("reoffer")
    };
    let fresh = fixture.create(independent()).await;
    let seen = fresh.offer.expect("offered");
    let fence = fixture.claim(fresh.id).await;
    assert_eq!(reoffer(fresh.id, seen).await, None, "running");
    fixture
        .holder(fresh.id, fence, Event::Suspend(fault()))
        .await;
    assert_eq!(reoffer(fresh.id, seen).await, None, "suspended");
    fixture.client(fresh.id, Event::Resume).await;
    assert_eq!(reoffer(fresh.id, seen).await, None, "offered since");
    assert_eq!(reoffer(fixture.prepare(independent()).id, seen).await, None);

    fixture.create(of_token("a")).await;
    let parked = fixture.create(of_token("a")).await;
    let last = Stamp(0);
    assert_eq!(reoffer(parked.id, last).await, None, "parked");
    assert_eq!(fixture.entry(parked.id).await, None);
}

/// A delayed entry is kept from the relay for its delay, and holds up no other.
pub async fn a_delayed_reoffer_is_kept_from_the_relay(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let reoffer = async |id, seen, delay| {
        let stamp = fixture.store.reoffer(id, seen, delay).await;
        stamp.expect("reoffer").expect("nobody was faster")
    };
    let late = fixture.create(independent()).await;
    reoffer(late.id, late.offer.expect("offered"), HOUR).await;
    assert_eq!(fixture.entry(late.id).await, None);
    let other = fixture.create(independent()).await;
    assert_eq!(fixture.entry(other.id).await, other.offer);

    let soon = fixture.create(independent()).await;
    let delay = Duration::from_millis(150);
    let stamp = reoffer(soon.id, soon.offer.expect("offered"), delay).await;
    let entry = eventually("the delay is over", async || fixture.entry(soon.id).await).await;
    assert_eq!(entry, stamp);
    assert_eq!(fixture.entry(late.id).await, None);
    assert!(
        !fixture
            .offered(late.id.partition())
            .await
            .iter()
            .any(|(id, _)| *id == late.id),
        "it is not in the broker, and is not believed to be"
    );
    // The operation can be claimed all the same.
    fixture.run(late.id).await;
}

/// An offer that is made again before the delay of the last one is over follows it all the
/// same: a late answer to the one must not confirm the other.
pub async fn an_offer_follows_a_delayed_one(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let seen = fresh.offer.expect("offered");
    let delayed = fixture.store.reoffer(fresh.id, seen, HOUR).await;
    let delayed = delayed.expect("reoffer").expect("nobody was faster");
    fixture.client(fresh.id, Event::Pause).await;
    let (_, done) = fixture.client(fresh.id, Event::Resume).await;
    let offer = done.offer.expect("offered");
    assert!(offer > delayed, "{offer:?} after {delayed:?}");
    fixture.confirm(fresh.id, delayed).await;
    let offered = fixture.offered(fresh.id.partition()).await;
    assert_eq!(offered, [], "another offer was confirmed");
    fixture.confirm(fresh.id, offer).await;
    let offered = fixture.offered(fresh.id.partition()).await;
    assert_eq!(offered, [(fresh.id, offer)]);
}

/// The longest delay there is neither fails nor turns into none at all.
pub async fn a_delay_may_be_as_long_as_a_duration(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let seen = fresh.offer.expect("offered");
    let stamp = fixture.store.reoffer(fresh.id, seen, Duration::MAX).await;
    assert!(stamp.expect("reoffer").expect("nobody was faster") > seen);
    assert_eq!(fixture.entry(fresh.id).await, None);
    fixture.run(fresh.id).await;
}

/// Stamps only grow, for every process, and order offers and markers.
pub async fn stamps_only_grow(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let partition = Partition::new(0);
    let before = fixture.create(independent()).await.offer.expect("offered");
    let mut last = before;
    for process in [&fixture, &other].into_iter().cycle().take(20) {
        let stamp = process.store.stamp(partition).await.expect("stamp");
        assert!(stamp > last, "{stamp:?} after {last:?}");
        last = stamp;
    }
    let after = other.create(independent()).await.offer.expect("offered");
    assert!(after > last);
}

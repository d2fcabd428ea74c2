//! The release of what a pause has held, the control of it meanwhile, and its expiry.

use std::time::Duration;

use drumline_backend::store::{Committed, Released, Transacted};
use drumline_protocol::{Event, PauseKind, Status};

use super::{HOUR, PLENTY, SHORT, assert_granted, assert_held, named, partition, scope, usual};
use crate::StoreHarness;
use crate::fixtures::{Draft, Fixture, Fresh, independent, of_token};
use crate::wait::eventually;

/// Neither the relay nor reconciliation has anything to do with it.
pub async fn what_is_held_is_not_offered_again(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    fixture.pause(&usual(), None).await;
    let stamp = fresh.offer.expect("offered");
    fixture.confirm(fresh.id, stamp).await;
    assert_eq!(fixture.offered(partition()).await, [(fresh.id, stamp)]);
    fixture.claim_scoped(&fresh).await;
    assert!(fixture.offered(partition()).await.is_empty());
    assert!(fixture.entries(partition()).await.is_empty());
    let again = fixture.store.reoffer(fresh.id, stamp, Duration::ZERO).await;
    assert_eq!(again.expect("reoffer"), None);
    assert_eq!(
        fixture.store.last_offer(fresh.id).await.expect("told"),
        None
    );
    // A confirm that comes late changes nothing.
    fixture.confirm(fresh.id, stamp).await;
    assert_eq!(fixture.held(partition()).await, 1);
}

/// A release moves at most as many as it may, in order of creation, and none
/// while the pause is in force. A late confirm of the offer before removes
/// nothing.
pub async fn what_is_held_is_released_in_order(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut created = Vec::new();
    for _ in 0..5 {
        created.push(fixture.create(independent()).await);
    }
    let key = fixture.pause(&usual(), None).await;
    for fresh in created.iter().rev() {
        assert_held(&fixture.claim_scoped(fresh).await, key);
    }
    assert_eq!(
        fixture.release(partition(), PLENTY).await,
        Released::default()
    );
    fixture.lift(key).await;
    for (count, left) in [(2, 3), (2, 1), (1, 0), (0, 0)] {
        assert_eq!(fixture.release(partition(), 2).await.count, count);
        assert_eq!(fixture.held(partition()).await, left);
    }
    let ids: Vec<_> = created.iter().map(|fresh| fresh.id).collect();
    assert_eq!(fixture.entries(partition()).await, ids);
    for fresh in &created {
        fixture
            .confirm(fresh.id, fresh.offer.expect("offered"))
            .await;
    }
    assert_eq!(fixture.entries(partition()).await, ids);
    for fresh in &created {
        assert_granted(&fixture.claim_scoped(fresh).await);
    }
}

/// An operation in two paused scopes is held by the first, and after that by
/// the second.
pub async fn what_is_released_is_held_by_another_pause(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let queue = fixture
        .pause(&scope(PauseKind::Queue, "default"), None)
        .await;
    let fresh = fixture.create(independent()).await;
    assert_held(&fixture.claim_scoped(&fresh).await, queue);
    let name = fixture.pause(&usual(), None).await;
    fixture.lift(queue).await;
    // A late delivery comes before the release.
    assert_held(&fixture.claim_scoped(&fresh).await, name);
    assert_eq!(fixture.held(partition()).await, 1);
    assert_eq!(fixture.release(partition(), PLENTY).await.count, 0);
    let queue = fixture
        .pause(&scope(PauseKind::Queue, "default"), None)
        .await;
    fixture.lift(name).await;
    assert_eq!(fixture.release(partition(), PLENTY).await.count, 1);
    assert_eq!(fixture.entries(partition()).await, [fresh.id]);
    assert_held(&fixture.claim_scoped(&fresh).await, queue);
}

/// Control of the one operation works while it is held, and comes back to the
/// pause when it is Ready again.
pub async fn what_leaves_ready_leaves_the_held_set(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let key = fixture.pause(&usual(), None).await;
    let until = fixture.store.now().saturating_add(HOUR);
    for event in [
        Event::Pause,
        Event::Postpone(until),
        Event::Cancel,
        Event::Discard,
    ] {
        let fresh = fixture.create(independent()).await;
        assert_held(&fixture.claim_scoped(&fresh).await, key);
        fixture.client(fresh.id, event.clone()).await;
        assert_eq!(fixture.held(partition()).await, 0, "{event:?}");
        assert!(fixture.entries(partition()).await.is_empty(), "{event:?}");
    }
    let fresh = fixture.create(independent()).await;
    fixture.claim_scoped(&fresh).await;
    fixture.client(fresh.id, Event::Pause).await;
    let (header, done) = fixture.client(fresh.id, Event::Resume).await;
    assert_eq!(fixture.entry(fresh.id).await, done.offer);
    assert!(
        done.offer > fresh.offer,
        "each entry has a stamp of its own"
    );
    let resumed = Fresh { header, ..fresh };
    assert_held(&fixture.claim_scoped(&resumed).await, key);
    assert_eq!(fixture.held(partition()).await, 1);
    fixture.lift(key).await;
    // A late delivery comes before the release.
    assert_granted(&fixture.claim_scoped(&resumed).await);
    assert_eq!(fixture.held(partition()).await, 0);
    assert_eq!(fixture.release(partition(), PLENTY).await.count, 0);
}

/// The chain waits behind a head that is held, and goes on after it.
pub async fn a_held_head_holds_its_chain_back(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let key = fixture.pause(&usual(), None).await;
    let head = fixture.create(of_token("a")).await;
    let other = Draft {
        token: Some("a".to_owned()),
        ..named("Another")
    };
    let second = fixture.create(other).await;
    assert_held(&fixture.claim_scoped(&head).await, key);
    assert!(matches!(
        fixture.claim_scoped(&second).await,
        Committed::NotHead
    ));
    fixture.lift(key).await;
    let partition = head.id.partition();
    assert_eq!(fixture.release(partition, PLENTY).await.count, 1);
    assert_eq!(fixture.entries(partition).await, [head.id]);
    let promoted = fixture.run(head.id).await.promoted.expect("promoted");
    assert_eq!(promoted.operation.id, second.id);
    // A held head that is cancelled hands the chain on, too.
    fixture.run(second.id).await;
    let key = fixture.pause(&usual(), None).await;
    let head = fixture.create(of_token("a")).await;
    let behind = fixture.create(of_token("a")).await;
    assert_held(&fixture.claim_scoped(&head).await, key);
    let (_, done) = fixture.client(head.id, Event::Cancel).await;
    let promoted = done.promoted.expect("promoted");
    assert_eq!(promoted.operation.id, behind.id);
    assert_held(&fixture.claim_scoped(&behind).await, key);
    assert_eq!(fixture.held(partition).await, 1);
}

/// A pause gives no more time: an operation ends at its `notAfter`, held or not.
pub async fn a_held_operation_expires(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let key = fixture.pause(&usual(), None).await;
    let draft = Draft {
        expires_in: Some(SHORT),
        ..independent()
    };
    let fresh = fixture.create(draft).await;
    assert_held(&fixture.claim_scoped(&fresh).await, key);
    let due = eventually("it is due", async || {
        let due = fixture.store.due(partition(), 10).await.expect("due");
        due.first().copied()
    })
    .await;
    assert_eq!(due, fresh.id);
    let (header, _) = fixture.client(fresh.id, Event::Expire).await;
    assert_eq!(header.status, Status::Failed);
    assert_eq!(fixture.held(partition()).await, 0);
}

/// When its time is over, by the store's clock, a pause holds nothing any more,
/// even before it is removed.
pub async fn a_pause_ends_by_itself(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let [held, late] = [
        fixture.create(independent()).await,
        fixture.create(independent()).await,
    ];
    let endless = fixture.pause(&scope(PauseKind::Queue, "other"), None).await;
    // Long enough for a busy machine to set it and to meet it.
    let until = fixture.store.now().saturating_add(Duration::from_secs(3));
    let key = fixture.pause(&usual(), Some(until)).await;
    assert_held(&fixture.claim_scoped(&held).await, key);
    let released = eventually("the pause has ended", async || {
        let released = fixture.release(partition(), PLENTY).await;
        (released.count > 0).then_some(released.count)
    })
    .await;
    assert_eq!(released, 1);
    let slack = Duration::from_millis(100);
    assert!(fixture.store.now().saturating_add(slack) >= until);
    for fresh in [&held, &late] {
        assert_granted(&fixture.claim_scoped(fresh).await);
    }
    let before = fixture.store.pauses().await.expect("pauses");
    assert_eq!(before.pauses.len(), 2);
    let lifted = fixture.store.lift_ended_pauses().await;
    assert_eq!(lifted.expect("lift_ended_pauses"), 1);
    let after = fixture.store.pauses().await.expect("pauses");
    assert!(after.version > before.version);
    let keys: Vec<_> = after.pauses.iter().map(|pause| pause.scope.key()).collect();
    assert_eq!(keys, [endless]);
    let lifted = fixture.store.lift_ended_pauses().await;
    assert_eq!(lifted.expect("lift_ended_pauses"), 0);
    let same = fixture.store.pauses().await.expect("pauses");
    assert_eq!(same.version, after.version);
}

/// However many scopes are paused, the operations of one that is not are found.
pub async fn a_release_passes_the_scopes_that_are_paused(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut scopes = Vec::new();
    for number in 0..70 {
        let name = format!("Name{number}");
        let scope = scope(PauseKind::MessageName, &name);
        let key = fixture.pause(&scope, None).await;
        let fresh = fixture.create(named(&name)).await;
        assert_held(&fixture.claim_scoped(&fresh).await, key);
        scopes.push((key, fresh.id));
    }
    scopes.sort_unstable();
    let &(last, id) = scopes.last().expect("there are 70");
    fixture.lift(last).await;
    let mut next = None;
    let mut steps = 0;
    loop {
        let step = fixture.store.release_held(partition(), next, PLENTY).await;
        let step = step.expect("release_held");
        steps += 1;
        if step.count > 0 {
            break;
        }
        assert!(step.next > next, "it goes on");
        next = step.next;
    }
    assert!(steps > 1, "a step looks at a bounded number");
    assert_eq!(fixture.entries(partition()).await, [id]);
    assert_eq!(fixture.held(partition()).await, 69);
}

/// A transaction with a claim that is held makes nothing.
pub async fn a_held_claim_refuses_its_transaction(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let key = fixture.pause(&usual(), None).await;
    let fresh = fixture.create(independent()).await;
    let claim = fixture.scoped_claim(&fresh).await;
    let new = fixture.prepare(independent());
    let id = new.id;
    let answer = fixture.store.transact(vec![new], vec![claim]).await;
    let Transacted::Refused { commit: 0, answer } = answer.expect("transact") else {
        panic!("a claim in it is held");
    };
    assert_held(&answer, key);
    assert_eq!(fixture.store.get(&[id]).await.expect("get"), [None]);
    assert_eq!(fixture.held(partition()).await, 1);
}

/// An operation that a refused transaction has found to be paused is in the held set and
/// goes on from there. In no set, it would wait for ever.
pub async fn a_claim_in_a_transaction_is_held_whole(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let key = fixture.pause(&usual(), None).await;
    let claim = fixture.scoped_claim(&fresh).await;
    let answer = fixture.store.transact(Vec::new(), vec![claim]).await;
    let Transacted::Refused { commit: 0, answer } = answer.expect("transact") else {
        panic!("the claim is held");
    };
    assert_held(&answer, key);
    assert_eq!(fixture.held(partition()).await, 1);
    assert_eq!(fixture.entries(partition()).await, []);
    fixture.lift(key).await;
    assert_eq!(fixture.release(partition(), PLENTY).await.count, 1);
    assert_eq!(fixture.entries(partition()).await, [fresh.id]);
}

/// The held set is counted and emptied exactly, however large it is.
pub async fn many_are_held_and_released(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let drafts = (0..600).map(|_| fixture.prepare(independent()));
    let created = fixture.store_all(drafts.collect()).await;
    let key = fixture.pause(&usual(), None).await;
    let mut claims = Vec::new();
    for fresh in &created {
        claims.push(fixture.scoped_claim(fresh).await);
    }
    for answer in fixture.store.commit(claims).await.expect("commit") {
        assert_held(&answer, key);
    }
    assert_eq!(fixture.held(partition()).await, 600);
    for fresh in created.iter().step_by(3) {
        fixture.client(fresh.id, Event::Cancel).await;
    }
    assert_eq!(fixture.held(partition()).await, 400);
    fixture.lift(key).await;
    let mut counts = Vec::new();
    while fixture.held(partition()).await > 0 {
        counts.push(fixture.release(partition(), 256).await.count);
    }
    assert_eq!(counts, [256, 144]);
    let kept = created.iter().zip(0..).filter(|(_, place)| place % 3 != 0);
    let kept: Vec<_> = kept.map(|(fresh, _)| fresh.id).collect();
    assert_eq!(fixture.entries(partition()).await, kept);
}

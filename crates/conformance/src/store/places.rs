//! The places of a Ready operation: the outbox, the offered set, the held set, or
//! behind the head of its chain. It is in one of them, and no other operation is in
//! any.

use std::collections::BTreeSet;
use std::time::Duration;

use drumline_backend::store::{Commit, Neighbourhood, OfferedPlace};
use drumline_protocol::pause::scope_keys_of;
use drumline_protocol::{
    Author, Event, FlowKey, OperationId, Organization, Partition, Pause, PauseKind, PauseScope,
    State,
};

use super::commit::{commit, commit_one};
use crate::StoreHarness;
use crate::fixtures::{Draft, Fixture, Fresh, claim_event, fault, independent, of_token};

/// The place of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outbox,
    Offered,
    Held,
    Parked,
    /// In none of them: it is not Ready.
    Nowhere,
}

impl Fixture {
    /// Returns the place of an operation.
    async fn place(&self, id: OperationId) -> Place {
        let partition = id.partition();
        let operation = self.store.get(&[id]).await.expect("get").remove(0);
        let state = operation.map(|found| found.header.status.state());
        let is_in_outbox = self.entry(id).await.is_some();
        let offered = self.offered(partition).await;
        let is_offered = offered.iter().any(|(found, _)| *found == id);
        // The store does not name what it holds, but has no last offer of it.
        let has_offer = self.store.last_offer(id).await.expect("told").is_some();
        let place = self.store.chain_place(id, Neighbourhood::NONE);
        let place = place.await.expect("a place");
        let is_parked = place.is_some_and(|place| place.before > 0);
        match (state, is_in_outbox, is_offered, has_offer, is_parked) {
            (Some(State::Ready), true, false, true, false) => Place::Outbox,
            (Some(State::Ready), false, true, true, false) => Place::Offered,
            (Some(State::Ready), false, false, false, false) => Place::Held,
            (Some(State::Ready), false, false, true, true) => Place::Parked,
            (
                None | Some(State::Suspended | State::Locked | State::Completed),
                false,
                false,
                ..,
            ) => Place::Nowhere,
            found => panic!("{id} is in no place, or in several: {found:?}"),
        }
    }

    /// Confirms the last offer.
    async fn confirm_last(&self, id: OperationId) {
        let last = self.store.last_offer(id).await.expect("told");
        self.confirm(id, last.expect("an offer").stamp).await;
    }

    /// Pauses the message name of the drafts, or lifts that pause.
    async fn pause_all(&self, on: bool) {
        let scope = PauseScope {
            kind: PauseKind::MessageName,
            organization: Organization::default(),
            value: "DoIt".to_owned(),
        };
        if on {
            let pause = Pause {
                scope,
                reason: String::new(),
                until: None,
                author: Author::Caller("ann".to_owned()),
                since: self.store.now(),
            };
            self.store.set_pause(&pause).await.expect("set_pause");
        } else {
            assert!(self.store.lift_pause(scope.key()).await.expect("lift"));
        }
        let pauses = self.store.pauses().await.expect("pauses");
        let all: Vec<Partition> = self.store.partitions().all().collect();
        self.store.copy_pauses(&pauses, &all).await.expect("copy");
    }

    /// Claims an operation as a worker does, which a pause may stop.
    async fn try_scoped_claim(&self, fresh: &Fresh) {
        let operation = self.read(fresh.id).await;
        let claim = Commit {
            scopes: scope_keys_of(&operation.header, &operation.body),
            ..commit(
                self,
                fresh.id,
                &operation.header,
                claim_event(),
                self.taking(),
            )
        };
        commit_one(self, claim).await;
    }
}

/// An operation goes from place to place: it is confirmed, given back, tried again,
/// paused, resumed, offered again, held, released, claimed and completed.
pub async fn a_ready_operation_is_in_one_place(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for draft in [independent(), of_token("a")] {
        let fresh = fixture.create(draft).await;
        let id = fresh.id;
        assert_eq!(fixture.place(id).await, Place::Outbox);
        for _ in 0..2 {
            fixture.confirm(id, fresh.offer.expect("offered")).await;
            assert_eq!(fixture.place(id).await, Place::Offered);
        }

        for event in [Event::Release, Event::Suspend(fault())] {
            let fence = fixture.claim(id).await;
            assert_eq!(fixture.place(id).await, Place::Nowhere, "running");
            fixture.holder(id, fence, event).await;
            if fixture.place(id).await == Place::Nowhere {
                fixture.client(id, Event::Resume).await;
            }
            assert_eq!(fixture.place(id).await, Place::Outbox, "given back");
            fixture.confirm_last(id).await;
            assert_eq!(fixture.place(id).await, Place::Offered);
        }

        fixture.client(id, Event::Pause).await;
        assert_eq!(fixture.place(id).await, Place::Nowhere, "paused");
        fixture.client(id, Event::Resume).await;
        assert_eq!(fixture.place(id).await, Place::Outbox, "resumed");
        fixture.confirm(id, fresh.offer.expect("offered")).await;
        assert_eq!(fixture.place(id).await, Place::Outbox, "too late");
        fixture.confirm_last(id).await;

        let last = fixture.store.last_offer(id).await.expect("told");
        let seen = last.expect("an offer").stamp;
        let again = fixture.store.reoffer(id, seen, Duration::ZERO).await;
        assert!(again.expect("reoffer").is_some());
        assert_eq!(fixture.place(id).await, Place::Outbox, "offered again");
        fixture.confirm_last(id).await;
        assert_eq!(fixture.place(id).await, Place::Offered);

        fixture.pause_all(true).await;
        fixture.try_scoped_claim(&fresh).await;
        assert_eq!(fixture.place(id).await, Place::Held);
        fixture.confirm(id, seen).await;
        assert_eq!(fixture.place(id).await, Place::Held, "too late");
        fixture.pause_all(false).await;
        let released = fixture.store.release_held(id.partition(), None, 9).await;
        assert_eq!(released.expect("released").count, 1);
        assert_eq!(fixture.place(id).await, Place::Outbox, "released");
        fixture.confirm_last(id).await;

        fixture.run(id).await;
        assert_eq!(fixture.place(id).await, Place::Nowhere, "completed");
        fixture.client(id, Event::Delete).await;
        assert_eq!(fixture.place(id).await, Place::Nowhere, "removed");
    }
}

/// An operation behind another one of its token is in none of the sets, and in the
/// outbox from the moment at which it is the head. What is cancelled leaves its
/// place.
pub async fn a_parked_operation_is_in_no_set(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(fixture.create(of_token("a")).await.id);
    }
    let &[first, second, third, fourth] = all.as_slice() else {
        panic!("four were created");
    };
    fixture.confirm_last(first).await;
    assert_eq!(fixture.place(first).await, Place::Offered);
    for parked in [second, third, fourth] {
        assert_eq!(fixture.place(parked).await, Place::Parked);
        // A forged message offers it all the same.
        fixture.try_claim(parked).await;
        assert_eq!(fixture.place(parked).await, Place::Parked);
    }
    fixture.run(first).await;
    assert_eq!(fixture.place(first).await, Place::Nowhere);
    assert_eq!(fixture.place(second).await, Place::Outbox);
    assert_eq!(fixture.place(third).await, Place::Parked);
    fixture.client(second, Event::Cancel).await;
    assert_eq!(fixture.place(second).await, Place::Nowhere);
    assert_eq!(fixture.place(third).await, Place::Outbox);
    fixture.confirm_last(third).await;
    fixture.client(third, Event::Cancel).await;
    assert_eq!(fixture.place(third).await, Place::Nowhere);
    assert_eq!(fixture.place(fourth).await, Place::Outbox);
}

/// A look at what was offered costs what is in the broker, whatever waits behind
/// other operations.
pub async fn parked_operations_are_not_looked_at(harness: &dyn StoreHarness) {
    const PARKED: usize = 300;
    let fixture = Fixture::new(harness).await;
    let head = fixture.create(of_token("a")).await;
    fixture.confirm_last(head.id).await;
    let drafts = (0..PARKED).map(|_| fixture.prepare(of_token("a")));
    fixture.store_all(drafts.collect()).await;
    let partition = head.id.partition();
    let neighbour = fixture
        .create(Draft {
            partition,
            ..independent()
        })
        .await;
    fixture.confirm_last(neighbour.id).await;
    let look = fixture.store.offered(partition, None, 2).await;
    let (found, next) = look.expect("offered");
    let found: Vec<_> = found.into_iter().map(|(id, _)| id).collect();
    assert_eq!(found, [head.id, neighbour.id]);
    assert_eq!(next, None, "two were offered, and all else is parked");
}

/// The offered set comes flow by flow, and in pieces: a caller that follows the
/// place sees all of it once, although operations leave meanwhile.
pub async fn what_was_offered_comes_flow_by_flow(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut expected = BTreeSet::new();
    for number in 0..30 {
        let draft = Draft {
            organization: Organization(format!("organization {}", number % 3)),
            queue: ["imports", "mails"][number % 2].parse().expect("a name"),
            ..independent()
        };
        let flow = FlowKey::new(&draft.organization, &draft.queue);
        let id = fixture.create(draft).await.id;
        fixture.confirm_last(id).await;
        expected.insert(OfferedPlace { flow, id });
    }
    let (mut found, mut after) = (Vec::new(), None);
    for _ in 0..30 {
        let look = fixture.store.offered(Partition::new(0), after, 4).await;
        let (piece, next) = look.expect("offered");
        found.extend(piece.into_iter().map(|(id, _)| id));
        after = next;
        let Some(place) = next else { break };
        // The place to go on behind has left.
        fixture.run(place.id).await;
    }
    assert_eq!(after, None);
    let expected: Vec<_> = expected.into_iter().map(|place| place.id).collect();
    assert_eq!(found, expected);
}

//! Chains: the claim enforces the order, and completion hands it on.

use std::time::Duration;

use drumline_backend::apply_event::Applied;
use drumline_backend::store::{ChainPlace, Committed, Neighbourhood, Summary};
use drumline_protocol::{Event, OperationId, Organization, QueueName, State, Status};

use super::commit::claim_fresh;
use crate::StoreHarness;
use crate::fixtures::{Fixture, chain_key, fault, independent, of_token};

/// An hour: later than any case looks.
const HOUR: Duration = Duration::from_secs(3_600);

/// An operation that is not the head cannot be claimed, and is left as it was.
pub async fn only_the_head_can_be_claimed(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await;
    let second = fixture.create(of_token("a")).await;
    assert!(matches!(
        claim_fresh(&fixture, &second).await,
        Committed::NotHead
    ));
    assert_eq!(fixture.read(second.id).await.header, second.header);
    assert!(
        fixture
            .store
            .locks(second.id.partition())
            .await
            .expect("locks")
            .is_empty()
    );
    // This holds even while the head runs, or waits.
    let fence = fixture.claim(first.id).await;
    assert!(matches!(
        claim_fresh(&fixture, &second).await,
        Committed::NotHead
    ));
    fixture
        .holder(first.id, fence, Event::Suspend(fault()))
        .await;
    assert!(matches!(
        claim_fresh(&fixture, &second).await,
        Committed::NotHead
    ));
    assert_eq!(fixture.entry(second.id).await, None);
}

/// Completion of every kind offers the next head, by a new entry.
pub async fn every_completion_promotes_the_next_head(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut chain = Vec::new();
    for _ in 0..5 {
        chain.push(fixture.create(of_token("a")).await);
    }
    let [succeeded, failed, canceled, stopped, last] = chain.as_slice() else {
        panic!("five were created");
    };
    let fence = fixture.claim(succeeded.id).await;
    let next = fixture
        .holder(succeeded.id, fence, Event::Succeed)
        .await
        .promoted;
    let next = next.expect("the second is promoted");
    assert_eq!(next.operation, Summary::of(&fixture.read(failed.id).await));
    assert_eq!(fixture.entry(failed.id).await, Some(next.stamp));

    let fence = fixture.claim(failed.id).await;
    let next = fixture
        .holder(failed.id, fence, Event::Fail(fault()))
        .await
        .promoted;
    assert_eq!(next.map(|head| head.operation.id), Some(canceled.id));

    let (_, done) = fixture.client(canceled.id, Event::Cancel).await;
    let next = done.promoted.map(|head| head.operation.id);
    assert_eq!(next, Some(stopped.id));

    let fence = fixture.claim(stopped.id).await;
    fixture.client(stopped.id, Event::Cancel).await;
    assert_eq!(
        fixture.entry(last.id).await,
        None,
        "not before it has stopped"
    );
    let next = fixture
        .holder(stopped.id, fence, Event::Stopped)
        .await
        .promoted;
    assert_eq!(next.map(|head| head.operation.id), Some(last.id));
    assert_eq!(
        fixture.read(stopped.id).await.header.status,
        Status::Canceled
    );

    assert!(fixture.run(last.id).await.promoted.is_none());
}

/// An operation that was parked by a failed claim is offered when its turn
/// comes.
pub async fn a_parked_operation_is_promoted_as_head(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await;
    let second = fixture.create(of_token("a")).await;
    assert!(matches!(
        fixture.try_claim(second.id).await,
        Applied::NotHead
    ));
    let promoted = fixture.run(first.id).await.promoted.expect("promoted");
    assert_eq!(promoted.operation.id, second.id);
    fixture.run(second.id).await;
}

/// The end of an operation in the middle of its chain frees no other.
pub async fn a_cancel_in_the_middle_promotes_nothing(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await;
    let second = fixture.create(of_token("a")).await;
    let third = fixture.create(of_token("a")).await;
    let (_, done) = fixture.client(second.id, Event::Cancel).await;
    assert!(done.promoted.is_none());
    assert_eq!(fixture.entry(third.id).await, None);
    assert!(matches!(
        claim_fresh(&fixture, &third).await,
        Committed::NotHead
    ));
    // The same holds when the head runs.
    let fence = fixture.claim(first.id).await;
    let fourth = fixture.create(of_token("a")).await;
    let (_, done) = fixture.client(third.id, Event::Cancel).await;
    assert!(done.promoted.is_none());
    let next = fixture
        .holder(first.id, fence, Event::Succeed)
        .await
        .promoted;
    assert_eq!(next.map(|head| head.operation.id), Some(fourth.id));
}

/// A new head that is Suspended is not offered; it is offered when it wakes.
pub async fn a_suspended_new_head_is_offered_when_it_is_resumed(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await;
    let second = fixture.create(of_token("a")).await;
    let third = fixture.create(of_token("a")).await;
    fixture.client(second.id, Event::Pause).await;
    assert!(fixture.run(first.id).await.promoted.is_none());
    assert!(
        fixture
            .outbox_entries(first.id.partition())
            .await
            .is_empty()
    );
    assert!(matches!(
        claim_fresh(&fixture, &third).await,
        Committed::NotHead
    ));
    let (_, done) = fixture.client(second.id, Event::Resume).await;
    assert!(done.offer.is_some());
    assert_eq!(fixture.entry(second.id).await, done.offer);
}

/// An operation that becomes Ready behind its head stays parked.
pub async fn a_resumed_operation_behind_its_head_stays_parked(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await;
    let second = fixture.create(of_token("a")).await;
    fixture.client(second.id, Event::Pause).await;
    let (header, done) = fixture.client(second.id, Event::Resume).await;
    assert_eq!(header.status.state(), State::Ready);
    assert_eq!(done.offer, None);
    assert_eq!(fixture.entry(second.id).await, None);
    let next = fixture.run(first.id).await.promoted;
    assert_eq!(next.map(|head| head.operation.id), Some(second.id));
}

/// A head that waits keeps its place, however often it has started.
pub async fn a_head_keeps_its_place_while_it_waits(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await;
    let second = fixture.create(of_token("a")).await;
    let fence = fixture.claim(first.id).await;
    let retry = Event::Retry {
        fault: fault(),
        after: Some(HOUR),
        jitter: fixture.ids.jitter(),
    };
    fixture.holder(first.id, fence, retry).await;
    assert!(matches!(
        claim_fresh(&fixture, &second).await,
        Committed::NotHead
    ));
    fixture.client(first.id, Event::Resume).await;
    assert!(matches!(
        claim_fresh(&fixture, &second).await,
        Committed::NotHead
    ));
    let fence = fixture.claim(first.id).await;
    fixture.holder(first.id, fence, Event::Release).await;
    assert!(matches!(
        claim_fresh(&fixture, &second).await,
        Committed::NotHead
    ));
    fixture.run(first.id).await;
    fixture.run(second.id).await;
}

/// A waiting head holds back its own token, and no other of its partition.
pub async fn a_waiting_head_holds_back_its_own_token_only(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let partition = fixture.partition_of("a");
    let mut neighbours = Vec::new();
    for number in 0.. {
        let token = format!("neighbour {number}");
        if fixture.partition_of(&token) == partition {
            neighbours.push(token);
        }
        if neighbours.len() == 5 {
            break;
        }
    }
    let head = fixture.create(of_token("a")).await;
    fixture.create(of_token("a")).await;
    fixture.client(head.id, Event::Pause).await;
    for token in neighbours {
        let first = fixture.create(of_token(&token)).await;
        let second = fixture.create(of_token(&token)).await;
        let next = fixture.run(first.id).await.promoted;
        assert_eq!(next.map(|head| head.operation.id), Some(second.id));
        fixture.run(second.id).await;
    }
}

/// A chain spans queues: the order is the token's.
pub async fn a_chain_spans_queues(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await;
    let mut draft = of_token("a");
    draft.queue = "imports".parse::<QueueName>().expect("a queue name");
    let second = fixture.create(draft).await;
    assert!(matches!(
        claim_fresh(&fixture, &second).await,
        Committed::NotHead
    ));
    let next = fixture.run(first.id).await.promoted.expect("promoted");
    assert_eq!(next.operation.id, second.id);
    assert_eq!(next.operation.body.queue.as_str(), "imports");
}

/// Equal tokens of different organizations have nothing to do with each other.
pub async fn organizations_have_chains_of_their_own(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let ours = fixture.create(of_token("a")).await;
    let mut draft = of_token("a");
    draft.organization = Organization("contoso".to_owned());
    let theirs = fixture.create(draft).await;
    assert_ne!(
        ours.header.rules.chain,
        Some(chain_key(&Organization("contoso".to_owned()), "a"))
    );
    assert!(theirs.offer.is_some());
    fixture.run(theirs.id).await;
    fixture.run(ours.id).await;
}

/// The place in a chain is that of the order of creation, as long as the operation
/// is in it.
pub async fn an_operation_has_a_place_in_its_chain(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let alone = fixture.create(of_token("alone")).await;
    let mut chain = Vec::new();
    for _ in 0..6 {
        chain.push(fixture.create(of_token("a")).await.id);
    }
    let near = Neighbourhood {
        before: 1,
        behind: 2,
    };
    let place = async |id, near| {
        let place = fixture.store.chain_place(id, near).await;
        place.expect("the store is there")
    };
    let expected = |index: usize, neighbours: &[OperationId]| {
        Some(ChainPlace {
            head: chain[0],
            before: u64::try_from(index).expect("it is small"),
            behind: u64::try_from(5 - index).expect("it is small"),
            neighbours: neighbours.to_vec(),
        })
    };
    assert_eq!(place(chain[0], near).await, expected(0, &chain[0..3]));
    assert_eq!(place(chain[3], near).await, expected(3, &chain[2..6]));
    assert_eq!(place(chain[5], near).await, expected(5, &chain[4..6]));
    let single = place(chain[3], Neighbourhood::NONE).await;
    assert_eq!(single, expected(3, &chain[3..4]));
    let single = place(alone.id, near).await.map(|place| place.neighbours);
    assert_eq!(single, Some(vec![alone.id]));

    // An operation that has left the chain has no place, and makes room.
    fixture.client(chain[1], Event::Cancel).await;
    assert_eq!(place(chain[1], near).await, None);
    let second = place(chain[2], near).await.expect("it is in the chain");
    assert_eq!((second.before, second.behind), (1, 3));
    assert_eq!(second.neighbours[0], chain[0]);
    let free = fixture.create(independent()).await;
    assert_eq!(place(free.id, near).await, None);
}

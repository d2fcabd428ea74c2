//! Chains: the claim enforces the order, and completion hands it on.

use std::time::Duration;

use drumline_backend::apply_event::Applied;
use drumline_backend::store::Committed;
use drumline_protocol::{Event, Organization, QueueName, State, Status};

use super::commit::claim_fresh;
use crate::StoreHarness;
use crate::scene::{Scene, chain_key, fault, of_token};

/// An hour: later than any case looks.
const HOUR: Duration = Duration::from_secs(3_600);

/// An operation that is not the head cannot be claimed, and is left as it was.
pub async fn only_the_head_can_be_claimed(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let first = scene.create(of_token("a")).await;
    let second = scene.create(of_token("a")).await;
    assert!(matches!(
        claim_fresh(&scene, &second).await,
        Committed::NotHead
    ));
    assert_eq!(scene.read(second.id).await.header, second.header);
    assert!(
        scene
            .store
            .locks(second.id.partition())
            .await
            .expect("locks")
            .is_empty()
    );
    // This holds even while the head runs, or waits.
    let fence = scene.claim(first.id).await;
    assert!(matches!(
        claim_fresh(&scene, &second).await,
        Committed::NotHead
    ));
    scene.holder(first.id, fence, Event::Suspend(fault())).await;
    assert!(matches!(
        claim_fresh(&scene, &second).await,
        Committed::NotHead
    ));
    assert_eq!(scene.entry(second.id).await, None);
}

/// Completion of every kind offers the next head, by a new entry.
pub async fn every_completion_promotes_the_next_head(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let mut chain = Vec::new();
    for _ in 0..5 {
        chain.push(scene.create(of_token("a")).await);
    }
    let [succeeded, failed, canceled, stopped, last] = chain.as_slice() else {
        panic!("five were created");
    };
    let fence = scene.claim(succeeded.id).await;
    let next = scene
        .holder(succeeded.id, fence, Event::Succeed)
        .await
        .promoted;
    let next = next.expect("the second is promoted");
    assert_eq!(next.operation, scene.read(failed.id).await);
    assert_eq!(scene.entry(failed.id).await, Some(next.stamp));

    let fence = scene.claim(failed.id).await;
    let next = scene
        .holder(failed.id, fence, Event::Fail(fault()))
        .await
        .promoted;
    assert_eq!(next.map(|head| head.operation.id), Some(canceled.id));

    let (_, done) = scene.client(canceled.id, Event::Cancel).await;
    let next = done.promoted.map(|head| head.operation.id);
    assert_eq!(next, Some(stopped.id));

    let fence = scene.claim(stopped.id).await;
    scene.client(stopped.id, Event::Cancel).await;
    assert_eq!(
        scene.entry(last.id).await,
        None,
        "not before it has stopped"
    );
    let next = scene
        .holder(stopped.id, fence, Event::Stopped)
        .await
        .promoted;
    assert_eq!(next.map(|head| head.operation.id), Some(last.id));
    assert_eq!(scene.read(stopped.id).await.header.status, Status::Canceled);

    assert!(scene.run(last.id).await.promoted.is_none());
}

/// An operation that was parked by a failed claim is offered when its turn
/// comes.
pub async fn a_parked_operation_is_promoted_as_head(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let first = scene.create(of_token("a")).await;
    let second = scene.create(of_token("a")).await;
    assert!(matches!(scene.try_claim(second.id).await, Applied::NotHead));
    let promoted = scene.run(first.id).await.promoted.expect("promoted");
    assert_eq!(promoted.operation.id, second.id);
    scene.run(second.id).await;
}

/// The end of an operation in the middle of its chain frees no other.
pub async fn a_cancel_in_the_middle_promotes_nothing(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let first = scene.create(of_token("a")).await;
    let second = scene.create(of_token("a")).await;
    let third = scene.create(of_token("a")).await;
    let (_, done) = scene.client(second.id, Event::Cancel).await;
    assert!(done.promoted.is_none());
    assert_eq!(scene.entry(third.id).await, None);
    assert!(matches!(
        claim_fresh(&scene, &third).await,
        Committed::NotHead
    ));
    // The same holds when the head runs.
    let fence = scene.claim(first.id).await;
    let fourth = scene.create(of_token("a")).await;
    let (_, done) = scene.client(third.id, Event::Cancel).await;
    assert!(done.promoted.is_none());
    let next = scene.holder(first.id, fence, Event::Succeed).await.promoted;
    assert_eq!(next.map(|head| head.operation.id), Some(fourth.id));
}

/// A new head that is Suspended is not offered; it is offered when it wakes.
pub async fn a_suspended_new_head_is_offered_when_it_is_resumed(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let first = scene.create(of_token("a")).await;
    let second = scene.create(of_token("a")).await;
    let third = scene.create(of_token("a")).await;
    scene.client(second.id, Event::Pause).await;
    assert!(scene.run(first.id).await.promoted.is_none());
    assert!(scene.outbox_entries(first.id.partition()).await.is_empty());
    assert!(matches!(
        claim_fresh(&scene, &third).await,
        Committed::NotHead
    ));
    let (_, done) = scene.client(second.id, Event::Resume).await;
    assert!(done.offer.is_some());
    assert_eq!(scene.entry(second.id).await, done.offer);
}

/// An operation that becomes Ready behind its head stays parked.
pub async fn a_resumed_operation_behind_its_head_stays_parked(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let first = scene.create(of_token("a")).await;
    let second = scene.create(of_token("a")).await;
    scene.client(second.id, Event::Pause).await;
    let (header, done) = scene.client(second.id, Event::Resume).await;
    assert_eq!(header.status.state(), State::Ready);
    assert_eq!(done.offer, None);
    assert_eq!(scene.entry(second.id).await, None);
    let next = scene.run(first.id).await.promoted;
    assert_eq!(next.map(|head| head.operation.id), Some(second.id));
}

/// A head that waits keeps its place, however often it has started.
pub async fn a_head_keeps_its_place_while_it_waits(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let first = scene.create(of_token("a")).await;
    let second = scene.create(of_token("a")).await;
    let fence = scene.claim(first.id).await;
    let retry = Event::Retry {
        fault: fault(),
        after: Some(HOUR),
        jitter: scene.ids.jitter(),
    };
    scene.holder(first.id, fence, retry).await;
    assert!(matches!(
        claim_fresh(&scene, &second).await,
        Committed::NotHead
    ));
    scene.client(first.id, Event::Resume).await;
    assert!(matches!(
        claim_fresh(&scene, &second).await,
        Committed::NotHead
    ));
    let fence = scene.claim(first.id).await;
    scene.holder(first.id, fence, Event::Release).await;
    assert!(matches!(
        claim_fresh(&scene, &second).await,
        Committed::NotHead
    ));
    scene.run(first.id).await;
    scene.run(second.id).await;
}

/// A waiting head holds back its own token, and no other of its partition.
pub async fn a_waiting_head_holds_back_its_own_token_only(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let partition = scene.partition_of("a");
    let mut neighbours = Vec::new();
    for number in 0.. {
        let token = format!("neighbour {number}");
        if scene.partition_of(&token) == partition {
            neighbours.push(token);
        }
        if neighbours.len() == 5 {
            break;
        }
    }
    let head = scene.create(of_token("a")).await;
    scene.create(of_token("a")).await;
    scene.client(head.id, Event::Pause).await;
    for token in neighbours {
        let first = scene.create(of_token(&token)).await;
        let second = scene.create(of_token(&token)).await;
        let next = scene.run(first.id).await.promoted;
        assert_eq!(next.map(|head| head.operation.id), Some(second.id));
        scene.run(second.id).await;
    }
}

/// A chain spans queues: the order is the token's.
pub async fn a_chain_spans_queues(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let first = scene.create(of_token("a")).await;
    let mut draft = of_token("a");
    draft.queue = "imports".parse::<QueueName>().expect("a queue name");
    let second = scene.create(draft).await;
    assert!(matches!(
        claim_fresh(&scene, &second).await,
        Committed::NotHead
    ));
    let next = scene.run(first.id).await.promoted.expect("promoted");
    assert_eq!(next.operation.id, second.id);
    assert_eq!(next.operation.body.queue.as_str(), "imports");
}

/// Equal tokens of different organizations have nothing to do with each other.
pub async fn organizations_have_chains_of_their_own(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let ours = scene.create(of_token("a")).await;
    let mut draft = of_token("a");
    draft.organization = Organization("contoso".to_owned());
    let theirs = scene.create(draft).await;
    assert_ne!(
        ours.header.rules.chain,
        Some(chain_key(&Organization("contoso".to_owned()), "a"))
    );
    assert!(theirs.offer.is_some());
    scene.run(theirs.id).await;
    scene.run(ours.id).await;
}

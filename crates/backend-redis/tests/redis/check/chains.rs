//! Chains: members that are missing, that do not belong there, and that run.

use drumline_backend::Store as _;
use drumline_backend::store::{FaultKind, Guard};
use drumline_conformance::check_all;
use drumline_protocol::Event;

use super::scene::{Scene, kinds};
use crate::common::draft;

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_missing_from_its_chain_comes_to_its_place() {
    let scene = Scene::new().await;
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(scene.create(Some("t")).await);
    }
    let key = scene.chain(&all[0]);
    scene.zrem(&key, all[1].id.as_bytes()).await;
    scene
        .mended(&[(FaultKind::ChainOrder, Some(all[1].id))])
        .await;
    // The last one comes before the first.
    scene.zadd(&key, 1, all[2].id.as_bytes()).await;
    let mut wrong = vec![
        (FaultKind::ChainOrder, Some(all[2].id)),
        (FaultKind::OutboxEntry, Some(all[0].id)),
        (FaultKind::NotOffered, Some(all[2].id)),
    ];
    wrong.sort_unstable();
    assert_eq!(kinds(&scene.check(false).await.faults), wrong);
    // Once all are at their places, it is the first one that is to be offered.
    wrong.retain(|(kind, _)| *kind != FaultKind::NotOffered);
    wrong.push((FaultKind::NotOffered, Some(all[0].id)));
    wrong.sort_unstable();
    let found = scene.check(true).await.faults;
    assert!(found.iter().all(|fault| fault.is_repaired), "{found:?}");
    assert_eq!(kinds(&found), wrong);
    assert!(scene.is_in_outbox(all[0].id).await, "it is the head again");
    for new in &mut all {
        scene.run_to_its_end(new).await;
    }
    scene.is_sound().await;
}

/// Everything of a chain is damaged: the member that runs is not in it, and the one behind it
/// is at its front and in no place. Its record may be looked at first.
#[tokio::test(flavor = "multi_thread")]
async fn no_member_is_offered_before_the_one_that_runs_is_back_in_its_chain() {
    let scene = Scene::new().await;
    for token in 0..6 {
        let token = token.to_string();
        let mut first = scene.create(Some(&token)).await;
        let mut second = scene.create(Some(&token)).await;
        let fence = scene.claim(&mut first).await;
        scene.zrem(&scene.chain(&first), first.id.as_bytes()).await;
        // A few keys a step.
        let partitions = vec![first.id.partition()];
        let page = check_all(&scene.store, partitions, 16, true).await;
        let mut found = kinds(&page.faults);
        found.retain(|(kind, _)| *kind != FaultKind::Usage);
        assert_eq!(found, [(FaultKind::ChainOrder, Some(first.id))], "{page:?}");
        assert!(!scene.is_in_outbox(second.id).await, "the first one runs");
        scene.finish(&mut first, fence).await;
        scene.run_to_its_end(&mut second).await;
    }
    scene.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_a_chain_must_not_have_leave_it_and_the_next_one_runs() {
    let scene = Scene::new().await;
    let done = scene.completed(Some("t")).await;
    let mut next = scene.create(Some("t")).await;
    let foreign = scene.create(Some("u")).await;
    let key = scene.chain(&next);
    let entry = scene.outbox_entry(next.id).await;
    scene.zrem(&scene.key(next.id, "dispatch"), &entry).await;
    let gone = draft(&scene.store, &scene.ids, Some("t")).id;
    for (score, id) in [(1, done.id), (2, gone)] {
        scene.zadd(&key, score, id.as_bytes()).await;
    }
    if foreign.id.partition() == next.id.partition() {
        scene.zadd(&key, 3, foreign.id.as_bytes()).await;
    }
    let mut expected = vec![
        (FaultKind::ChainEntry, Some(done.id)),
        (FaultKind::ChainEntry, Some(gone)),
    ];
    if foreign.id.partition() == next.id.partition() {
        expected.push((FaultKind::ChainEntry, Some(foreign.id)));
    }
    expected.sort_unstable();
    assert_eq!(kinds(&scene.check(false).await.faults), expected);
    // The next one is at the front then.
    expected.push((FaultKind::NotOffered, Some(next.id)));
    expected.sort_unstable();
    let found = scene.check(true).await.faults;
    assert!(found.iter().all(|fault| fault.is_repaired), "{found:?}");
    assert_eq!(kinds(&found), expected);
    scene.run_to_its_end(&mut next).await;
    scene.is_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_not_changed_before_an_operation_that_runs() {
    let scene = Scene::new().await;
    let first = scene.create(Some("t")).await;
    let mut second = scene.create(Some("t")).await;
    let key = scene.chain(&first);
    scene.zrem(&key, first.id.as_bytes()).await;
    let entry = scene.outbox_entry(first.id).await;
    scene.zrem(&scene.key(first.id, "dispatch"), &entry).await;
    let fence = scene.claim(&mut second).await;
    let found = scene.check(true).await.faults;
    assert_eq!(
        kinds(&found),
        [(FaultKind::ChainOrder, Some(first.id))],
        "{found:?}"
    );
    assert!(!found[0].is_repaired, "two of a token must not run at once");
    scene.finish(&mut second, fence).await;
    let found = scene.check(true).await.faults;
    assert!(found.iter().all(|fault| fault.is_repaired), "{found:?}");
    scene.is_sound().await;
    assert!(scene.is_in_outbox(first.id).await);
}

/// A member has come back in front of one that was the head meanwhile and is in the outbox.
#[tokio::test(flavor = "multi_thread")]
async fn a_next_head_that_is_offered_already_is_not_offered_twice() {
    let scene = Scene::new().await;
    let mut first = scene.create(Some("t")).await;
    let mut second = scene.create(Some("t")).await;
    let chain = scene.chain(&first);
    let place: String = scene.run("ZSCORE", &[&chain, first.id.as_bytes()]).await;
    let fence = scene.claim(&mut first).await;
    scene.zrem(&chain, first.id.as_bytes()).await;
    scene.event(&mut second, Event::Pause, Guard::None).await;
    scene.event(&mut second, Event::Resume, Guard::None).await;
    let offer = scene.store.last_offer(second.id).await.expect("last_offer");
    assert!(offer.as_ref().is_some_and(|offer| offer.is_in_outbox));
    scene.zadd(&chain, place, first.id.as_bytes()).await;
    scene.finish(&mut first, fence).await;
    let after = scene.store.last_offer(second.id).await.expect("last_offer");
    assert_eq!(after, offer);
    scene.is_sound().await;
    scene.run_to_its_end(&mut second).await;
    scene.is_sound().await;
}

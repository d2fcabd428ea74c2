//! Delete: the operation goes, with every trace of it.

use drumline_backend::apply_event::Applied;
use drumline_backend::store::{Committed, Counts, Filter, Guard};
use drumline_protocol::{Event, Fence, Report};

use super::commit::{claim_fresh, commit, commit_one};
use super::listing::all_pages;
use crate::StoreHarness;
use crate::scene::{Scene, independent, of_token};

/// Nothing of a deleted operation is found anywhere.
pub async fn delete_removes_every_trace(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    for draft in [independent(), of_token("a")] {
        let fresh = scene.create(draft).await;
        scene.run(fresh.id).await;
        let header = scene.read(fresh.id).await.header;
        scene.client(fresh.id, Event::Delete).await;
        assert_eq!(scene.store.get(&[fresh.id]).await.expect("get"), [None]);
        let delete = commit(&scene, fresh.id, &header, Event::Delete, Guard::None);
        assert!(matches!(
            commit_one(&scene, delete).await,
            Committed::Missing
        ));
        assert!(matches!(
            claim_fresh(&scene, &fresh).await,
            Committed::Missing
        ));
        let report = Report::default();
        let written = scene.store.report(fresh.id, Fence(1), &report).await;
        assert!(!written.expect("report"));
        let partition = fresh.id.partition();
        assert!(scene.outbox_entries(partition).await.is_empty());
        assert!(scene.offered(partition).await.is_empty());
        assert!(
            scene
                .store
                .locks(partition)
                .await
                .expect("locks")
                .is_empty()
        );
    }
    assert!(all_pages(&scene, &Filter::default(), 10).await.is_empty());
    assert_eq!(
        scene.store.counts().await.expect("counts"),
        Counts::default()
    );
}

/// The chain of a deleted operation goes on without it.
pub async fn delete_does_not_disturb_the_chain(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let first = scene.create(of_token("a")).await;
    let second = scene.create(of_token("a")).await;
    let third = scene.create(of_token("a")).await;
    scene.run(first.id).await;
    let entry = scene.entry(second.id).await;
    let (_, done) = scene.client(first.id, Event::Delete).await;
    assert!(done.promoted.is_none());
    assert_eq!(scene.entry(second.id).await, entry);
    assert_eq!(scene.entry(third.id).await, None);
    let next = scene.run(second.id).await.promoted;
    assert_eq!(next.map(|head| head.operation.id), Some(third.id));
}

/// Operations that are not Completed stay.
pub async fn only_completed_operations_can_be_deleted(harness: &dyn StoreHarness) {
    let scene = Scene::new(harness).await;
    let fresh = scene.create(independent()).await;
    let refused = scene.event(fresh.id, Event::Delete, Guard::None).await;
    assert!(matches!(refused, Applied::Refused(_)), "{refused:?}");
    assert_eq!(scene.read(fresh.id).await.header, fresh.header);
}

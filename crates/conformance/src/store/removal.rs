//! Delete: the operation goes, with every trace of it.

use drumline_backend::apply_event::Applied;
use drumline_backend::store::{Committed, Counts, Filter, Guard, ReportParts};
use drumline_protocol::{Event, Fence, Report};

use super::commit::{claim_fresh, commit, commit_one};
use super::listing::all_pages;
use crate::StoreHarness;
use crate::fixtures::{Fixture, independent, of_token};

/// Nothing of a deleted operation is found anywhere.
pub async fn delete_removes_every_trace(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for draft in [independent(), of_token("a")] {
        let fresh = fixture.create(draft).await;
        fixture.run(fresh.id).await;
        let header = fixture.read(fresh.id).await.header;
        fixture.client(fresh.id, Event::Delete).await;
        assert_eq!(fixture.store.get(&[fresh.id]).await.expect("get"), [None]);
        let delete = commit(&fixture, fresh.id, &header, Event::Delete, Guard::None);
        assert!(matches!(
            commit_one(&fixture, delete).await,
            Committed::Missing
        ));
        assert!(matches!(
            claim_fresh(&fixture, &fresh).await,
            Committed::Missing
        ));
        let report = Report::default();
        let written = fixture
            .store
            .report(
                fresh.id,
                fixture.holding(Fence(1)),
                &report,
                ReportParts::All,
            )
            .await;
        assert!(!written.expect("report"));
        let partition = fresh.id.partition();
        assert!(fixture.outbox_entries(partition).await.is_empty());
        assert!(fixture.offered(partition).await.is_empty());
        assert!(
            fixture
                .store
                .locks(partition)
                .await
                .expect("locks")
                .is_empty()
        );
    }
    assert!(all_pages(&fixture, &Filter::default(), 10).await.is_empty());
    assert_eq!(
        fixture.store.counts().await.expect("counts"),
        Counts::default()
    );
}

/// A caller that has got no answer to a removal repeats it, and is told that it is made.
pub async fn a_repeated_removal_is_made(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for draft in [independent(), of_token("a")] {
        let id = fixture.create(draft).await.id;
        fixture.run(id).await;
        let header = fixture.read(id).await.header;
        let delete = commit(&fixture, id, &header, Event::Delete, Guard::None);
        for _ in 0..2 {
            let answer = commit_one(&fixture, delete.clone()).await;
            assert!(matches!(answer, Committed::Done(_)), "{answer:?}");
        }
        let other = commit(&fixture, id, &header, Event::Delete, Guard::None);
        let answer = commit_one(&fixture, other).await;
        assert!(matches!(answer, Committed::Missing), "{answer:?}");
    }
}

/// The chain of a deleted operation goes on without it.
pub async fn delete_does_not_disturb_the_chain(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await;
    let second = fixture.create(of_token("a")).await;
    let third = fixture.create(of_token("a")).await;
    fixture.run(first.id).await;
    let entry = fixture.entry(second.id).await;
    let (_, done) = fixture.client(first.id, Event::Delete).await;
    assert!(done.promoted.is_none());
    assert_eq!(fixture.entry(second.id).await, entry);
    assert_eq!(fixture.entry(third.id).await, None);
    let next = fixture.run(second.id).await.promoted;
    assert_eq!(next.map(|head| head.operation.id), Some(third.id));
}

/// Operations that are not Completed stay.
pub async fn only_completed_operations_can_be_deleted(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    let refused = fixture.event(fresh.id, Event::Delete, Guard::None).await;
    assert!(matches!(refused, Applied::Refused(_)), "{refused:?}");
    assert_eq!(fixture.read(fresh.id).await.header, fresh.header);
}

//! Listings: filters, order, and cursors over several partitions.

use std::collections::BTreeSet;

use drumline_backend::store::{Filter, Guard, Page};
use drumline_protocol::{
    Event, OperationId, OperationType, Organization, Partition, State, Status, Timestamp,
};

use crate::StoreHarness;
use crate::fixtures::{Draft, Fixture, chain_key, independent, of_token};

/// Newest first over all partitions, in pages, each operation once.
pub async fn pages_cover_everything_once_newest_first(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut expected = BTreeSet::new();
    for number in 0..60 {
        expected.insert(fixture.create(spread(&fixture, number)).await.id);
    }
    // Some of them in other states.
    for (number, id) in expected.iter().enumerate() {
        match number % 4 {
            0 => drop(fixture.client(*id, Event::Pause).await),
            1 => drop(fixture.client(*id, Event::Cancel).await),
            2 => drop(fixture.claim(*id).await),
            _ => {}
        }
    }
    let newest_first: Vec<_> = expected.into_iter().rev().collect();
    for limit in [1, 7, 60, 500] {
        let found = all_pages(&fixture, &Filter::default(), limit).await;
        assert_eq!(found, newest_first, "in pages of {limit}");
    }
}

/// An empty store has an empty list.
pub async fn nothing_lists_as_nothing(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    assert!(all_pages(&fixture, &Filter::default(), 10).await.is_empty());
}

/// Operations that are created during a listing are newer than all of its
/// pages.
pub async fn a_cursor_is_stable_while_others_create(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut expected = BTreeSet::new();
    for number in 0..20 {
        expected.insert(fixture.create(spread(&fixture, number)).await.id);
    }
    let filter = Filter::default();
    let mut page = list(&fixture, &filter, None, 6).await;
    let mut found: Vec<_> = page.operations.iter().map(|one| one.id).collect();
    let oldest_created = found.last().copied().expect("a page").created();
    while let Some(before) = page.next {
        // Ids of one millisecond are in no order: wait for a newer one.
        while fixture.store.now() <= oldest_created {
            tokio::task::yield_now().await;
        }
        fixture.create(spread(&fixture, 1)).await;
        page = list(&fixture, &filter, Some(before), 6).await;
        found.extend(page.operations.iter().map(|one| one.id));
    }
    let newest_first: Vec<_> = expected.into_iter().rev().collect();
    assert_eq!(found, newest_first);
}

/// An operation that changes its state during a listing is in the same index no
/// more. It is listed all the same, once, and hides no other.
pub async fn a_listing_shows_each_once_while_they_change(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut expected = BTreeSet::new();
    for _ in 0..80 {
        // All in one partition: its indexes are longer than one look.
        expected.insert(fixture.create(independent()).await.id);
    }
    let newest_first: Vec<_> = expected.into_iter().rev().collect();
    let mut found: Vec<OperationId> = Vec::new();
    let mut before = None;
    loop {
        let page = list(&fixture, &Filter::default(), before, 5).await;
        found.extend(page.operations.iter().map(|one| one.id));
        before = page.next;
        if before.is_none() {
            break;
        }
        // On both sides of the cursor, a few more each time.
        let turn = found.len() / 5;
        for (number, id) in newest_first.iter().enumerate() {
            match (number + turn) % 16 {
                0 => drop(fixture.event(*id, Event::Pause, Guard::None).await),
                1 => drop(fixture.event(*id, Event::Cancel, Guard::None).await),
                2 => drop(fixture.event(*id, Event::Resume, Guard::None).await),
                3 => drop(fixture.try_claim(*id).await),
                _ => {}
            }
        }
    }
    assert_eq!(found, newest_first);
}

/// Each condition selects, and several must all hold.
pub async fn filters_select(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let correlation_id = fixture.ids.uuid();
    let old = fixture.create(of_token("a")).await.id;
    let wanted = {
        let mut draft = of_token("a");
        draft.name = "Löhne".to_owned();
        draft.message_name = "PayOut".to_owned();
        draft.operation_type = OperationType(203);
        draft.correlation_id = Some(correlation_id);
        fixture.create(draft).await.id
    };
    let mut other = independent();
    other.name = "löhne".to_owned();
    let other = fixture.create(other).await.id;
    fixture.client(wanted, Event::Pause).await;
    fixture.client(other, Event::Cancel).await;

    let none = Filter::default();
    let by = |change: &dyn Fn(&mut Filter)| {
        let mut filter = none.clone();
        change(&mut filter);
        filter
    };
    let chain = chain_key(&Organization::default(), "a");
    let created = fixture.read(old).await.body.created_on;
    let before = Timestamp::from_millis(created.as_millis() - 1);
    let long_after = Timestamp::from_millis(created.as_millis() + 3_600_000);
    let cases = [
        (by(&|f| f.name = Some("Löhne".to_owned())), vec![wanted]),
        (by(&|f| f.name = Some("Löhn".to_owned())), vec![]),
        (
            by(&|f| f.message_name = Some("PayOut".to_owned())),
            vec![wanted],
        ),
        (
            by(&|f| f.operation_type = Some(OperationType(203))),
            vec![wanted],
        ),
        (
            by(&|f| f.correlation_id = Some(correlation_id)),
            vec![wanted],
        ),
        (by(&|f| f.chain = Some(chain)), vec![wanted, old]),
        (by(&|f| f.state = Some(State::Ready)), vec![old]),
        (by(&|f| f.state = Some(State::Suspended)), vec![wanted]),
        (by(&|f| f.state = Some(State::Locked)), vec![]),
        (by(&|f| f.status = Some(Status::Canceled)), vec![other]),
        (by(&|f| f.status = Some(Status::Failed)), vec![]),
        (
            by(&|f| f.created_after = Some(before)),
            vec![other, wanted, old],
        ),
        (by(&|f| f.created_after = Some(long_after)), vec![]),
        (
            by(&|f| {
                f.chain = Some(chain);
                f.state = Some(State::Ready);
            }),
            vec![old],
        ),
        (
            by(&|f| {
                f.state = Some(State::Ready);
                f.status = Some(Status::Canceled);
            }),
            vec![],
        ),
    ];
    for (filter, mut expected) in cases {
        expected.sort_unstable_by(|a, b| b.cmp(a));
        let found = all_pages(&fixture, &filter, 2).await;
        assert_eq!(found, expected, "{filter:?}");
    }
}

/// A search for a rare value gets there, however many short pages it takes.
pub async fn a_rare_one_is_found_behind_many_others(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let rare = {
        let mut draft = independent();
        draft.name = "rare".to_owned();
        fixture.create(draft).await.id
    };
    while fixture.store.now() <= rare.created() {
        tokio::task::yield_now().await;
    }
    for _ in 0..8 {
        let batch = (0..50).map(|number| fixture.prepare(spread(&fixture, number)));
        fixture.store_all(batch.collect()).await;
    }
    let filter = Filter {
        name: Some("rare".to_owned()),
        ..Filter::default()
    };
    assert_eq!(all_pages(&fixture, &filter, 1).await, [rare]);
}

/// A listing shows operations as they are now, whole.
pub async fn a_listing_shows_whole_operations(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let id = fixture.create(of_token("a")).await.id;
    fixture.run(id).await;
    let filter = Filter {
        state: Some(State::Completed),
        ..Filter::default()
    };
    let page = list(&fixture, &filter, None, 10).await;
    assert_eq!(page.operations, [fixture.read(id).await]);
}

/// Every state is counted, over all partitions.
pub async fn every_state_is_counted(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(fixture.create(spread(&fixture, number)).await.id);
    }
    for id in ids.iter().take(4) {
        fixture.run(*id).await;
    }
    for id in ids.iter().skip(4).take(3) {
        fixture.client(*id, Event::Pause).await;
    }
    for id in ids.iter().skip(7).take(1) {
        fixture.claim(*id).await;
    }
    let counts = fixture.store.counts().await.expect("counts");
    assert_eq!(counts.completed, 4);
    assert_eq!(counts.suspended, 3);
    assert_eq!(counts.locked, 1);
    assert_eq!(counts.ready, 2);
    assert_eq!(counts.undispatched, 2);
}

/// An independent operation, each in another partition.
fn spread(fixture: &Fixture, number: u16) -> Draft {
    Draft {
        partition: Partition::new(number % fixture.store.partitions().get()),
        ..independent()
    }
}

async fn list(
    fixture: &Fixture,
    filter: &Filter,
    before: Option<OperationId>,
    limit: usize,
) -> Page {
    let page = fixture
        .store
        .list(filter, before, limit)
        .await
        .expect("list");
    assert!(page.operations.len() <= limit);
    page
}

/// Turns all pages.
pub(crate) async fn all_pages(
    fixture: &Fixture,
    filter: &Filter,
    limit: usize,
) -> Vec<OperationId> {
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let page = list(fixture, filter, before, limit).await;
        found.extend(page.operations.iter().map(|one| one.id));
        if let (Some(before), Some(next)) = (before, page.next) {
            assert!(next < before, "the cursor moves on");
        }
        before = page.next;
        if before.is_none() {
            return found;
        }
    }
}

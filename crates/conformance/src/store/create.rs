//! Create: the stored parts, the offer, and a second try.

use std::time::Duration;

use drumline_backend::store::Created;
use drumline_protocol::{OperationType, Partition, Report, State};
use tokio::task::JoinSet;

use crate::StoreHarness;
use crate::fixtures::{Fixture, independent, of_token};

/// Header and body come back as they were given.
pub async fn an_operation_is_read_back_as_it_was_given(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut draft = of_token("Zürich \u{0} {17} \r\n*");
    draft.name = "Überweisung".to_owned();
    draft.operation_type = OperationType(203);
    draft.data = Some(format!(r#"{{"text":"{}"}}"#, "ä".repeat(100_000)));
    draft.at_most_once = true;
    let new = fixture.prepare(draft);
    let fresh = fixture.store_new(new.clone()).await;
    for process in [&fixture, &fixture.another(harness).await] {
        let found = process.read(fresh.id).await;
        assert_eq!(found.id, new.id);
        assert_eq!(found.header, new.header);
        assert_eq!(found.body, new.body);
        assert_eq!(found.report, Report::default());
        assert_eq!(found.sequence, fresh.sequence);
    }
}

/// An operation that was never created is not found, and disturbs no other.
pub async fn an_unknown_operation_is_not_found(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let unknown = fixture.prepare(independent()).id;
    let known = fixture.create(independent()).await.id;
    let found = fixture.store.get(&[unknown, known]).await.expect("get");
    assert_eq!(
        found.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, true]
    );
    assert!(fixture.store.get(&[]).await.expect("get").is_empty());
}

/// An operation without a token may run at once.
pub async fn an_independent_operation_is_offered_at_once(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let fresh = fixture.create(independent()).await;
    assert!(fresh.offer.is_some());
    assert_eq!(fixture.entry(fresh.id).await, fresh.offer);
}

/// Only the head of a chain travels; the others are parked.
pub async fn of_a_chain_only_the_head_is_offered(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let first = fixture.create(of_token("a")).await;
    let second = fixture.create(of_token("a")).await;
    assert!(first.offer.is_some());
    assert_eq!(second.offer, None);
    assert_eq!(
        fixture.read(second.id).await.header.status.state(),
        State::Ready
    );
    assert_eq!(
        fixture.outbox_entries(first.id.partition()).await,
        [(first.id, first.offer.expect("it is the head"))]
    );
}

/// A postponed operation waits, and holds its place in the chain.
pub async fn a_postponed_operation_is_not_offered_and_holds_its_place(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut draft = of_token("a");
    draft.postponed_by = Some(Duration::from_secs(3_600));
    let first = fixture.create(draft).await;
    let second = fixture.create(of_token("a")).await;
    assert_eq!((first.offer, second.offer), (None, None));
    assert!(
        fixture
            .outbox_entries(first.id.partition())
            .await
            .is_empty()
    );
    let found = fixture.read(first.id).await.header;
    assert_eq!(found.status.state(), State::Suspended);
}

/// A create that is repeated after an unclear answer stores nothing twice and
/// answers the same.
pub async fn a_repeated_create_is_answered_like_the_first(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let other = fixture.another(harness).await;
    let new = fixture.prepare(of_token("a"));
    let first = fixture.store_new(new.clone()).await;
    let again = other.store_new(new).await;
    assert_eq!(again.sequence, first.sequence);
    assert_eq!(again.offer, first.offer);
    assert_eq!(fixture.store.counts().await.expect("counts").ready, 1);
    // Stored twice, it would be its own successor.
    assert!(fixture.run(first.id).await.promoted.is_none());
}

/// A second create under one id, by another caller, gets the first operation.
pub async fn another_create_of_the_same_id_gets_the_first_operation(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut new = fixture.prepare(of_token("a"));
    let first = fixture.store_new(new.clone()).await;
    new.header.commit = fixture.ids.commit();
    new.body.name = "another".to_owned();
    let answers = fixture.store.create(vec![new]).await.expect("create");
    let [Created::Exists(found)] = answers.as_slice() else {
        panic!("expected the first one: {answers:?}");
    };
    assert_eq!(**found, fixture.read(first.id).await);
    assert_eq!(found.body.name, "a name");
}

/// A batch is stored in the order in which it was given.
pub async fn a_batch_keeps_its_order(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut batch = Vec::new();
    for number in 0_u16..40 {
        // Two chains and independents, all mixed.
        let mut draft = match number % 3 {
            0 => of_token("a"),
            1 => of_token("b"),
            _ => independent(),
        };
        draft.partition = Partition::new(number % 4);
        batch.push(fixture.prepare(draft));
    }
    let fresh = fixture.store_all(batch).await;
    for token in [0, 1] {
        let chain: Vec<_> = fresh.iter().skip(token).step_by(3).collect();
        assert!(chain.is_sorted_by(|a, b| a.sequence < b.sequence));
        let offered: Vec<_> = chain.iter().map(|one| one.offer.is_some()).collect();
        assert_eq!(offered.iter().filter(|offered| **offered).count(), 1);
        assert_eq!(offered.first(), Some(&true));
    }
    assert!(
        fresh
            .iter()
            .skip(2)
            .step_by(3)
            .all(|one| one.offer.is_some())
    );
}

/// Several managers create for one token at once: there is one order, one head,
/// and no operation is lost.
pub async fn concurrent_creates_of_one_token_make_one_chain(harness: &dyn StoreHarness) {
    const MANAGERS: usize = 4;
    const EACH: usize = 15;
    let fixture = Fixture::new(harness).await;
    let mut tasks = JoinSet::new();
    for _ in 0..MANAGERS {
        let manager = fixture.another(harness).await;
        tasks.spawn(async move {
            let mut created = Vec::new();
            for _ in 0..EACH {
                created.push(manager.create(of_token("a")).await);
            }
            created
        });
    }
    let by_manager = tasks.join_all().await;
    for created in &by_manager {
        // Creates that one manager made earlier come earlier.
        assert!(created.is_sorted_by(|a, b| a.sequence < b.sequence));
    }
    let mut chain: Vec<_> = by_manager.into_iter().flatten().collect();
    chain.sort_by_key(|one| one.sequence);
    assert!(
        chain.is_sorted_by(|a, b| a.sequence < b.sequence),
        "no two alike"
    );
    let heads = chain.iter().filter(|one| one.offer.is_some()).count();
    assert_eq!(heads, 1);

    let mut next = chain.first().map(|one| one.id);
    let mut ran = Vec::new();
    while let Some(id) = next {
        ran.push(id);
        next = fixture.run(id).await.promoted.map(|head| head.operation.id);
    }
    let order: Vec<_> = chain.iter().map(|one| one.id).collect();
    assert_eq!(ran, order);
}

//! Further indexes: a listing by a value costs a page, whatever else the store
//! holds.

mod values;

use std::collections::BTreeSet;
use std::time::Duration;

use drumline_backend::store::{Filter, Guard, NewOperation, Page, Transacted};
use drumline_protocol::{
    Event, OperationId, Organization, Partition, QueueName, State, Status, Timestamp,
};
use uuid::Uuid;

use self::values::cases;
use super::listing::all_pages;
use super::series::occur;
use crate::StoreHarness;
use crate::fixtures::{Draft, Fixture, chain_key, fault, independent};

/// More operations than any store looks at in one call.
const CROWD: usize = 5_000;
/// Operations in one create.
const BATCH: usize = 500;

/// An index lists every operation with the value, newest first, and none of
/// another value or organization.
pub async fn an_index_lists_its_value_only(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let elsewhere = Organization("elsewhere".to_owned());
    for case in cases(&fixture) {
        let mut expected = BTreeSet::new();
        let mut theirs = BTreeSet::new();
        for number in 0..30 {
            let mine = spread(&fixture, number, case.draft.clone());
            expected.insert(fixture.create(mine).await.id);
            fixture
                .create(spread(&fixture, number, independent()))
                .await;
            let other = Draft {
                organization: elsewhere.clone(),
                ..spread(&fixture, number, case.draft.clone())
            };
            theirs.insert(fixture.create(other).await.id);
        }
        let newest_first: Vec<_> = expected.into_iter().rev().collect();
        for limit in [1, 7, 500] {
            let found = all_pages(&fixture, &case.filter, limit).await;
            assert_eq!(found, newest_first, "{} in pages of {limit}", case.what);
        }
        let filter = Filter {
            organization: Some(elsewhere.clone()),
            chain: case.filter.chain.map(|_| chain_key(&elsewhere, "a")),
            ..case.filter
        };
        let found: BTreeSet<_> = all_pages(&fixture, &filter, 7).await.into_iter().collect();
        assert_eq!(found, theirs, "{} of another organization", case.what);
    }
}

/// One call finds the only operation with a value, however many newer ones
/// there are without it.
pub async fn a_rare_value_is_found_in_one_call(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let cases = cases(&fixture);
    let mut rare = Vec::new();
    for case in &cases {
        rare.push(fixture.create(case.draft.clone()).await.id);
    }
    crowd(&fixture, &independent()).await;
    for (case, id) in cases.iter().zip(rare) {
        let page = one_page(&fixture, &case.filter).await;
        assert_eq!(ids(&page), [id], "{}", case.what);
        assert_eq!(page.next, None, "{}: one call saw all of it", case.what);
        let nowhere = Filter {
            organization: Some(Organization("elsewhere".to_owned())),
            chain: None,
            owner: Some("anna".to_owned()),
            ..case.filter.clone()
        };
        let page = one_page(&fixture, &nowhere).await;
        assert_eq!((ids(&page), page.next), (vec![], None), "{}", case.what);
    }
}

/// Of several conditions the one that selects the fewest decides what is looked
/// at; the others are compared with the records.
pub async fn of_several_conditions_the_rarest_is_searched(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let common = Draft {
        name: "common".to_owned(),
        message_name: "Common".to_owned(),
        ..independent()
    };
    let rare = Draft {
        owner: "anna".to_owned(),
        ..common.clone()
    };
    let id = fixture.create(rare).await.id;
    let other = Draft {
        owner: "anna".to_owned(),
        ..independent()
    };
    fixture.create(other).await;
    crowd(&fixture, &common).await;
    let filter = Filter {
        name: Some("common".to_owned()),
        message_name: Some("Common".to_owned()),
        owner: Some("anna".to_owned()),
        queue: Some(QueueName::default()),
        organization: Some(Organization::default()),
        ..Filter::default()
    };
    let page = one_page(&fixture, &filter).await;
    assert_eq!((ids(&page), page.next), (vec![id], None));

    // A state that few are in is rarer than a common value.
    fixture.client(id, Event::Pause).await;
    let filter = Filter {
        name: Some("common".to_owned()),
        state: Some(State::Suspended),
        organization: Some(Organization::default()),
        ..Filter::default()
    };
    let page = one_page(&fixture, &filter).await;
    assert_eq!((ids(&page), page.next), (vec![id], None));
}

/// Pages have neither gap nor double while the operations move between states.
pub async fn an_index_shows_each_once_while_they_change(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for case in cases(&fixture) {
        let mut expected = BTreeSet::new();
        for _ in 0..80 {
            expected.insert(fixture.create(case.draft.clone()).await.id);
        }
        let newest_first: Vec<_> = expected.into_iter().rev().collect();
        let mut found: Vec<OperationId> = Vec::new();
        let mut before = None;
        loop {
            let page = fixture.store.list(&case.filter, before, 5).await;
            let page = page.expect("list");
            found.extend(ids(&page));
            before = page.next;
            if before.is_none() {
                break;
            }
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
        assert_eq!(found, newest_first, "{}", case.what);
    }
}

/// A message name and a state, or a status: each step moves the operation on,
/// Locked included.
pub async fn a_message_name_is_listed_by_status(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let draft = Draft {
        message_name: "PayOut".to_owned(),
        ..independent()
    };
    let other = fixture.create(independent()).await.id;
    fixture.claim(other).await;
    let statuses = [
        Status::WaitingForResources,
        Status::Waiting,
        Status::InProgress,
        Status::Succeeded,
        Status::Failed,
        Status::Canceled,
    ];
    let mut expected = Vec::new();
    for (number, status) in (0..).zip(statuses) {
        let id = fixture
            .create(spread(&fixture, number, draft.clone()))
            .await
            .id;
        match status {
            Status::WaitingForResources => {}
            Status::Waiting => drop(fixture.client(id, Event::Pause).await),
            Status::InProgress | Status::Pausing | Status::Canceling => {
                fixture.claim(id).await;
            }
            Status::Succeeded => drop(fixture.run(id).await),
            Status::Failed => fail(&fixture, id).await,
            Status::Canceled => drop(fixture.client(id, Event::Cancel).await),
        }
        expected.push(id);
    }
    let by_name = Filter {
        message_name: Some("PayOut".to_owned()),
        organization: Some(Organization::default()),
        ..Filter::default()
    };
    for (status, id) in statuses.into_iter().zip(&expected) {
        let by_status = with_status(&by_name, status);
        assert_eq!(
            all_pages(&fixture, &by_status, 2).await,
            [*id],
            "{status:?}"
        );
        let by_state = with_state(&by_name, status.state());
        let found = all_pages(&fixture, &by_state, 2).await;
        assert!(found.contains(id), "{status:?} by its state: {found:?}");
    }
    let completed = with_state(&by_name, State::Completed);
    let [.., succeeded, failed, canceled] = expected.as_slice() else {
        panic!("one of each");
    };
    assert_eq!(
        all_pages(&fixture, &completed, 2).await,
        newest_first(&[*succeeded, *failed, *canceled])
    );
    assert_eq!(
        all_pages(&fixture, &by_name, 2).await,
        newest_first(&expected)
    );
    // Back and forth: the last shelf counts.
    let back = expected[1];
    fixture.client(back, Event::Resume).await;
    fixture.client(back, Event::Pause).await;
    fixture.client(back, Event::Resume).await;
    let ready = with_state(&by_name, State::Ready);
    assert_eq!(
        all_pages(&fixture, &ready, 2).await,
        newest_first(&expected[..2])
    );
    let suspended = with_state(&by_name, State::Suspended);
    assert!(all_pages(&fixture, &suspended, 2).await.is_empty());
}

/// The Failed operations of an organization are found in one call, however many
/// have Succeeded and whatever other organizations do.
pub async fn failures_are_listed_by_organization(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let failed = fixture.create(independent()).await.id;
    fail(&fixture, failed).await;
    let canceled = fixture.create(independent()).await.id;
    fixture.client(canceled, Event::Cancel).await;
    let elsewhere = Draft {
        organization: Organization("elsewhere".to_owned()),
        ..independent()
    };
    let theirs = fixture.create(elsewhere).await.id;
    fail(&fixture, theirs).await;
    crowd(&fixture, &independent()).await;
    let all = Filter {
        organization: Some(Organization::default()),
        ..Filter::default()
    };
    for (status, id) in [(Status::Failed, failed), (Status::Canceled, canceled)] {
        let page = one_page(&fixture, &with_status(&all, status)).await;
        assert_eq!((ids(&page), page.next), (vec![id], None), "{status:?}");
    }
    let filter = Filter {
        status: Some(Status::Failed),
        organization: Some(Organization("elsewhere".to_owned())),
        ..Filter::default()
    };
    let page = one_page(&fixture, &filter).await;
    assert_eq!((ids(&page), page.next), (vec![theirs], None));
}

/// A removal takes the operation out of every index, and leaves the others.
pub async fn a_removed_operation_is_in_no_index(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for case in cases(&fixture) {
        let mut left = Vec::new();
        for ends in 0..3 {
            let gone = fixture.create(case.draft.clone()).await.id;
            let stays = fixture.create(case.draft.clone()).await.id;
            for id in [gone, stays] {
                match ends {
                    0 => drop(fixture.run(id).await),
                    1 => fail(&fixture, id).await,
                    _ => drop(fixture.client(id, Event::Cancel).await),
                }
            }
            fixture.client(gone, Event::Delete).await;
            left.push(stays);
        }
        let found = all_pages(&fixture, &case.filter, 2).await;
        assert_eq!(found, newest_first(&left), "{}", case.what);
        for id in left {
            fixture.client(id, Event::Delete).await;
        }
        let page = one_page(&fixture, &case.filter).await;
        assert_eq!((ids(&page), page.next), (vec![], None), "{}", case.what);
    }
}

/// The creates of a transaction enter the indexes, over several partitions.
pub async fn a_transaction_enters_the_indexes(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for case in cases(&fixture) {
        let moved = fixture.create(case.draft.clone()).await;
        let creates: Vec<NewOperation> = (0..4)
            .map(|number| {
                let mut draft = spread(&fixture, number, case.draft.clone());
                if !fixture.store.spreads_transactions() {
                    draft.partition = moved.id.partition();
                }
                fixture.prepare(draft)
            })
            .collect();
        let mut expected: Vec<_> = creates.iter().map(|new| new.id).collect();
        expected.push(moved.id);
        let pause =
            super::commit::commit(&fixture, moved.id, &moved.header, Event::Pause, Guard::None);
        let answer = fixture.store.transact(creates, vec![pause]).await;
        let answer = answer.expect("transact");
        assert!(matches!(answer, Transacted::Done { .. }), "{answer:?}");
        let found = all_pages(&fixture, &case.filter, 2).await;
        assert_eq!(found, newest_first(&expected), "{}", case.what);
        let suspended = with_state(&case.filter, State::Suspended);
        let found = all_pages(&fixture, &suspended, 2).await;
        assert_eq!(found, [moved.id], "{}", case.what);
    }
}

/// An occurrence is in the indexes beside its series.
pub async fn an_occurrence_enters_the_indexes(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    for case in cases(&fixture) {
        let past = Timestamp::from_millis(fixture.store.now().as_millis() - 1_000);
        let series = fixture.prepare_series(case.draft.clone(), Some(past));
        let series = fixture.store_new(series).await;
        let first = fixture.prepare(Draft {
            partition: series.id.partition(),
            ..case.draft.clone()
        });
        let later = fixture.store.now();
        let later = later.saturating_add(Duration::from_secs(3_600));
        let answer = occur(&fixture, series.id, &series.header, &first, Some(later)).await;
        assert!(matches!(answer, Transacted::Done { .. }), "{answer:?}");
        let found = all_pages(&fixture, &case.filter, 2).await;
        // A series is in no chain: its occurrences are.
        let expected = match case.filter.chain {
            Some(_) => vec![first.id],
            None => newest_first(&[series.id, first.id]),
        };
        assert_eq!(found, expected, "{}", case.what);
    }
}

/// An operation whose correlation id is its own id is found by it, and those
/// that belong to it are listed with it.
pub async fn an_operation_is_found_by_its_own_id_as_correlation_id(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut root = fixture.prepare(independent());
    let own = Uuid::from_bytes(*root.id.as_bytes());
    root.body.correlation_id = own;
    let root = fixture.store_new(root).await.id;
    let mut expected = vec![root];
    for number in 0..5 {
        let child = Draft {
            correlation_id: Some(own),
            ..spread(&fixture, number, independent())
        };
        expected.push(fixture.create(child).await.id);
    }
    crowd(&fixture, &independent()).await;
    let filter = Filter {
        correlation_id: Some(own),
        organization: Some(Organization::default()),
        ..Filter::default()
    };
    for limit in [1, 2, 500] {
        let found = all_pages(&fixture, &filter, limit).await;
        assert_eq!(found, newest_first(&expected), "in pages of {limit}");
    }
    let elsewhere = Filter {
        organization: Some(Organization("elsewhere".to_owned())),
        ..filter
    };
    assert!(all_pages(&fixture, &elsewhere, 2).await.is_empty());
}

/// Creates more operations than one call looks at, in every partition.
async fn crowd(fixture: &Fixture, draft: &Draft) {
    for start in (0..CROWD).step_by(BATCH) {
        let batch = (start..start + BATCH).map(|number| {
            let number = u16::try_from(number).expect("a small number");
            fixture.prepare(spread(fixture, number, draft.clone()))
        });
        fixture.store_all(batch.collect()).await;
    }
}

async fn fail(fixture: &Fixture, id: OperationId) {
    let fence = fixture.claim(id).await;
    let event = Event::Fail(fault());
    drop(fixture.holder(id, fence, event).await);
}

async fn one_page(fixture: &Fixture, filter: &Filter) -> Page {
    fixture.store.list(filter, None, 50).await.expect("list")
}

fn ids(page: &Page) -> Vec<OperationId> {
    page.operations.iter().map(|one| one.id).collect()
}

fn newest_first(ids: &[OperationId]) -> Vec<OperationId> {
    let sorted: BTreeSet<_> = ids.iter().copied().collect();
    sorted.into_iter().rev().collect()
}

fn with_state(filter: &Filter, state: State) -> Filter {
    Filter {
        state: Some(state),
        ..filter.clone()
    }
}

fn with_status(filter: &Filter, status: Status) -> Filter {
    Filter {
        status: Some(status),
        ..filter.clone()
    }
}

/// The draft in another partition, if it has no token.
fn spread(fixture: &Fixture, number: u16, draft: Draft) -> Draft {
    Draft {
        partition: Partition::new(number % fixture.store.partitions().get()),
        ..draft
    }
}

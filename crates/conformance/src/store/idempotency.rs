//! Idempotency keys: of all requests with one key, one decides the id.

use std::time::Duration;

use drumline_backend::store::{
    Commit, Committed, Created, Error, Guard, IdempotencyKey, NewOperation, Reservation, Reserved,
};
use drumline_protocol::OperationId;
use drumline_protocol::transition::{At, Event, apply};
use tokio::task::JoinSet;

use crate::StoreHarness;
use crate::fixtures::{Fixture, Fresh, author_of, independent, of_token};
use crate::wait::eventually;

/// A span that is later than any case looks.
const HOUR: Duration = Duration::from_secs(3_600);

/// Requests race for a key through several managers: all get the same answer.
pub async fn racing_reservations_agree(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut tasks = JoinSet::new();
    for number in 0..10 {
        let manager = fixture.another(harness).await;
        tasks.spawn(async move {
            let mine = reservation(&manager, [7; 16], number);
            let held = manager.store.reserve(&[mine]).await;
            (mine.reserved, held.expect("reserve"))
        });
    }
    let answers = tasks.join_all().await;
    let (_, held) = &answers[0];
    assert!(answers.iter().all(|(_, answer)| answer == held));
    let winners = answers.iter().filter(|(mine, held)| [*mine] == **held);
    assert_eq!(winners.count(), 1);
}

/// A repetition gets the first reservation, another key its own, also in one
/// call.
pub async fn a_key_stays_reserved(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let (first, second) = ([0; 16], [1; 16]);
    let wanted = [
        reservation(&fixture, first, 1),
        reservation(&fixture, first, 2),
        reservation(&fixture, second, 2),
    ];
    let held = fixture.store.reserve(&wanted).await.expect("reserve");
    let [a, _, b] = wanted.map(|one| one.reserved);
    assert_eq!(held, [a, a, b]);
    let mixed = Reservation {
        reserved: Reserved {
            content: [2; 16],
            ..a
        },
        ..wanted[0]
    };
    let held = fixture.store.reserve(&[mixed]).await.expect("reserve");
    assert_eq!(held, [a], "as it was reserved");
}

/// A reservation is kept for the time that was asked for, not for ever.
pub async fn a_reservation_ends(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let keep = Duration::from_millis(100);
    let short = |content| Reservation {
        keep,
        ..reservation(&fixture, [0; 16], content)
    };
    let (first, second) = (short(1), short(2));
    let held = fixture.store.reserve(&[first]).await.expect("reserve");
    assert_eq!(held, [first.reserved]);
    eventually("it ends", async || {
        let held = fixture.store.reserve(&[second]).await.expect("reserve");
        (held == [second.reserved]).then_some(())
    })
    .await;
}

/// Creates with one key race through several managers, each with an id of its
/// own: one operation is created, and all are told its id.
pub async fn racing_creates_with_a_key_create_one_operation(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let manager = fixture.another(harness).await;
        tasks.spawn(async move {
            let new = keyed(&manager, 1, 1);
            (manager.store.create(vec![new]).await.expect("create")).remove(0)
        });
    }
    let answers = tasks.join_all().await;
    let is_new = |answer: &&Created| matches!(answer, Created::New { .. });
    assert_eq!(answers.iter().filter(is_new).count(), 1, "{answers:?}");
    let ids: Vec<OperationId> = answers.iter().map(id_of).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(fixture.store.counts().await.expect("counts").ready, 1);
}

/// In one list, the second create with a key finds the operation of the first,
/// one of another content is refused, and one with another key is created.
pub async fn a_list_uses_each_key_once(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let list = vec![
        keyed(&fixture, 1, 1),
        keyed(&fixture, 1, 1),
        keyed(&fixture, 1, 2),
        keyed(&fixture, 2, 1),
        fixture.prepare(independent()),
    ];
    let first = list[0].id;
    let answers = fixture.store.create(list.clone()).await.expect("create");
    let [one, again, other_content, other_key, without] = answers.as_slice() else {
        panic!("{answers:?}");
    };
    assert!(matches!(one, Created::New { id, .. } if *id == first));
    assert!(matches!(again, Created::Exists(found) if found.id == first));
    assert!(matches!(other_content, Created::KeyReused));
    assert!(matches!(other_key, Created::New { .. }));
    assert!(matches!(without, Created::New { .. }));
    assert_eq!(fixture.store.counts().await.expect("counts").ready, 3);
    // The whole list again: each create is recognised as its own first try.
    let again = fixture.store.create(list).await.expect("create");
    let told = |answers: &[Created]| answers.iter().map(said).collect::<Vec<_>>();
    assert_eq!(told(&again), told(&answers));
}

/// A key that was reserved for an operation that was never created: a later
/// create makes that operation, with the reserved id.
pub async fn a_reserved_id_is_the_one_that_is_created(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let (planned, later) = (keyed(&fixture, 1, 1), keyed(&fixture, 1, 1));
    let wanted = planned.key.expect("a key");
    fixture.store.reserve(&[wanted]).await.expect("reserve");
    let answers = fixture.store.create(vec![later.clone()]).await;
    let created = answers.expect("create").remove(0);
    assert!(
        matches!(created, Created::New { id, offer: Some(_), .. } if id == planned.id),
        "{created:?}"
    );
    assert_eq!(fixture.read(planned.id).await.body, later.body);
    let found = fixture.store.get(&[later.id]).await.expect("get");
    assert!(found[0].is_none());
}

/// An operation that was removed is not created again by its key.
pub async fn the_key_of_a_removed_operation_is_spent(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let new = keyed(&fixture, 1, 1);
    let id = new.id;
    let fresh = fixture.store_new(new).await;
    assert_eq!(
        fixture.store.were_removed(&[id]).await.expect("ask"),
        [false]
    );
    let header = change(&fixture, &fresh, Event::Cancel).await;
    change(&fixture, &Fresh { header, ..fresh }, Event::Delete).await;
    assert_eq!(
        fixture.store.were_removed(&[id]).await.expect("ask"),
        [true]
    );
    let again = keyed(&fixture, 1, 1);
    let answers = fixture.store.create(vec![again]).await.expect("create");
    assert!(
        matches!(answers.as_slice(), [Created::KeySpent(spent)] if *spent == id),
        "{answers:?}"
    );
    assert_eq!(fixture.store.counts().await.expect("counts").ready, 0);
}

/// A key of another partition than its operation is refused, and nothing is
/// stored: the two could not be written in one step.
pub async fn a_key_of_another_partition_is_unfit(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let key = keyed(&fixture, 1, 1).key.expect("a key").key;
    let own = key.partition(fixture.store.partitions());
    let tokens = (0..100).map(|number| fixture.prepare(of_token(&number.to_string())));
    let is_elsewhere = |new: &NewOperation| new.id.partition() != own;
    let elsewhere = tokens
        .into_iter()
        .find(is_elsewhere)
        .expect("another partition");
    let new = NewOperation {
        key: Some(Reservation {
            key,
            reserved: Reserved {
                id: elsewhere.id,
                content: [1; 16],
            },
            keep: HOUR,
        }),
        ..elsewhere
    };
    let refused = fixture.store.create(vec![new]).await;
    assert!(matches!(refused, Err(Error::Unfit(_))), "{refused:?}");
    assert_eq!(fixture.store.counts().await.expect("counts").ready, 0);
}

/// An operation whose key was used, as the queue manager creates it: both are
/// of one partition.
fn keyed(fixture: &Fixture, key: u8, content: u8) -> NewOperation {
    let key = IdempotencyKey([key; 16]);
    let mut draft = independent();
    draft.partition = key.partition(fixture.store.partitions());
    let new = fixture.prepare(draft);
    let reserved = Reserved {
        id: new.id,
        content: [content; 16],
    };
    NewOperation {
        key: Some(Reservation {
            key,
            reserved,
            keep: HOUR,
        }),
        ..new
    }
}

pub(crate) fn reservation(fixture: &Fixture, key: [u8; 16], content: u8) -> Reservation {
    Reservation {
        key: IdempotencyKey(key),
        reserved: Reserved {
            id: fixture.prepare(independent()).id,
            content: [content; 16],
        },
        keep: HOUR,
    }
}

async fn change(fixture: &Fixture, fresh: &Fresh, event: Event) -> drumline_protocol::Header {
    let at = At {
        now: fixture.store.now(),
        commit: fixture.ids.commit(),
    };
    let transition = apply(&fresh.header, event, at).expect("legal");
    let mut commit = Commit::new(
        fresh.id,
        &fresh.header,
        &transition,
        Guard::None,
        &author_of(Guard::None),
    );
    commit.remember = HOUR;
    let made = fixture.store.commit(vec![commit]).await.expect("commit");
    assert!(matches!(made.as_slice(), [Committed::Done(_)]), "{made:?}");
    transition.header
}

fn id_of(created: &Created) -> OperationId {
    match created {
        Created::New { id, .. } | Created::KeySpent(id) => *id,
        Created::Exists(found) => found.id,
        Created::Unreadable(_) | Created::KeyReused => panic!("{created:?}"),
    }
}

/// The answer without what may differ between two tries.
fn said(created: &Created) -> (&'static str, Option<OperationId>) {
    match created {
        Created::New { id, .. } => ("new", Some(*id)),
        Created::Exists(found) => ("exists", Some(found.id)),
        Created::Unreadable(_) => ("unreadable", None),
        Created::KeySpent(id) => ("spent", Some(*id)),
        Created::KeyReused => ("reused", None),
    }
}

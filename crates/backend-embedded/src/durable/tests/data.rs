//! Data that are on the disk alone. The limits of what stays in memory are low in tests, so
//! that the whole suite and the walks read the disk, too.

use drumline_backend::Ids;
use drumline_backend::apply_event::{Signature, apply_event, prepare_without_report};
use drumline_backend::store::{
    ALONG_BYTES, Commit, Committed, Created, Filter, Guard, IdempotencyKey, NewOperation,
    OutboxLook, Reservation, Reserved, Transacted,
};
use drumline_protocol::operation::first_header;
use drumline_protocol::transition::{At, Event, apply};
use drumline_protocol::{Author, Body, OperationId, Partition, Report, Rules, codec};
use tokio::time::timeout;

use super::*;
use crate::state::kept::decoded_bytes;
use crate::state::rows::{BODY, key_of};

const PATIENCE: Duration = Duration::from_secs(30);

/// An operation with so many bytes of data.
fn with_data(ids: &Ids, bytes: usize) -> NewOperation {
    in_partition(ids, Partition::new(3), bytes)
}

fn in_partition(ids: &Ids, partition: Partition, bytes: usize) -> NewOperation {
    let now = Timestamp::from_millis(1_795_000_000_000);
    let id = ids.operation(now, partition);
    let mut body = Body::new("Import", now);
    body.data = Some(format!("\"{id}{}\"", "x".repeat(bytes)));
    NewOperation {
        id,
        header: first_header(Rules::default(), None, CommitId(1), now),
        body,
        key: None,
    }
}

/// Creates operations whose data are on the disk alone.
async fn on_the_disk(store: &EmbeddedStore) -> Vec<NewOperation> {
    let ids = Ids::seeded(1);
    let new: Vec<NewOperation> = (0..8).map(|_| with_data(&ids, 2_000)).collect();
    let created = store.create(new.clone()).await;
    created.expect("there is room");
    new
}

/// Asserts that operations are found as they were created, one by one and in a list.
async fn assert_found(store: &EmbeddedStore, new: &[NewOperation]) {
    let ids: Vec<OperationId> = new.iter().map(|new| new.id).collect();
    let found = store.get(&ids).await.expect("it answers");
    let page = store.list(&Filter::default(), None, 100).await;
    let page = page.expect("it answers").operations;
    for (found, new) in found.into_iter().zip(new) {
        assert_eq!(found.expect("it is there").body, new.body);
        assert!(page.iter().any(|one| one.body == new.body));
    }
}

fn are_on_the_disk(store: &EmbeddedStore, new: &[NewOperation]) -> bool {
    let state = store.content().state.lock();
    new.iter().all(|new| state.sum_of_data(new.id).is_some())
}

#[tokio::test]
async fn data_come_from_the_disk_before_a_restart_and_after_it() {
    let disk = on_disk().await;
    let new = on_the_disk(&disk.store).await;
    assert!(are_on_the_disk(&disk.store, &new));
    assert_found(&disk.store, &new).await;
    let page = disk
        .store
        .list_summaries(&Filter::default(), None, 100)
        .await;
    let summaries = page.expect("it answers").operations;
    assert!(summaries.iter().all(|one| one.body.data.is_none()));
    disk.store.close();
    let again = disk.disk.open().expect("it is whole");
    assert!(are_on_the_disk(&again, &new));
    assert_found(&again, &new).await;
    again.close();
}

#[tokio::test]
async fn data_that_are_not_those_that_were_written_end_the_store() {
    for is_lost in [false, true] {
        let store = Disk::new().open().expect("an empty disk");
        let new = on_the_disk(&store).await;
        let [first, second, ..] = new.as_slice() else {
            panic!("eight were created");
        };
        let other = codec::encode(&second.body).expect("it was encoded before");
        store.overwrite((key_of(BODY, first.id), (!is_lost).then_some(other)));
        let answer = store.get(&[second.id, first.id]).await;
        answer.expect_err("the first one is damaged");
        let failed = timeout(PATIENCE, store.failed()).await;
        let error = failed.expect("the process must end");
        assert!(error.is_damage(), "{error:?}");
        // Nothing is written any more, however often it is tried.
        for minor in 7..10 {
            let noted = store.note_minor(minor).await;
            noted.expect_err("the store has ended");
        }
    }
}

#[tokio::test]
async fn a_claim_reads_no_data_that_its_answer_has_no_room_for() {
    let store = Disk::new().open().expect("an empty disk");
    let ids = Ids::seeded(6);
    let (small, large) = (with_data(&ids, 2_000), with_data(&ids, ALONG_BYTES));
    let new = [large.clone(), small.clone()];
    store.create(new.to_vec()).await.expect("there is room");
    on_the_disk(&store).await;
    assert!(are_on_the_disk(&store, &new));
    // A read would end the store.
    store.overwrite((key_of(BODY, large.id), None));
    let author = Author::worker("host");
    let claims = new.iter().map(|new| {
        let host = "host".to_owned();
        let at = At {
            now: SystemClock.now(),
            commit: ids.commit(),
        };
        let transition = apply(&new.header, Event::Claim { host }, at).expect("it is Ready");
        let taking = Guard::Acquire {
            owner: ids.member(),
            lease: Duration::from_secs(30),
        };
        let mut claim = Commit::new(new.id, &new.header, &transition, taking, &author);
        claim.want_record = true;
        claim
    });
    let answers = store.commit(claims.collect()).await;
    let answers = answers.expect("what it reads is whole");
    let along: Vec<Option<Body>> = answers
        .into_iter()
        .map(|answer| match answer {
            Committed::Done(done) => done.record.map(|record| record.body),
            other => panic!("expected a claim: {other:?}"),
        })
        .collect();
    assert_eq!(along, [None, Some(small.body)]);
}

/// A create finds an operation by its key, and the same transaction removes it.
#[tokio::test]
async fn an_operation_that_the_same_call_removes_is_not_answered_without_its_data() {
    let store = Disk::new().open().expect("an empty disk");
    let (ids, author) = (Ids::seeded(2), Author::worker("host"));
    let keyed = |mut new: NewOperation| {
        new.key = Some(Reservation {
            key: IdempotencyKey([0; 16]),
            reserved: Reserved {
                id: new.id,
                content: [1; 16],
            },
            keep: Duration::from_secs(3_600),
        });
        new
    };
    let place = IdempotencyKey([0; 16]).partition(store.partitions());
    let first = keyed(in_partition(&ids, place, 2_000));
    store.create(vec![first.clone()]).await.expect("room");
    on_the_disk(&store).await;
    assert!(are_on_the_disk(&store, std::slice::from_ref(&first)));
    let summary = async || {
        let found = store.summaries(&[first.id]).await.expect("it answers");
        found.into_iter().flatten().next().expect("it is there")
    };
    let signature = Signature::new(&ids, &author);
    let (header, report) = (summary().await.header, Report::default());
    let cancel = Event::Cancel;
    let canceled = apply_event(
        &store,
        signature,
        first.id,
        header,
        cancel,
        Guard::None,
        &report,
    );
    canceled.await.expect("it is Completed now");
    let delete = prepare_without_report(&store, signature, &summary().await, Event::Delete);
    let mut again = keyed(in_partition(&ids, place, 2_000));
    // Another request with the key.
    again.header.commit = CommitId(2);
    let done = store.transact(vec![again], vec![delete.expect("it may")]);
    let Transacted::Done { created, .. } = done.await.expect("it is made") else {
        panic!("it is refused");
    };
    assert!(
        matches!(created.as_slice(), [Created::Unreadable(_)]),
        "{created:?}"
    );
}

#[tokio::test]
async fn no_verb_decodes_data_that_are_in_memory() {
    const DATA: usize = 100_000;
    let store = EmbeddedStore::new(partitions(), Arc::new(SystemClock));
    let ids = Ids::seeded(3);
    let new: Vec<NewOperation> = (0..4).map(|_| with_data(&ids, DATA)).collect();
    store.create(new.clone()).await.expect("it is in memory");
    assert_found(&store, &new).await;

    let state = store.content().state.lock();
    decoded_bytes();
    let filter = Filter::default();
    let summaries = state.list_summaries(&filter, None, 100).operations;
    assert_eq!(summaries.len(), new.len());
    let page = state.list(&filter, None, 100).operations;
    assert_eq!(page.len(), new.len());
    let look = OutboxLook::oldest(Duration::ZERO, 100);
    let offers = state.outbox_entries(Partition::new(3), &look, SystemClock.now());
    assert_eq!(offers.into_entries().len(), new.len());
    assert!(new.iter().all(|new| state.get(new.id).is_some()));
    let decoded = decoded_bytes();
    assert!((1..DATA).contains(&decoded), "{decoded} bytes");
}

/// A state whose changes are marked, and operations whose rows are to be written.
fn marked(new: &[NewOperation]) -> State {
    let mut state = State::new(partitions());
    state.mark_changes();
    for new in new {
        state.create(new.clone(), SystemClock.now());
    }
    state
}

#[test]
fn neither_a_write_nor_what_follows_it_decodes_with_the_state_locked() {
    let ids = Ids::seeded(4);
    let new: Vec<NewOperation> = (0..4).map(|_| with_data(&ids, 2_000)).collect();
    let mut state = marked(&new);
    decoded_bytes();
    let taken = state.take_rows().expect("they were encoded before");
    assert_eq!(decoded_bytes(), 0);
    let (_, bodies) = taken.encode();
    decoded_bytes();
    state.note_written(bodies);
    assert_eq!(decoded_bytes(), 0);
    assert!(new.iter().all(|new| state.sum_of_data(new.id).is_some()));
}

#[test]
fn data_of_a_later_operation_with_an_id_stay_until_they_are_written() {
    let ids = Ids::seeded(5);
    let first = with_data(&ids, 2_000);
    let mut state = marked(std::slice::from_ref(&first));
    let (_, bodies) = state.take_rows().expect("it was encoded before").encode();
    for event in [Event::Cancel, Event::Delete] {
        let header = state.header(first.id).expect("it is there");
        let at = At {
            now: SystemClock.now(),
            commit: ids.commit(),
        };
        let transition = apply(&header, event, at).expect("it may");
        let author = Author::worker("host");
        let commit = Commit::new(first.id, &header, &transition, Guard::None, &author);
        let made = state.commit(commit, at.now);
        assert!(matches!(made, Committed::Done(_)), "{made:?}");
    }
    let mut later = first.clone();
    later.body.data = Some("\"later\"".to_owned());
    state.create(later, SystemClock.now());
    state.note_written(bodies);
    assert_eq!(state.sum_of_data(first.id), None);
}

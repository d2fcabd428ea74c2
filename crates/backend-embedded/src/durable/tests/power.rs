//! Power cuts, full disks, and disks that fail.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use drumline_backend::Ids;
use drumline_backend::store::{self, Created, NewOperation, Store as _};
use drumline_protocol::operation::first_header;
use drumline_protocol::{Body, OperationId, Rules};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::disk::{Disk, PLENTY};
use crate::EmbeddedStore;
use crate::durable::Error;

fn new(ids: &Ids, store: &EmbeddedStore) -> NewOperation {
    let now = store.now();
    let partitions: Vec<_> = store.partitions().all().collect();
    let partition = partitions[fastrand::usize(..partitions.len())];
    NewOperation {
        id: ids.operation(now, partition),
        header: first_header(Rules::default(), None, ids.commit(), now),
        body: Body::new("DoIt", now),
        key: None,
    }
}

/// The operations whose creates were answered.
#[derive(Debug, Default)]
struct Answered {
    ids: Mutex<Vec<OperationId>>,
    more: Notify,
}

/// Creates one operation after the other, and notes each that was answered.
async fn produce(store: Arc<EmbeddedStore>, answered: Arc<Answered>) {
    let ids = Ids::random();
    loop {
        let new = new(&ids, &store);
        let id = new.id;
        match store.create(vec![new]).await.as_deref() {
            Ok([Created::New { .. }]) => answered.ids.lock().push(id),
            Ok(other) => unreachable!("{other:?}"),
            Err(_) => return,
        }
        answered.more.notify_one();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_any_power_cut() {
    let disk = Disk::new();
    let store = Arc::new(disk.open().expect("an empty disk"));
    let answered = Arc::<Answered>::default();
    let mut producers = JoinSet::new();
    for _ in 0..8 {
        producers.spawn(produce(Arc::clone(&store), Arc::clone(&answered)));
    }
    let mut random = fastrand::Rng::with_seed(1);
    let mut last = 0;
    for cut in 0..24 {
        while answered.ids.lock().len() < last + 20 {
            answered.more.notified().await;
        }
        // First what was answered, then the cut: the disk has at least that.
        let before = answered.ids.lock().clone();
        last = before.len();
        let rest = disk.cut(&mut random).open();
        let rest = rest.expect("a disk that had a power cut");
        let found = rest.get(&before).await.expect("it answers");
        let lost = found.iter().filter(|one| one.is_none()).count();
        assert_eq!(lost, 0, "cut {cut}: of {last} answered ones");
    }
    store.close();
    drop(producers.join_all().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_ends_the_store_and_takes_nothing_back_that_was_answered() {
    let disk = Disk::new();
    let store = Arc::new(disk.open().expect("an empty disk"));
    let ids = Ids::random();
    let kept = new(&ids, &store);
    let kept_id = kept.id;
    store.create(vec![kept]).await.expect("there is room");
    disk.set_full(true);
    let refused = new(&ids, &store);
    let refused_id = refused.id;
    let failed = store.create(vec![refused]).await;
    failed.expect_err("there is no room");
    // Whatever the memory has now, no answer tells of it.
    store.get(&[refused_id]).await.expect_err("it has ended");
    store.check().await.expect_err("it is not ready");
    let failure = store.failed().await;
    assert!(matches!(*failure, Error::Database { .. }), "{failure:?}");
    drop(store);

    disk.set_full(false);
    let next = disk.open().expect("there is room again");
    let found = next.get(&[kept_id, refused_id]).await.expect("it answers");
    let found: BTreeSet<_> = found.iter().flatten().map(|one| one.id).collect();
    assert_eq!(found, BTreeSet::from([kept_id]));
}

#[tokio::test]
async fn a_disk_with_little_room_refuses_creates_and_nothing_else_until_there_is_room() {
    let disk = Disk::new();
    let store = disk.open().expect("an empty disk");
    let ids = Ids::random();
    let first = new(&ids, &store);
    let id = first.id;
    store.create(vec![first]).await.expect("there is room");

    disk.free.store((64 << 20) - 1, Ordering::Relaxed);
    let refused = store.create(vec![new(&ids, &store)]).await;
    let refused = refused.expect_err("there is little room");
    assert!(
        matches!(&refused, store::Error::Unavailable { message, .. } if message.contains("is full")),
        "{refused:?}"
    );
    let in_one = store.transact(vec![new(&ids, &store)], Vec::new()).await;
    in_one.expect_err("it would create, too");
    store.check().await.expect_err("it is not ready");
    // Reads and changes of the first one go on.
    let found = store.get(&[id]).await.expect("it answers");
    assert_eq!(found.iter().flatten().count(), 1);
    store.note_minor(1).await.expect("it is written");

    disk.free.store(PLENTY, Ordering::Relaxed);
    store.check().await.expect("it is ready again");
    let taken = store.create(vec![new(&ids, &store)]).await;
    taken.expect("there is room again");
}

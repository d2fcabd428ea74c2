//! Disks that are nearly full, and disks that are full.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use drumline_backend::apply_event::{Applied, Signature, apply_event, prepare};
use drumline_backend::store::{
    Commit, Committed, Guard, Holding, NewOperation, OutboxLook, Renewal, Store as _,
};
use drumline_backend::{Ids, MemberId};
use drumline_protocol::operation::first_header;
use drumline_protocol::transition::{At, Event};
use drumline_protocol::{Author, Body, OperationId, Partition, Report, Rules};
use tokio::time::timeout;

use super::disk::{Disk, PLENTY};
use crate::EmbeddedStore;
use crate::durable::room::pages_of;

const MIB: u64 = 1 << 20;

/// A store on a disk, and a worker that uses it.
struct Scene {
    disk: Disk,
    store: EmbeddedStore,
    ids: Ids,
    worker: MemberId,
}

impl Scene {
    fn new() -> Self {
        let disk = Disk::new();
        let store = disk.open().expect("an empty disk");
        let ids = Ids::random();
        let worker = ids.member();
        Self {
            disk,
            store,
            ids,
            worker,
        }
    }

    fn set_free(&self, bytes: u64) {
        self.disk.free.store(bytes, Ordering::Relaxed);
    }

    /// An operation with so many bytes of data.
    fn prepare(&self, bytes: usize) -> NewOperation {
        let now = self.store.now();
        let mut body = Body::new("DoIt", now);
        body.data = Some("1".repeat(bytes));
        NewOperation {
            id: self.ids.operation(now, Partition::new(0)),
            header: first_header(Rules::default(), None, self.ids.commit(), now),
            body,
            key: None,
        }
    }

    async fn create(&self, bytes: usize) -> OperationId {
        let new = self.prepare(bytes);
        let id = new.id;
        let created = self.store.create(vec![new]).await;
        created.expect("there is room");
        id
    }

    async fn event(&self, id: OperationId, event: Event, guard: Guard) -> Applied {
        let found = self.store.summaries(&[id]).await.expect("it answers");
        let header = found.into_iter().next().flatten().expect("it is there");
        let author = Author::worker("host");
        let by = Signature::new(&self.ids, &author);
        let report = Report::default();
        let applied = apply_event(&self.store, by, id, header.header, event, guard, &report);
        applied.await.expect("it answers")
    }

    async fn claim(&self, id: OperationId) -> Applied {
        let host = "host".to_owned();
        let taking = Guard::Acquire {
            owner: self.worker,
            lease: Duration::from_secs(30),
        };
        self.event(id, Event::Claim { host }, taking).await
    }

    /// The commit of a run that has succeeded.
    async fn end_of(&self, id: OperationId, holding: Holding) -> Commit {
        let found = self.store.summaries(&[id]).await.expect("it answers");
        let header = found.into_iter().next().flatten().expect("it is there");
        let author = Author::worker("host");
        let at = At {
            now: self.store.now(),
            commit: self.ids.commit(),
        };
        let guard = Guard::Holder(holding);
        let report = Report::default();
        let commit = prepare(
            id,
            &header.header,
            Event::Succeed,
            guard,
            &report,
            &author,
            at,
        );
        commit.expect("it runs")
    }

    async fn is_offered(&self) -> bool {
        let look = OutboxLook::oldest(Duration::ZERO, 9);
        let page = self.store.outbox_entries(Partition::new(0), &look).await;
        !page.expect("it answers").flows.is_empty()
    }
}

#[tokio::test]
async fn creates_on_their_way_to_the_disk_take_room() {
    const HALF: usize = 512 << 10;
    let scene = Scene::new();
    // Pages of rows have up to twice the bytes, so there is room for four.
    scene.set_free(64 * MIB + 9 * MIB / 2);
    scene.disk.set_standing(true);
    let mut creates: Vec<_> = (0..8)
        .map(|_| scene.store.create(vec![scene.prepare(HALF)]))
        .collect();
    let mut refused = 0;
    for create in &mut creates {
        let polled = std::future::poll_fn(|context| Poll::Ready(create.as_mut().poll(context)));
        if let Poll::Ready(answer) = polled.await {
            answer.expect_err("nothing is written");
            refused += 1;
        }
    }
    scene.disk.set_standing(false);
    assert_eq!(refused, 4);
    drop(creates);
    scene.store.check().await.expect("it is ready");
}

#[tokio::test]
async fn nothing_is_started_without_room_for_its_outcome_and_what_runs_ends() {
    let scene = Scene::new();
    let runs = scene.create(1).await;
    let Applied::Done(_, claimed) = scene.claim(runs).await else {
        unreachable!("it is Ready");
    };
    let waits = scene.create(1).await;

    scene.set_free(32 * MIB - 1);
    let refused = scene.claim(waits).await;
    assert!(matches!(refused, Applied::NotHead), "{refused:?}");
    assert!(!scene.is_offered().await, "it would come back");
    let holder = Guard::Holder(Holding {
        owner: scene.worker,
        fence: claimed.fence.expect("a claim takes a lock"),
    });
    let ended = scene.event(runs, Event::Succeed, holder).await;
    assert!(matches!(ended, Applied::Done(..)), "{ended:?}");

    scene.set_free(PLENTY);
    assert!(scene.is_offered().await);
    let claimed = scene.claim(waits).await;
    assert!(matches!(claimed, Applied::Done(..)), "{claimed:?}");
}

/// Polls a call once, which does its verb.
async fn poll_once<F: Future + Unpin>(call: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *call).poll(context))).await
}

#[tokio::test]
async fn no_watch_of_a_lock_begins_before_its_worker_knows_of_it() {
    let scene = Scene::new();
    let id = scene.create(1).await;
    scene.disk.set_standing(true);
    let mut claim = Box::pin(scene.claim(id));
    assert!(poll_once(&mut claim).await.is_pending());
    let mut locks = scene.store.locks(Partition::new(0));
    let shown = poll_once(&mut locks).await;
    assert!(shown.is_pending(), "{shown:?}: nobody could renew it");
    scene.disk.set_standing(false);
    assert_eq!(locks.await.expect("it answers").len(), 1);
    let claimed = claim.await;
    assert!(matches!(claimed, Applied::Done(..)), "{claimed:?}");
}

#[tokio::test]
async fn a_lease_goes_on_until_the_disk_has_the_outcome() {
    let scene = Scene::new();
    let id = scene.create(1).await;
    let Applied::Done(_, claimed) = scene.claim(id).await else {
        unreachable!("it is Ready");
    };
    let fence = claimed.fence.expect("a claim takes a lock");
    let holding = Holding {
        owner: scene.worker,
        fence,
    };
    let renew = async || {
        let renewed = scene.store.renew(&[(id, holding)]).await;
        renewed.expect("it answers").remove(0)
    };
    scene.disk.set_standing(true);
    let holder = Guard::Holder(holding);
    let mut end = Box::pin(scene.event(id, Event::Succeed, holder));
    assert!(poll_once(&mut end).await.is_pending());
    let held = Renewal::Held {
        asked_to_stop: false,
    };
    assert_eq!(renew().await, held);
    scene.disk.set_standing(false);
    let ended = end.await;
    assert!(matches!(ended, Applied::Done(..)), "{ended:?}");
    assert_eq!(renew().await, Renewal::Lost);
}

#[tokio::test]
async fn a_lease_goes_on_while_a_full_disk_has_no_room_for_the_outcome() {
    let scene = Scene::new();
    let id = scene.create(1).await;
    let Applied::Done(_, claimed) = scene.claim(id).await else {
        unreachable!("it is Ready");
    };
    let holding = Holding {
        owner: scene.worker,
        fence: claimed.fence.expect("a claim takes a lock"),
    };
    let commit = scene.end_of(id, holding).await;
    scene.set_free(0);
    let refused = scene.store.commit(vec![commit.clone()]).await;
    refused.expect_err("there is no room");
    let again = scene.store.commit(vec![commit.clone()]).await;
    again.expect_err("there is no room");
    let renewed = scene.store.renew(&[(id, holding)]).await;
    let held = Renewal::Held {
        asked_to_stop: false,
    };
    assert_eq!(renewed.expect("it answers"), [held]);

    scene.set_free(PLENTY);
    let ended = loop {
        match scene.store.commit(vec![commit.clone()]).await {
            Ok(ended) => break ended,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert!(matches!(&*ended, [Committed::Done(_)]), "{ended:?}");
}

#[tokio::test]
async fn a_full_disk_ends_no_store_and_has_everything_when_there_is_room() {
    let scene = Scene::new();
    let id = scene.create(1).await;
    scene.set_free(0);
    let late = scene.store.note_minor(7).await;
    late.expect_err("it is not written");
    let seen = scene.store.note_minor(0).await;
    seen.expect_err("it would tell of what is not written");
    let failed = timeout(Duration::ZERO, scene.store.failed()).await;
    failed.expect_err("the process goes on");

    scene.set_free(PLENTY);
    while scene.store.note_minor(0).await.is_err() {
        tokio::task::yield_now().await;
    }
    scene.store.close();
    let next = scene.disk.open().expect("it has everything");
    assert_eq!(next.note_minor(0).await.expect("it answers"), 7);
    let found = next.get(&[id]).await.expect("it answers");
    assert_eq!(found.iter().flatten().count(), 1);
}

#[tokio::test]
async fn a_store_on_a_full_disk_can_be_closed() {
    let scene = Scene::new();
    let id = scene.create(1).await;
    scene.set_free(0);
    let late = scene.store.note_minor(7).await;
    late.expect_err("it is not written");
    scene.store.close();
    scene.set_free(PLENTY);
    let next = scene.disk.open().expect("it has what was answered");
    let found = next.get(&[id]).await.expect("it answers");
    assert_eq!(found.iter().flatten().count(), 1);
}

#[tokio::test]
async fn room_of_removed_operations_goes_back_to_a_disk_that_is_nearly_full() {
    let scene = Scene::new();
    let kept = scene.create(1).await;
    let mut removed = Vec::new();
    for _ in 0..24 {
        removed.push(scene.create(512 << 10).await);
    }
    let kept_too = scene.create(1).await;
    let before = scene.disk.bytes().len();
    for id in removed {
        for event in [Event::Cancel, Event::Delete] {
            let applied = scene.event(id, event, Guard::None).await;
            assert!(matches!(applied, Applied::Done(..)), "{applied:?}");
        }
    }
    scene.set_free(64 * MIB - 1);
    let refused = scene.store.create(vec![scene.prepare(1)]).await;
    refused.expect_err("there is little room");
    let smaller = async {
        while scene.disk.bytes().len() > before / 4 {
            tokio::task::yield_now().await;
        }
    };
    let smaller = timeout(Duration::from_secs(20), smaller).await;
    smaller.expect("the file is smaller");
    let found = scene.store.get(&[kept, kept_too]).await;
    assert_eq!(found.expect("it answers").iter().flatten().count(), 2);
}

/// The runtime has one thread for calls that block.
#[test]
fn a_read_that_waits_for_a_smaller_file_takes_no_thread() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build();
    runtime.expect("a runtime").block_on(async {
        let scene = Scene::new();
        let id = scene.create(1_000).await;
        scene.disk.set_standing(true);
        scene.set_free(64 * MIB - 1);
        let refused = scene.store.create(vec![scene.prepare(1)]).await;
        refused.expect_err("there is little room");
        let read = loop {
            let mut read = Box::pin(scene.store.get(std::slice::from_ref(&id)));
            if poll_once(&mut read).await.is_pending() {
                break read;
            }
            drop(read);
            // A read that was under way has kept the file as it is: the next refusal has the
            // writer look at it once more.
            let mut refused = Box::pin(scene.store.create(vec![scene.prepare(1)]));
            drop(poll_once(&mut refused).await);
            tokio::task::yield_now().await;
        };
        let blocks = tokio::task::spawn_blocking(|| ());
        let blocks = timeout(Duration::from_secs(20), blocks).await;
        scene.disk.set_standing(false);
        blocks.expect("the thread is free").expect("it ends");
        let found = read.await.expect("it answers");
        assert_eq!(found.iter().flatten().count(), 1);
    });
}

#[tokio::test]
async fn no_page_is_moved_on_a_full_disk() {
    let scene = Scene::new();
    let id = scene.create(1).await;
    scene.set_free(0);
    scene.disk.set_full(true);
    let refused = scene.store.create(vec![scene.prepare(1)]).await;
    refused.expect_err("there is no room");
    // Its answer comes behind the look at the file.
    let late = scene.store.note_minor(7).await;
    late.expect_err("it is not written");
    let failed = timeout(Duration::ZERO, scene.store.failed()).await;
    failed.expect_err("the process goes on");

    scene.disk.set_full(false);
    scene.set_free(PLENTY);
    while scene.store.note_minor(0).await.is_err() {
        tokio::task::yield_now().await;
    }
    let found = scene.store.get(&[id]).await.expect("it answers");
    assert_eq!(found.iter().flatten().count(), 1);
}

#[test]
fn a_write_takes_a_page_for_each_row() {
    const KIB: u64 = 1024;
    let row = |bytes| (vec![0; 16], bytes);
    let small = [row(Some(vec![1; 10])), row(None)];
    assert_eq!(pages_of(&small), 9 * KIB);
    let large = vec![row(Some(vec![1; 900_000])); 12];
    assert_eq!(pages_of(&large), 12 * 1024 * KIB * 9 / 8);
}

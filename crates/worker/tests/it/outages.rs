//! A store that is unavailable, or whose answers are lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::membership::{MemberPage, MemberPlace};
use drumline_backend::{Backend, Member, MemberId, Membership, Roster, Store, store};
use drumline_protocol::message::{Marker, Message, Route, Source};
use drumline_protocol::{Partition, PartitionCount, QueueName, Status};
use drumline_worker::{Context, LeaseStore, Outcome};
use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::faulty_store::FaultyStore;
use crate::harness::{Draft, Harness, draft, in_time};

/// A harness, and a backend for workers over the same, faulty store.
fn faulty() -> (Harness, Arc<FaultyStore>, Backend) {
    let backend = drumline_backend_embedded::backend(PartitionCount::DEFAULT);
    let faulty = FaultyStore::over(Arc::clone(&backend.store));
    let store: Arc<dyn Store> = Arc::clone(&faulty) as Arc<dyn Store>;
    let workers = Backend {
        store,
        ..backend.clone()
    };
    (Harness::over(backend), faulty, workers)
}

#[tokio::test]
async fn a_handler_whose_lease_cannot_be_renewed_is_stopped_before_it_ends() {
    let (harness, faulty, backend) = faulty();
    // A quarter of it is for a busy machine.
    let lease = Duration::from_secs(6);
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, context: Context| {
        let tell = tell.clone();
        async move {
            tell.send(Instant::now()).expect("heard");
            context.stop_requested().await;
            tell.send(Instant::now()).expect("heard");
            // The store will not be asked again; the future is dropped here.
            std::future::pending::<()>().await;
            Outcome::Done(Some("1".to_owned()))
        }
    };
    faulty.mute.store(true, Ordering::Release);
    let leases = LeaseStore::from(Arc::clone(&backend.store));
    let builder = Harness::builder().lease(lease).handler("X", handler);
    let worker = builder.start(backend, leases).await.expect("it starts");
    let id = harness.submit(draft("X")).await;
    let started = in_time("start", hear.recv()).await.expect("told");
    let stopped = in_time("stop", hear.recv()).await.expect("told");
    let ran = stopped - started;
    assert!(ran < lease, "{ran:?}");
    assert!(ran > lease / 2, "{ran:?}");
    in_time("slot", async {
        while worker.running() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let operation = harness.get(id).await;
    assert_eq!(operation.header.status, Status::InProgress);
    assert_eq!(operation.report.result, None);
    worker.stop_now().await;
}

/// Tells when it is dropped.
struct Dropped(mpsc::UnboundedSender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        // The test may be over.
        let _over = self.0.send("dropped");
    }
}

#[tokio::test]
async fn a_worker_without_its_lease_thread_stops_its_handlers_and_says_why() {
    let (harness, faulty, backend) = faulty();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, _: Context| {
        let tell = tell.clone();
        async move {
            let _dropped = Dropped(tell.clone());
            tell.send("started").expect("heard");
            std::future::pending::<Outcome>().await
        }
    };
    let leases = LeaseStore::from(Arc::clone(&backend.store));
    let builder = Harness::builder().handler("X", handler);
    let worker = builder.start(backend, leases).await.expect("it starts");
    harness.submit(draft("X")).await;
    assert_eq!(in_time("start", hear.recv()).await, Some("started"));
    faulty.panics.store(true, Ordering::Release);
    // The program does not wait for the failure, and asks nothing to stop.
    assert_eq!(in_time("drop", hear.recv()).await, Some("dropped"));
    let failure = in_time("failure", worker.failed()).await;
    assert_eq!(
        failure.to_string(),
        "the task \"lease thread\" has panicked (told to panic); without it this process must not go on"
    );
    let mut ready = worker.ready();
    let is_not = in_time("readiness", ready.wait_for(|ready| !*ready)).await;
    drop(is_not);
    worker.stop_now().await;
}

#[tokio::test]
async fn an_outcome_is_written_when_the_store_is_back() {
    let (harness, faulty, backend) = faulty();
    let (go, started) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (go, started) = (Arc::clone(&go), Arc::clone(&started));
        move |_: Value, _: Context| {
            let (go, started) = (Arc::clone(&go), Arc::clone(&started));
            async move {
                started.notify_one();
                go.notified().await;
                Outcome::Done(Some("7".to_owned()))
            }
        }
    };
    let leases = LeaseStore::from(Arc::clone(&backend.store));
    let builder = Harness::builder().handler("X", handler);
    let worker = builder.start(backend, leases).await.expect("it starts");
    let id = harness.submit(draft("X")).await;
    in_time("start", started.notified()).await;
    faulty.down.store(true, Ordering::Release);
    go.notify_one();
    in_time("tries", async {
        while faulty.refused.load(Ordering::Acquire) < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(harness.get(id).await.header.status, Status::InProgress);
    faulty.down.store(false, Ordering::Release);
    let operation = harness.completed(id).await;
    assert_eq!(operation.report.result.as_deref(), Some("7"));
    assert_eq!(operation.header.starts, 1);
    worker.drain().await;
}

#[tokio::test]
async fn lost_answers_to_claims_and_outcomes_change_nothing() {
    let (harness, faulty, backend) = faulty();
    let handler = async |_: Value, _: Context| Outcome::Done(None);
    faulty.lost_answers.store(6, Ordering::Release);
    let leases = LeaseStore::from(Arc::clone(&backend.store));
    let builder = Harness::builder().handler("X", handler);
    let worker = builder.start(backend, leases).await.expect("it starts");
    for number in 0..6 {
        let token = (number % 2).to_string();
        let id = harness.submit(draft("X").token(&token)).await;
        let operation = harness.completed(id).await;
        assert_eq!(operation.header.status, Status::Succeeded);
        assert_eq!(operation.header.starts, 1);
    }
    assert_eq!(faulty.lost_answers.load(Ordering::Acquire), 0);
    worker.drain().await;
}

#[tokio::test]
async fn a_claim_that_took_long_starts_once_the_store_confirms_it() {
    let (harness, faulty, backend) = faulty();
    let handler = async |_: Value, _: Context| Outcome::Done(None);
    // Until the claim is answered, more than a quarter of the lease passes.
    faulty.lost_answers.store(5, Ordering::Release);
    faulty.failed_renewals.store(2, Ordering::Release);
    let leases = LeaseStore::from(Arc::clone(&harness.backend.store));
    let builder = Harness::builder()
        .lease(Duration::from_secs(2))
        .handler("X", handler);
    let worker = builder.start(backend, leases).await.expect("it starts");
    let id = harness
        .submit(Draft {
            at_most_once: true,
            ..draft("X")
        })
        .await;
    let operation = harness.completed(id).await;
    assert_eq!(operation.header.status, Status::Succeeded);
    assert_eq!(operation.header.starts, 1);
    assert_eq!(faulty.failed_renewals.load(Ordering::Acquire), 0);
    worker.drain().await;
}

/// A membership that fails on demand.
struct Fragile {
    inner: Arc<dyn Membership>,
    is_down: AtomicBool,
}

#[async_trait]
impl Membership for Fragile {
    async fn beat(&self, member: &Member) -> store::Result<Arc<Roster>> {
        if self.is_down.load(Ordering::Acquire) {
            return Err(store::Error::Unavailable {
                message: "told so".to_owned(),
                source: None,
            });
        }
        self.inner.beat(member).await
    }

    async fn leave(&self, id: MemberId) -> store::Result<()> {
        self.inner.leave(id).await
    }

    async fn ask_to_drain(&self, id: MemberId) -> store::Result<bool> {
        self.inner.ask_to_drain(id).await
    }

    fn is_asked_to_drain(&self, id: MemberId) -> bool {
        self.inner.is_asked_to_drain(id)
    }

    async fn roster(&self) -> store::Result<Arc<Roster>> {
        self.inner.roster().await
    }

    async fn members(&self, after: Option<MemberPlace>, limit: usize) -> store::Result<MemberPage> {
        self.inner.members(after, limit).await
    }
}

#[tokio::test]
async fn a_worker_that_cannot_decide_gives_back_what_it_has() {
    let (harness, faulty, backend) = faulty();
    let fragile = Arc::new(Fragile {
        inner: Arc::clone(&backend.membership),
        is_down: AtomicBool::new(false),
    });
    let backend = Backend {
        membership: Arc::clone(&fragile) as Arc<dyn Membership>,
        ..backend
    };
    let handler = async |_: Value, _: Context| Outcome::Done(None);
    let leases = LeaseStore::from(Arc::clone(&backend.store));
    let builder = Harness::builder().concurrency(1).handler("X", handler);
    let builder = builder.lease(Duration::from_millis(1500));
    let worker = builder.start(backend, leases).await.expect("it starts");
    let mut ready = worker.ready();
    let becomes_ready = async |wanted: bool, ready: &mut watch::Receiver<bool>| {
        let becomes = ready.wait_for(|ready| *ready == wanted);
        in_time("readiness", becomes).await.expect("it lives");
    };
    becomes_ready(true, &mut ready).await;

    // From here on the worker can neither claim nor beat.
    faulty.down.store(true, Ordering::Release);
    fragile.is_down.store(true, Ordering::Release);
    let mut ids = Vec::new();
    for number in 0..12 {
        let token = (number % 3 != 0).then(|| number.to_string());
        let new = draft("X");
        let new = token.iter().fold(new, |new, token| new.token(token));
        ids.push(harness.submit(new).await);
    }
    becomes_ready(false, &mut ready).await;
    // Everything is there for a worker that reaches the store.
    let leases = LeaseStore::from(Arc::clone(&harness.backend.store));
    let builder = Harness::builder().handler("X", handler);
    let other = builder.start(harness.backend.clone(), leases).await;
    let other = other.expect("it starts");
    for id in ids {
        harness.completed(id).await;
    }

    // The worker works again when the store answers.
    faulty.down.store(false, Ordering::Release);
    fragile.is_down.store(false, Ordering::Release);
    becomes_ready(true, &mut ready).await;
    other.drain().await;
    let id = harness.submit(draft("X").token("t")).await;
    harness.completed(id).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_slot_is_free_while_an_end_waits_for_a_disk() {
    let (harness, faulty, backend) = faulty();
    faulty.shares_writes.store(true, Ordering::Release);
    faulty.ends.send_replace(false);
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, _: Context| {
        tell.send(()).expect("heard");
        async { Outcome::Done(None) }
    };
    let leases = LeaseStore::from(Arc::clone(&backend.store));
    let builder = Harness::builder().concurrency(1).handler("X", handler);
    let worker = builder.start(backend, leases).await.expect("it starts");
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(harness.submit(draft("X")).await);
    }
    for _ in &ids {
        let start = in_time("the next start", hear.recv()).await;
        start.expect("the worker lives");
    }
    faulty.ends.send_replace(true);
    for id in ids {
        harness.completed(id).await;
    }
    worker.drain().await;
}

#[tokio::test]
async fn a_marker_that_cannot_be_noted_at_once_is_noted_later() {
    let (harness, faulty, backend) = faulty();
    faulty.lost_markers.store(3, Ordering::Release);
    let handler = async |_: Value, _: Context| Outcome::Done(None);
    let leases = LeaseStore::from(Arc::clone(&backend.store));
    let builder = Harness::builder().handler("X", handler);
    let worker = builder.start(backend, leases).await.expect("it starts");
    let route = Route {
        queue: QueueName::default(),
        source: Source::Work,
    };
    let stamp = harness.backend.store.stamp(Partition::new(0)).await;
    let marker = Marker {
        route: route.clone(),
        stamp: stamp.expect("a stamp").0,
    };
    let messages = [(route, Message::Marker(marker.clone()))];
    let published = harness.backend.broker.publish(&messages).await;
    assert!(published.iter().all(Result::is_ok));
    in_time("marker", async {
        loop {
            let markers = harness.backend.store.markers().await;
            if markers.expect("it is there").contains(&marker) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(faulty.lost_markers.load(Ordering::Acquire), 0);
    worker.drain().await;
}

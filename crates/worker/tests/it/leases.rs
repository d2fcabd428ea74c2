//! Leases: kept while a handler runs, and nothing is written once lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use drumline_backend::apply_event::{Applied, Signature, apply_event};
use drumline_backend::store::Guard;
use drumline_backend::{Ids, Store};
use drumline_protocol::{Author, Event, OperationId, Status};
use drumline_worker::{Builder, Context, LeaseStore, Outcome, RunningWorker, StopReason};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::faulty_store::FaultyStore;
use crate::harness::{Harness, draft, in_time};

/// Dropped with the handler that it lives in.
struct Alive(mpsc::UnboundedSender<&'static str>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.send("stopped").expect("heard");
    }
}

/// Takes the operation over, as a manager does that has watched a lock stand
/// still. Returns false if the operation has moved meanwhile.
async fn take_over(harness: &Harness, id: OperationId) -> bool {
    let store: &Arc<dyn Store> = &harness.backend.store;
    let locks = store.locks(id.partition()).await.expect("read");
    let lock = locks.into_iter().find(|lock| lock.id == id).expect("held");
    let operation = harness.get(id).await;
    let (ids, author) = (Ids::random(), Author::manager("lease reaper"));
    let decided = apply_event(
        &**store,
        Signature::new(&ids, &author),
        id,
        operation.header,
        Event::LeaseExpired,
        Guard::Unchanged {
            holding: lock.holding(),
            beat: lock.beat,
        },
        &operation.report,
    );
    matches!(decided.await.expect("decided"), Applied::Done(..))
}

#[tokio::test]
async fn a_handler_whose_operation_was_taken_over_is_stopped_and_writes_nothing() {
    let harness = Harness::new();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, context: Context| {
        let alive = Alive(tell.clone());
        async move {
            context.progress(1, "never seen");
            alive.0.send("started").expect("heard");
            std::future::pending::<()>().await;
            drop(alive);
            Outcome::Done(Some("1".to_owned()))
        }
    };
    let worker = harness
        .start(Harness::builder().concurrency(1).handler("X", handler))
        .await;
    let id = harness.submit(draft("X")).await;
    assert_eq!(in_time("start", hear.recv()).await, Some("started"));
    in_time("take over", async {
        while !take_over(&harness, id).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(in_time("stop", hear.recv()).await, Some("stopped"));
    let operation = harness.get(id).await;
    assert_eq!(operation.header.status, Status::WaitingForResources);
    assert_eq!(operation.header.lost, 1);
    assert_eq!(operation.report.result, None);
    let refused = r#"drumline_writes_refused_total{write="renewal"} 1"#;
    let metrics = worker.metrics().text();
    assert!(metrics.contains(refused), "{metrics}");
    worker.drain().await;
}

#[tokio::test]
async fn a_run_whose_operation_the_same_worker_claims_again_is_stopped() {
    let harness = Harness::new();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, _: Context| {
        let alive = Alive(tell.clone());
        async move {
            alive.0.send("started").expect("heard");
            std::future::pending::<()>().await;
            drop(alive);
            Outcome::Done(None)
        }
    };
    // No renewal of the first run comes before the second one.
    let builder = Harness::builder()
        .concurrency(2)
        .lease(Duration::from_secs(3_600));
    let worker = harness.start(builder.handler("X", handler)).await;
    let id = harness.submit(draft("X")).await;
    assert_eq!(in_time("start", hear.recv()).await, Some("started"));
    assert!(take_over(&harness, id).await);
    harness.offer_again(id).await;
    let mut heard = [hear.recv().await, in_time("stop", hear.recv()).await];
    heard.sort_unstable();
    assert_eq!(heard, [Some("started"), Some("stopped")]);
    assert_eq!(harness.get(id).await.header.status, Status::InProgress);
    drop(worker);
}

#[tokio::test]
async fn a_lock_moves_while_its_handler_runs() {
    let harness = Harness::new();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, context: Context| {
        let tell = tell.clone();
        async move {
            tell.send(context.lease_left()).expect("heard");
            context.stop_requested().await;
            tell.send(context.lease_left()).expect("heard");
            Outcome::Stopped
        }
    };
    // It is given up after three quarters: longer than a busy machine stands still.
    let builder = Harness::builder().lease(Duration::from_millis(2_400));
    let worker = harness.start(builder.handler("X", handler)).await;
    let id = harness.submit(draft("X")).await;
    let left = in_time("start", hear.recv()).await.expect("told");
    assert!(left <= Duration::from_millis(1_800), "{left:?}");
    let beat = async || {
        let locks = harness.backend.store.locks(id.partition()).await;
        locks.expect("read").first().expect("held").beat
    };
    let first = beat().await;
    in_time("beats", async {
        while beat().await < first + 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    harness.ask(id, Event::Cancel).await;
    let left = in_time("stop", hear.recv()).await.expect("told");
    assert!(left > Duration::ZERO);
    let operation = harness.completed(id).await;
    assert_eq!(operation.header.starts, 1);
    worker.drain().await;
}

#[tokio::test]
async fn reports_are_in_the_store_when_they_are_flushed() {
    let harness = Harness::new();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, context: Context| {
        let tell = tell.clone();
        async move {
            for percent in 0..=77 {
                context.progress(percent, "counting");
            }
            context.checkpoint(&"here").expect("small");
            context.flushed().await;
            tell.send(()).expect("heard");
            context.stop_requested().await;
            Outcome::Stopped
        }
    };
    let worker = harness
        .start(Harness::builder().handler("X", handler))
        .await;
    let id = harness.submit(draft("X")).await;
    in_time("flush", hear.recv()).await;
    let report = harness.get(id).await.report;
    assert_eq!(report.progress.map(|p| p.percent), Some(77));
    assert_eq!(report.checkpoint.as_deref(), Some("\"here\""));
    worker.stop_now().await;
}

#[tokio::test]
async fn a_worker_that_dies_leaves_its_operation_locked() {
    let harness = Harness::new();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, _: Context| {
        let alive = Alive(tell.clone());
        async move {
            alive.0.send("started").expect("heard");
            std::future::pending::<()>().await;
            drop(alive);
            Outcome::Stopped
        }
    };
    let worker = harness
        .start(Harness::builder().handler("X", handler))
        .await;
    let id = harness.submit(draft("X")).await;
    in_time("start", hear.recv()).await;
    worker.stop_now().await;
    assert_eq!(hear.recv().await, Some("stopped"));
    assert_eq!(harness.get(id).await.header.status, Status::InProgress);
    assert!(take_over(&harness, id).await);
}

#[tokio::test]
async fn a_handler_that_blocks_its_thread_keeps_its_lease() {
    let harness = Harness::new();
    let lease = Duration::from_millis(1_500);
    let handler = move |_: Value, _: Context| {
        // The only thread of the runtime: nothing else can run here.
        #[expect(clippy::disallowed_methods, reason = "blocking is what is tested")]
        std::thread::sleep(3 * lease);
        std::future::ready(Outcome::Done(None))
    };
    let builder = Harness::builder().lease(lease);
    let worker = harness.start(builder.handler("X", handler)).await;
    let id = harness.submit(draft("X")).await;
    let operation = harness.completed(id).await;
    assert_eq!(operation.header.status, Status::Succeeded);
    worker.drain().await;
}

/// A worker whose renewals share the one runtime and the clock of the test.
async fn simulated(harness: &Harness, builder: Builder, renewed: Arc<dyn Store>) -> RunningWorker {
    let leases = LeaseStore::from(renewed).on_current_runtime();
    let worker = builder.start(harness.backend.clone(), leases).await;
    worker.expect("the worker starts")
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_kept_for_an_hour_of_a_simulation() {
    let harness = Harness::new();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, _: Context| {
        let tell = tell.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            tell.send(()).expect("heard");
            Outcome::Done(None)
        }
    };
    let builder = Harness::builder().handler("X", handler);
    let worker = simulated(&harness, builder, Arc::clone(&harness.backend.store)).await;
    let id = harness.submit(draft("X")).await;
    hear.recv().await.expect("the handler comes to its end");
    let operation = harness.completed(id).await;
    assert_eq!(operation.header.status, Status::Succeeded);
    assert_eq!((operation.header.starts, operation.header.lost), (1, 0));
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_renewed_is_given_up_after_three_quarters() {
    let harness = Harness::new();
    let faulty = FaultyStore::over(Arc::clone(&harness.backend.store));
    faulty.mute.store(true, Ordering::Release);
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, context: Context| {
        let tell = tell.clone();
        async move {
            tell.send((Instant::now(), None)).expect("heard");
            let reason = context.stop_requested().await;
            tell.send((Instant::now(), Some(reason))).expect("heard");
            Outcome::Stopped
        }
    };
    let builder = Harness::builder().handler("X", handler);
    let worker = simulated(&harness, builder.lease(Duration::from_secs(40)), faulty).await;
    harness.submit(draft("X")).await;
    let (started, _) = hear.recv().await.expect("told");
    let (stopped, reason) = hear.recv().await.expect("told");
    assert_eq!(reason, Some(StopReason::LeaseLost));
    let held = (stopped - started).as_secs_f64();
    assert!((30.0..=31.0).contains(&held), "{held}");
    worker.stop_now().await;
}

#[tokio::test(start_paused = true)]
async fn every_second_call_is_lost_and_no_handler_notices() {
    const HANDLERS: usize = 20;
    let lease = Duration::from_secs(30);
    let harness = Harness::new();
    let faulty = FaultyStore::over(Arc::clone(&harness.backend.store));
    faulty.every_second_is_lost.store(true, Ordering::Release);
    let (start, mut started) = mpsc::unbounded_channel();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, context: Context| {
        let (start, tell) = (start.clone(), tell.clone());
        async move {
            start.send(()).expect("heard");
            let reason = context.stop_requested().await;
            tell.send((context.operation().id, reason)).expect("heard");
            Outcome::Stopped
        }
    };
    let builder = Harness::builder().concurrency(HANDLERS);
    let builder = builder.lease(lease).handler("X", handler);
    let worker = simulated(&harness, builder, Arc::clone(&faulty) as Arc<dyn Store>).await;
    let mut ids = Vec::new();
    for _ in 0..HANDLERS {
        ids.push(harness.submit(draft("X")).await);
    }
    for _ in 0..HANDLERS {
        started.recv().await.expect("told");
    }
    let renewals = faulty.renewals.load(Ordering::Acquire);
    tokio::time::sleep(20 * lease).await;
    assert!(hear.try_recv().is_err(), "no handler was stopped");
    let renewals = faulty.renewals.load(Ordering::Acquire) - renewals;
    assert!(renewals <= 20 * 2 * 6 + 2, "{renewals} calls in 20 leases");

    // The clock is the simulation's, so the times are exact.
    for (id, event, reason) in [
        (ids[3], Event::Cancel, StopReason::Cancel),
        (ids[5], Event::Pause, StopReason::Pause),
        (ids[7], Event::Cancel, StopReason::Cancel),
        (ids[11], Event::Pause, StopReason::Pause),
    ] {
        let asked = Instant::now();
        harness.ask(id, event).await;
        assert_eq!(hear.recv().await, Some((id, reason)));
        let took = asked.elapsed();
        assert!(took <= Duration::from_secs(1), "{took:?}");
        // Another phase of the look's interval.
        tokio::time::sleep(Duration::from_millis(130)).await;
    }
    worker.stop_now().await;
}

/// The number of tasks on this runtime, after all tasks that can go on have done so.
async fn tasks() -> usize {
    tokio::time::sleep(Duration::from_millis(1)).await;
    let runtime = tokio::runtime::Handle::current();
    runtime.metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn a_drained_worker_of_a_simulation_leaves_no_task_behind() {
    let harness = Harness::new();
    let before = tasks().await;
    let handler = |_: Value, _: Context| async { Outcome::Done(None) };
    let builder = Harness::builder().handler("X", handler);
    let worker = simulated(&harness, builder, Arc::clone(&harness.backend.store)).await;
    worker.drain().await;
    assert_eq!(tasks().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_given_up_leaves_no_task_behind() {
    let harness = Harness::new();
    let before = tasks().await;
    let handler = |_: Value, _: Context| async { Outcome::Done(None) };
    let builder = Harness::builder().handler("X", handler);
    let leases = LeaseStore::connect(std::future::pending).on_current_runtime();
    let start = builder.start(harness.backend.clone(), leases);
    let given_up = tokio::time::timeout(Duration::from_secs(1), start).await;
    assert!(given_up.is_err(), "its store never connects");
    assert_eq!(tasks().await, before);
}

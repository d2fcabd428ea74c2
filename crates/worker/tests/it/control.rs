//! Pause, cancel and drain of handlers that run.

use std::sync::Arc;
use std::time::Duration;

use drumline_protocol::{Event, Status};
use drumline_worker::{Context, HandlerError, HandlerFuture, Limits, Outcome, StopReason};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::harness::{Draft, Harness, draft, in_time};

/// The time in which a handler hears of a request to stop.
const PROMPT: Duration = Duration::from_secs(1);
/// The rounds of which most decide: a machine that is busy for a moment decides nothing, and a
/// delay that comes again and again does.
const ROUNDS: usize = 5;

/// The rounds in which a request was heard in time, and those in which it was not.
#[derive(Debug, Default)]
pub(crate) struct Promptness(Vec<Duration>);

impl Promptness {
    pub(crate) fn note(&mut self, took: Duration) {
        self.0.push(took);
    }

    fn prompt(&self) -> usize {
        self.0.iter().filter(|took| **took < PROMPT).count()
    }

    /// Returns true once most of the rounds are known to be in time, or not to be.
    pub(crate) fn is_decided(&self) -> bool {
        self.prompt().max(self.0.len() - self.prompt()) > ROUNDS / 2
    }

    pub(crate) fn assert_prompt(&self) {
        assert!(self.prompt() > ROUNDS / 2, "{:?}", self.0);
    }
}

/// A handler that reports its start, and stops when it is asked to, reporting
/// the reason.
fn obedient() -> (
    impl Fn(Value, Context) -> HandlerFuture,
    mpsc::UnboundedReceiver<Option<StopReason>>,
) {
    let (tell, hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, context: Context| {
        let tell = tell.clone();
        let run: HandlerFuture = Box::pin(async move {
            tell.send(None).expect("heard");
            let reason = context.stop_requested().await;
            tell.send(Some(reason)).expect("heard");
            Outcome::Stopped
        });
        run
    };
    (handler, hear)
}

#[tokio::test]
async fn a_running_handler_hears_of_a_cancel_within_a_second() {
    let harness = Harness::new();
    let (handler, mut hear) = obedient();
    let worker = harness
        .start(Harness::builder().handler("X", handler))
        .await;
    let mut promptness = Promptness::default();
    while !promptness.is_decided() {
        let id = harness.submit(draft("X")).await;
        assert_eq!(in_time("start", hear.recv()).await, Some(None));
        let asked = Instant::now();
        harness.ask(id, Event::Cancel).await;
        let heard = in_time("stop", hear.recv()).await;
        assert_eq!(heard, Some(Some(StopReason::Cancel)));
        promptness.note(asked.elapsed());
        assert_eq!(harness.completed(id).await.header.status, Status::Canceled);
    }
    promptness.assert_prompt();
    worker.drain().await;
}

#[tokio::test]
async fn a_paused_handler_goes_on_from_its_checkpoint() {
    let harness = Harness::new();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, context: Context| {
        let tell = tell.clone();
        async move {
            if let Some(page) = context.saved_checkpoint::<u32>()? {
                return Ok(page);
            }
            context.checkpoint(&6)?;
            tell.send(()).expect("heard");
            assert_eq!(context.stop_requested().await, StopReason::Pause);
            context.checkpoint(&7)?;
            Err(HandlerError::stopped())
        }
    };
    let worker = harness
        .start(Harness::builder().handler("X", handler))
        .await;
    let id = harness.submit(draft("X")).await;
    in_time("start", hear.recv()).await;
    harness.ask(id, Event::Pause).await;
    let paused = harness.reaches(id, Status::Waiting).await;
    // Saved while it was stopping: written with the end of the run.
    assert_eq!(paused.report.checkpoint.as_deref(), Some("7"));
    harness.ask(id, Event::Resume).await;
    let operation = harness.completed(id).await;
    assert_eq!(operation.report.result.as_deref(), Some("7"));
    assert_eq!(operation.header.starts, 2);
    worker.drain().await;
}

#[tokio::test]
async fn a_handler_that_does_not_listen_is_dropped_when_its_grace_ends() {
    let harness = Harness::new();
    let started = Arc::new(Notify::new());
    let handler = {
        let started = Arc::clone(&started);
        move |_: Value, _: Context| {
            started.notify_one();
            std::future::pending::<Outcome>()
        }
    };
    let builder = Harness::builder().grace(Duration::from_millis(50));
    let worker = harness.start(builder.handler("X", handler)).await;
    let id = harness.submit(draft("X")).await;
    in_time("start", started.notified()).await;
    harness.ask(id, Event::Cancel).await;
    assert_eq!(harness.completed(id).await.header.status, Status::Canceled);
    in_time("slot", async {
        while worker.running() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    worker.drain().await;
}

#[tokio::test]
async fn a_handler_that_comes_to_its_end_meanwhile_succeeds() {
    let harness = Harness::new();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, context: Context| {
        let tell = tell.clone();
        async move {
            tell.send(()).expect("heard");
            context.stop_requested().await;
            Outcome::Done(None)
        }
    };
    let worker = harness
        .start(Harness::builder().handler("X", handler))
        .await;
    let id = harness.submit(draft("X")).await;
    in_time("start", hear.recv()).await;
    harness.ask(id, Event::Cancel).await;
    assert_eq!(harness.completed(id).await.header.status, Status::Succeeded);
    worker.drain().await;
}

#[tokio::test]
async fn a_retry_that_crosses_a_cancel_is_cancelled() {
    let harness = Harness::new();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, context: Context| {
        let tell = tell.clone();
        async move {
            tell.send(()).expect("heard");
            context.stop_requested().await;
            Err::<(), _>(HandlerError::retry("interrupted"))
        }
    };
    let worker = harness
        .start(Harness::builder().handler("X", handler))
        .await;
    let id = harness.submit(draft("X")).await;
    in_time("start", hear.recv()).await;
    harness.ask(id, Event::Cancel).await;
    assert_eq!(harness.completed(id).await.header.status, Status::Canceled);
    worker.drain().await;
}

#[tokio::test]
async fn a_cancel_after_a_pause_reaches_the_handler_too() {
    let harness = Harness::new();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, context: Context| {
        let tell = tell.clone();
        async move {
            tell.send(None).expect("heard");
            context.stop_requested().await;
            loop {
                let reason = context.stop_reason();
                tell.send(reason).expect("heard");
                if reason == Some(StopReason::Cancel) {
                    return Outcome::Stopped;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let worker = harness
        .start(Harness::builder().handler("X", handler))
        .await;
    let id = harness.submit(draft("X")).await;
    in_time("start", hear.recv()).await;
    harness.ask(id, Event::Pause).await;
    let paused = in_time("pause", hear.recv()).await;
    assert_eq!(paused, Some(Some(StopReason::Pause)));
    harness.ask(id, Event::Cancel).await;
    assert_eq!(harness.completed(id).await.header.status, Status::Canceled);
    worker.drain().await;
}

#[tokio::test]
async fn draining_gives_back_and_the_next_run_is_another_attempt() {
    let harness = Harness::new();
    let (handler, mut hear) = obedient();
    let builder = Harness::builder()
        .grace(Duration::from_secs(5))
        .drain_timeout(Duration::from_millis(5_050));
    let worker = harness.start(builder.handler("X", handler)).await;
    let id = harness.submit(draft("X")).await;
    in_time("start", hear.recv()).await;
    let drained = in_time("drain", worker.drain()).await;
    assert_eq!(drained.left_behind, 0);
    assert_eq!(hear.recv().await, Some(Some(StopReason::Drain)));
    let operation = harness.get(id).await;
    assert_eq!(operation.header.status, Status::WaitingForResources);
    assert_eq!(
        (operation.header.starts, operation.header.attempt()),
        (1, 1)
    );
    // The operation is on its way to other workers already: no manager looks
    // after the outbox here.
    let nothing = async |_: Value, _: Context| Outcome::Done(None);
    let other = harness
        .start(Harness::builder().handler("X", nothing))
        .await;
    let header = harness.completed(id).await.header;
    assert_eq!((header.starts, header.attempt()), (2, 2));
    other.drain().await;
}

#[tokio::test]
async fn after_a_timeout_nothing_is_success_whatever_else_is_asked() {
    for (event, expected) in [
        (Event::Cancel, Status::Canceled),
        (Event::Pause, Status::Waiting),
    ] {
        let harness = Harness::new();
        let (tell, mut hear) = mpsc::unbounded_channel();
        // Goes on until it is asked once more, and says that it has succeeded.
        let handler = move |_: Value, context: Context| {
            let tell = tell.clone();
            async move {
                let first = context.stop_requested().await;
                tell.send(first).expect("heard");
                while context.stop_reason() == Some(first) {
                    tokio::task::yield_now().await;
                }
                Outcome::Done(None)
            }
        };
        let limits = Limits::new().timeout(Duration::from_millis(50));
        let builder = Harness::builder().handler_with("X", limits, handler);
        let worker = harness.start(builder).await;
        let id = harness.submit(draft("X")).await;
        let reason = in_time("timeout", hear.recv()).await;
        assert_eq!(reason, Some(StopReason::Timeout));
        harness.ask(id, event).await;
        harness.reaches(id, expected).await;
        worker.drain().await;
    }
}

#[tokio::test]
async fn draining_drops_handlers_that_do_not_stop_and_gives_back_all_the_same() {
    let harness = Harness::new();
    let started = Arc::new(Notify::new());
    let handler = {
        let started = Arc::clone(&started);
        move |_: Value, _: Context| {
            started.notify_one();
            std::future::pending::<Outcome>()
        }
    };
    let builder = Harness::builder()
        .grace(Duration::from_millis(500))
        .drain_timeout(Duration::from_millis(1_000));
    let worker = harness.start(builder.handler("X", handler)).await;
    let id = harness.submit(draft("X")).await;
    in_time("start", started.notified()).await;
    let drained = in_time("drain", worker.drain()).await;
    assert_eq!(drained.left_behind, 0);
    let operation = harness.get(id).await;
    assert_eq!(operation.header.status, Status::WaitingForResources);
    assert_eq!(operation.header.attempt(), 1);
}

#[tokio::test]
async fn draining_ends_a_grace_that_is_longer_than_what_is_left() {
    let harness = Harness::new();
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |_: Value, context: Context| {
        let tell = tell.clone();
        async move {
            context.stop_requested().await;
            tell.send(()).expect("heard");
            std::future::pending::<Outcome>().await
        }
    };
    let limits = Limits::new().grace(Duration::from_secs(3_600));
    let builder = Harness::builder()
        .grace(Duration::from_millis(50))
        .drain_timeout(Duration::from_millis(500))
        .handler_with("X", limits, handler);
    let worker = harness.start(builder).await;
    let id = harness.submit(draft("X")).await;
    harness.reaches(id, Status::InProgress).await;
    harness.ask(id, Event::Cancel).await;
    in_time("cancel", hear.recv()).await;
    let drained = in_time("drain", worker.drain()).await;
    assert_eq!(drained.left_behind, 0);
    assert_eq!(harness.get(id).await.header.status, Status::Canceled);
}

#[tokio::test]
async fn limits_of_any_length_end_no_worker() {
    let harness = Harness::new();
    let limits = Limits::new().timeout(Duration::MAX).grace(Duration::MAX);
    let handler = async |_: Value, context: Context| {
        context.stop_requested().await;
        Outcome::Stopped
    };
    let builder = Harness::builder()
        .drain_timeout(Duration::MAX)
        .handler_with("X", limits, handler);
    let worker = harness.start(builder).await;
    let id = harness.submit(draft("X")).await;
    harness.reaches(id, Status::InProgress).await;
    harness.ask(id, Event::Cancel).await;
    assert_eq!(harness.completed(id).await.header.status, Status::Canceled);
    in_time("drain", worker.drain()).await;
}

#[tokio::test]
async fn draining_lets_handlers_come_to_their_end() {
    let harness = Harness::new();
    let (go, started) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (go, started) = (Arc::clone(&go), Arc::clone(&started));
        move |_: Value, context: Context| {
            let (go, started) = (Arc::clone(&go), Arc::clone(&started));
            async move {
                started.notify_one();
                go.notified().await;
                assert_eq!(context.stop_reason(), None);
                Outcome::Done(None)
            }
        }
    };
    let worker = harness
        .start(Harness::builder().handler("X", handler))
        .await;
    let id = harness.submit(draft("X")).await;
    in_time("start", started.notified()).await;
    let drain = worker.drain();
    let (drained, ()) = in_time("drain", async {
        tokio::join!(drain, async {
            // A second operation is left to other workers, and does not start
            // here.
            harness.submit(draft("X")).await;
            go.notify_one();
        })
    })
    .await;
    assert_eq!(drained.left_behind, 0);
    assert_eq!(harness.get(id).await.header.status, Status::Succeeded);
}

#[tokio::test]
async fn an_at_most_once_operation_does_not_start_twice() {
    let harness = Harness::new();
    let (handler, mut hear) = obedient();
    let builder = Harness::builder()
        .grace(Duration::from_secs(5))
        .drain_timeout(Duration::from_millis(5_050));
    let worker = harness.start(builder.handler("X", handler)).await;
    let id = harness
        .submit(Draft {
            at_most_once: true,
            ..draft("X")
        })
        .await;
    in_time("start", hear.recv()).await;
    worker.drain().await;
    assert_eq!(harness.get(id).await.header.status, Status::Failed);
}

//! Handlers that fail too often.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use drumline_protocol::{Operation, Status};
use drumline_worker::{Builder, Context, ErrorCode, HandlerError, Limits, RunningWorker, Throttle};
use serde_json::{Value, json};

use crate::harness::{Harness, draft};

/// A throttle that bears so many failures; its pause outlives every test.
const fn strict(failures: u32) -> Throttle {
    Throttle {
        failures,
        within: Duration::from_secs(600),
        pause: Duration::from_secs(600),
    }
}

/// A handler that obeys its data.
async fn obey(word: String, _: Context) -> Result<(), HandlerError> {
    assert_ne!(word, "panic", "told so");
    match &*word {
        "fail" => Err(HandlerError::fail("told so")),
        "retry" => Err(HandlerError::retry("told so").after(Duration::from_secs(600))),
        "suspend" => Err(HandlerError::suspend("told so")),
        "hang" => std::future::pending().await,
        _ => Ok(()),
    }
}

async fn start(harness: &Harness, builder: Builder) -> RunningWorker {
    let limits = Limits::new()
        .timeout(Duration::from_millis(20))
        .grace(Duration::from_millis(1));
    let builder = builder.concurrency(1).handler_with("X", limits, obey);
    harness.start(builder).await
}

/// Runs one operation until nothing moves it any more.
async fn submit(harness: &Harness, message_name: &str, word: &str) -> Operation {
    let id = harness.submit(draft(message_name).data(&json!(word))).await;
    harness
        .until(id, |operation| match operation.header.status {
            Status::Succeeded | Status::Failed | Status::Waiting => true,
            Status::WaitingForResources
            | Status::InProgress
            | Status::Pausing
            | Status::Canceling
            | Status::Canceled => false,
        })
        .await
}

fn is_put_off(operation: &Operation) -> bool {
    let throttled = operation.header.status == Status::Waiting && operation.header.starts == 0;
    let code = operation.report.fault.as_ref().map(|fault| fault.code);
    assert_eq!(
        throttled,
        code == Some(ErrorCode::THROTTLED),
        "{operation:?}"
    );
    throttled
}

#[tokio::test]
async fn failures_retries_timeouts_and_panics_are_counted() {
    for word in ["fail", "retry", "panic", "hang"] {
        let harness = Harness::new();
        let worker = start(&harness, Harness::builder().throttle(strict(1))).await;
        for _ in 0..2 {
            assert!(!is_put_off(&submit(&harness, "X", word).await), "{word}");
        }
        let third = submit(&harness, "X", "succeed").await;
        assert!(is_put_off(&third), "{word}");
        assert_eq!(third.header.retry_count, 0);
        assert_eq!(third.header.postpone_until, None);
        let roster = harness.backend.membership.roster().await.expect("read");
        assert_eq!(roster.groups()[0].profile.throttled, ["X"], "{word}");
        worker.drain().await;
    }
}

#[tokio::test]
async fn those_that_wait_for_a_person_are_not_counted() {
    let harness = Harness::new();
    let worker = start(&harness, Harness::builder().throttle(strict(0))).await;
    for word in ["suspend", "succeed", "suspend"] {
        assert!(!is_put_off(&submit(&harness, "X", word).await));
    }
    worker.drain().await;
}

#[tokio::test]
async fn without_a_throttle_nothing_is_put_off() {
    let harness = Harness::new();
    let worker = start(&harness, Harness::builder()).await;
    for _ in 0..50 {
        assert!(!is_put_off(&submit(&harness, "X", "fail").await));
    }
    worker.drain().await;
}

#[tokio::test]
async fn each_message_name_has_its_own_count_and_a_handler_its_own_throttle() {
    let harness = Harness::new();
    let patient = Limits::new().throttle(strict(100));
    let builder = Harness::builder()
        .throttle(strict(0))
        .handler_with("*", Limits::new(), obey)
        .handler_with("Patient", patient, obey);
    let worker = start(&harness, builder).await;
    for name in ["A", "B"] {
        assert!(!is_put_off(&submit(&harness, name, "fail").await));
        assert!(is_put_off(&submit(&harness, name, "fail").await));
    }
    for _ in 0..3 {
        assert!(!is_put_off(&submit(&harness, "Patient", "fail").await));
    }
    worker.drain().await;
}

#[tokio::test]
async fn a_promoted_head_is_put_off_too_and_keeps_its_place() {
    let harness = Harness::new();
    let mut ids = Vec::new();
    for word in ["fail", "succeed", "succeed"] {
        let draft = draft("X").token("t").data(&json!(word));
        ids.push(harness.submit(draft).await);
    }
    let worker = start(&harness, Harness::builder().throttle(strict(0))).await;
    let failed = harness.completed(ids[0]).await;
    assert_eq!(failed.header.status, Status::Failed);
    let second = harness.reaches(ids[1], Status::Waiting).await;
    assert!(is_put_off(&second));
    let third = harness.get(ids[2]).await;
    assert_eq!(third.header.status, Status::WaitingForResources);
    worker.drain().await;
}

#[tokio::test]
async fn after_each_pause_one_operation_is_risked_and_success_lets_all_through() {
    let harness = Harness::new();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    // The thing that it needs comes back after the third call.
    let handler = move |_: Value, _: Context| {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready(if call < 3 {
            Err(HandlerError::fail("away"))
        } else {
            Ok(())
        })
    };
    let throttle = Throttle {
        pause: Duration::from_millis(50),
        ..strict(0)
    };
    let builder = Harness::builder().concurrency(1).throttle(throttle);
    let worker = harness.start(builder.handler("X", handler)).await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(harness.submit(draft("X")).await);
    }
    let mut ended = Vec::new();
    for id in ids {
        ended.push(harness.completed(id).await.header);
    }
    let failed = ended
        .iter()
        .filter(|header| header.status == Status::Failed);
    assert_eq!(failed.count(), 3);
    assert!(ended.iter().all(|header| header.starts == 1));
    assert_eq!(calls.load(Ordering::Relaxed), 10);
    worker.drain().await;
}

#[tokio::test]
async fn a_probe_that_is_stopped_leaves_its_place_to_the_next() {
    let harness = Harness::new();
    let throttle = Throttle {
        pause: Duration::from_millis(20),
        ..strict(0)
    };
    let worker = start(&harness, Harness::builder().throttle(throttle)).await;
    assert_eq!(
        submit(&harness, "X", "fail").await.header.status,
        Status::Failed
    );
    // The end says nothing about the handler; if it kept the probe's place,
    // nothing would ever run again.
    let id = harness.submit(draft("X").data(&json!("suspend"))).await;
    harness
        .until(id, |operation| operation.header.starts == 1)
        .await;
    let id = harness.submit(draft("X").data(&json!("succeed"))).await;
    let operation = harness.completed(id).await;
    assert_eq!(operation.header.status, Status::Succeeded);
    worker.drain().await;
}

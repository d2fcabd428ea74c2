//! The fate of an operation by the outcome of its handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use drumline_protocol::{Operation, RetryPolicy, Status};
use drumline_worker::{Builder, Context, ErrorCode, HandlerError, Limits, Outcome};
use serde_json::{Value, json};

use crate::harness::{Draft, Harness, draft};

/// Runs one operation on one worker to its end.
async fn run(builder: Builder, draft: Draft) -> Operation {
    let harness = Harness::new();
    let worker = harness.start(builder).await;
    let id = harness.submit(draft).await;
    let operation = harness.completed(id).await;
    worker.drain().await;
    operation
}

fn fault(operation: &Operation) -> (ErrorCode, String) {
    let fault = operation.report.fault.clone().expect("a fault");
    (fault.code, fault.message)
}

#[derive(serde::Deserialize)]
struct Sum {
    a: i64,
    b: i64,
}

async fn add(sum: Sum, context: Context) -> Result<i64, HandlerError> {
    assert_eq!(context.attempt(), 1);
    context.progress(50, "adding");
    Ok(sum.a + sum.b)
}

#[tokio::test]
async fn a_result_is_stored_with_the_success() {
    let operation = run(
        Harness::builder().handler("Add", add).host("here"),
        draft("Add").data(&json!({"a": 2, "b": 40})),
    )
    .await;
    assert_eq!(operation.header.status, Status::Succeeded);
    assert_eq!(operation.report.result.as_deref(), Some("42"));
    // Reported, and never written by itself: the report comes with the end.
    assert_eq!(operation.report.progress.map(|p| p.percent), Some(50));
    assert_eq!(operation.header.host_id.as_deref(), Some("here"));
    assert_eq!(operation.header.starts, 1);
}

#[tokio::test]
async fn data_that_the_handler_does_not_expect_fails() {
    let operation = run(
        Harness::builder().handler("Add", add),
        draft("Add").data(&json!({"a": "two"})),
    )
    .await;
    assert_eq!(operation.header.status, Status::Failed);
    let (code, message) = fault(&operation);
    assert_eq!(code, ErrorCode::INVALID_ARGUMENT);
    assert!(message.contains("invalid type"), "{message}");
}

#[tokio::test]
async fn an_error_fails_with_its_text() {
    let handler = async |_: Value, _: Context| -> Result<(), HandlerError> {
        "seven".parse::<u32>()?;
        Ok(())
    };
    let operation = run(Harness::builder().handler("X", handler), draft("X")).await;
    assert_eq!(operation.header.status, Status::Failed);
    let expected = "invalid digit found in string".to_owned();
    assert_eq!(fault(&operation), (ErrorCode::HANDLER_FAILED, expected));
}

#[tokio::test]
async fn a_panic_is_a_failure_and_the_worker_goes_on() {
    let harness = Harness::new();
    let handler = async |fatal: bool, _: Context| -> Result<(), HandlerError> {
        assert!(!fatal, "no wheels");
        Ok(())
    };
    let worker = harness
        .start(Harness::builder().concurrency(1).handler("X", handler))
        .await;
    let first = harness.submit(draft("X").data(&json!(true))).await;
    let second = harness.submit(draft("X").data(&json!(false))).await;
    let first = harness.completed(first).await;
    assert_eq!(first.header.status, Status::Failed);
    assert!(fault(&first).1.contains("no wheels"), "{first:?}");
    assert_eq!(
        harness.completed(second).await.header.status,
        Status::Succeeded
    );
    worker.drain().await;
}

#[tokio::test]
async fn a_retry_runs_again_and_may_succeed() {
    let tries = Arc::new(AtomicU32::new(0));
    let handler = move |_: Value, context: Context| {
        let tries = Arc::clone(&tries);
        async move {
            let before = tries.fetch_add(1, Ordering::Relaxed);
            assert_eq!(context.attempt(), before + 1);
            if before < 2 {
                return Err(HandlerError::new(ErrorCode::SERVER_BUSY, "full"));
            }
            Ok("at last")
        }
    };
    let operation = run(Harness::builder().handler("X", handler), draft("X")).await;
    assert_eq!(operation.header.status, Status::Succeeded);
    assert_eq!(operation.header.starts, 3);
    assert_eq!(operation.header.retry_count, 2);
    assert_eq!(operation.report.fault, None);
}

#[tokio::test]
async fn retries_come_to_an_end() {
    let handler = async |_: Value, _: Context| -> Result<(), HandlerError> {
        Err(HandlerError::retry("never"))
    };
    let retry = RetryPolicy {
        max_retries: 2,
        initial_ms: 1,
        ..RetryPolicy::default()
    };
    let operation = run(
        Harness::builder().handler("X", handler),
        Draft {
            retry,
            ..draft("X")
        },
    )
    .await;
    assert_eq!(operation.header.status, Status::Failed);
    assert_eq!(operation.header.starts, 3);
}

#[tokio::test]
async fn a_handler_may_ask_for_a_person() {
    let harness = Harness::new();
    let handler = async |_: Value, _: Context| -> Result<(), HandlerError> {
        Err(HandlerError::suspend("no licence").friendly("Buy one."))
    };
    let worker = harness
        .start(Harness::builder().handler("X", handler))
        .await;
    let id = harness.submit(draft("X")).await;
    let operation = harness.reaches(id, Status::Waiting).await;
    assert_eq!(operation.header.postpone_until, None);
    let fault = operation.report.fault.expect("a fault");
    assert_eq!(fault.friendly_message, "Buy one.");
    worker.drain().await;
}

#[tokio::test]
async fn a_handler_that_takes_too_long_fails() {
    let handler = async |_: Value, context: Context| {
        assert!(context.deadline().is_some());
        context.stop_requested().await;
        Outcome::Stopped
    };
    let limits = Limits::new().timeout(Duration::from_millis(30));
    let operation = run(
        Harness::builder().handler_with("X", limits, handler),
        draft("X"),
    )
    .await;
    assert_eq!(operation.header.status, Status::Failed);
    let expected = "the handler has not ended within 30ms".to_owned();
    assert_eq!(fault(&operation), (ErrorCode::HANDLER_TIMEOUT, expected));
}

#[tokio::test]
async fn a_handler_that_hangs_may_be_tried_again() {
    let handler = async |_: Value, context: Context| {
        if context.attempt() == 1 {
            std::future::pending::<()>().await;
        }
        Outcome::Done(None)
    };
    let limits = Limits::new()
        .timeout(Duration::from_millis(30))
        .grace(Duration::from_millis(10))
        .retry_on_timeout();
    let operation = run(
        Harness::builder().handler_with("X", limits, handler),
        draft("X"),
    )
    .await;
    assert_eq!(operation.header.status, Status::Succeeded);
    assert_eq!(operation.header.retry_count, 1);
}

#[tokio::test]
async fn a_result_that_is_too_large_fails() {
    let handler =
        async |_: Value, _: Context| Outcome::done(&"x".repeat(drumline_worker::REPORT_BYTES));
    let operation = run(Harness::builder().handler("X", handler), draft("X")).await;
    assert_eq!(operation.header.status, Status::Failed);
    assert_eq!(fault(&operation).0, ErrorCode::TOO_LARGE);
}

#[tokio::test]
async fn stopping_without_being_asked_is_a_failure() {
    let handler = async |_: Value, _: Context| Outcome::Stopped;
    let operation = run(Harness::builder().handler("X", handler), draft("X")).await;
    assert_eq!(operation.header.status, Status::Failed);
}

//! Operations whose time to start is over when a worker meets them. No queue
//! manager runs here: the worker alone must not start them.

use std::sync::Arc;
use std::time::Duration;

use drumline_protocol::{ErrorCode, Operation, Status, Timestamp};
use drumline_worker::{Context, HandlerError, NewChild};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use crate::harness::{Draft, Harness, draft, in_time};

fn expiring(not_after: Timestamp) -> Draft {
    Draft {
        not_after: Some(not_after),
        ..draft("X").token("t")
    }
}

fn assert_expired(operation: &Operation) {
    assert_eq!(operation.header.status, Status::Failed);
    assert_eq!(operation.header.starts, 0);
    let code = operation.report.fault.as_ref().map(|fault| fault.code);
    assert_eq!(code, Some(ErrorCode::EXPIRED));
}

#[tokio::test]
async fn what_is_offered_too_late_expires_and_its_successor_runs() {
    let harness = Harness::new();
    let past = Timestamp::from_millis(1);
    let first = harness.submit(expiring(past)).await;
    let second = harness.submit(expiring(past)).await;
    let third = harness.submit(draft("X").token("t").data(&json!(3))).await;
    let (tell, mut hear) = mpsc::unbounded_channel();
    let handler = move |data: Value, _: Context| {
        let tell = tell.clone();
        async move {
            tell.send(data).expect("heard");
            Ok::<_, HandlerError>(())
        }
    };
    let worker = harness
        .start(Harness::builder().handler("X", handler))
        .await;
    assert_eq!(in_time("start", hear.recv()).await, Some(json!(3)));
    let third = harness.completed(third).await;
    assert_eq!(third.header.status, Status::Succeeded);
    for id in [first, second] {
        assert_expired(&harness.get(id).await);
    }
    worker.drain().await;
    assert!(hear.recv().await.is_none(), "nothing else was started");
}

#[tokio::test]
async fn what_becomes_the_head_too_late_expires_and_the_chain_goes_on() {
    let harness = Harness::new();
    let go_on = Arc::new(Notify::new());
    let (tell, mut hear) = mpsc::unbounded_channel();
    let gate = Arc::clone(&go_on);
    let handler = move |data: Value, _: Context| {
        let (tell, gate) = (tell.clone(), Arc::clone(&gate));
        async move {
            tell.send(data.clone()).expect("heard");
            if data == json!(1) {
                gate.notified().await;
            }
            Ok::<_, HandlerError>(())
        }
    };
    let worker = harness
        .start(Harness::builder().handler("X", handler))
        .await;
    harness.submit(draft("X").token("t").data(&json!(1))).await;
    assert_eq!(in_time("start", hear.recv()).await, Some(json!(1)));
    let soon = harness.backend.store.now();
    let second = harness.submit(expiring(soon)).await;
    let third = harness.submit(draft("X").token("t").data(&json!(3))).await;
    go_on.notify_one();
    assert_eq!(in_time("start", hear.recv()).await, Some(json!(3)));
    harness.completed(third).await;
    assert_expired(&harness.get(second).await);
    worker.drain().await;
}

#[tokio::test]
async fn a_child_may_have_a_time_to_start() {
    let harness = Harness::new();
    let time = harness
        .backend
        .store
        .now()
        .saturating_add(Duration::from_secs(60));
    let handler = move |_: Value, context: Context| async move {
        let child = NewChild::new("Child").not_after(time);
        context.create(child).await?;
        Ok::<_, HandlerError>(())
    };
    let worker = harness
        .start(Harness::builder().handler("Parent", handler))
        .await;
    let parent = harness.submit(draft("Parent")).await;
    harness.completed(parent).await;
    let mut all = harness.all().await.into_iter();
    let child = all.find(|operation| operation.body.message_name == "Child");
    let child = child.expect("a child");
    assert_eq!(child.header.expires_on(), Some(time));
    worker.drain().await;
}

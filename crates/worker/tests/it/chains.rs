//! Order per token, over several workers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drumline_worker::{Builder, Context, HandlerError};
use serde_json::{Value, json};

use crate::harness::{Harness, draft, in_time};

/// The runs per token: (number, start or end).
type Log = Arc<Mutex<BTreeMap<String, Vec<(u64, &'static str)>>>>;

fn note(log: &Log, token: &str, number: u64, what: &'static str) {
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let runs = log.entry(token.to_owned()).or_default();
    runs.push((number, what));
}

/// Runs for a random moment; every fifth first attempt is to be retried.
fn logged(log: &Log) -> Builder {
    let log = Arc::clone(log);
    let handler = move |(token, number): (String, u64), context: Context| {
        let log = Arc::clone(&log);
        async move {
            note(&log, &token, number, "start");
            let pause = u64::from(context.fence().0.to_be_bytes()[7]) % 5;
            tokio::time::sleep(Duration::from_millis(pause)).await;
            note(&log, &token, number, "end");
            if number % 5 == 0 && context.attempt() == 1 {
                return Err(HandlerError::retry("once more"));
            }
            Ok(number)
        }
    };
    Harness::builder().concurrency(8).handler("Log", handler)
}

/// Each start is followed by its own end, numbers never go down, none is
/// missing, and a repeated number is a retry.
fn assert_in_order(log: &Log, tokens: usize, numbers: u64) {
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(log.len(), tokens);
    for (token, runs) in &*log {
        let mut expected = Vec::new();
        for number in 0..numbers {
            let times = if number % 5 == 0 { 2 } else { 1 };
            for _ in 0..times {
                expected.extend([(number, "start"), (number, "end")]);
            }
        }
        assert_eq!(runs, &expected, "{token}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_of_a_token_run_one_by_one_in_order_of_creation() {
    let harness = Harness::new();
    let log = Log::default();
    let first = harness.start(logged(&log)).await;
    let second = harness.start(logged(&log)).await;
    let (tokens, numbers) = (10, 20);
    let mut ids = Vec::new();
    for number in 0..numbers {
        for token in 0..tokens {
            let token = format!("t{token}");
            let draft = draft("Log").token(&token).data(&json!([token, number]));
            ids.push(harness.submit(draft).await);
        }
    }
    for id in ids {
        harness.completed(id).await;
    }
    assert_in_order(&log, tokens, numbers);
    first.drain().await;
    second.drain().await;
}

#[tokio::test]
async fn the_next_of_a_chain_goes_on_in_the_same_slot_without_the_broker() {
    let harness = Harness::new();
    let log = Log::default();
    let mut ids = Vec::new();
    for number in 1..5 {
        let draft = draft("Log").token("t").data(&json!(["t", number]));
        ids.push(harness.submit(draft).await);
    }
    let worker = harness.start(logged(&log).concurrency(1)).await;
    for id in ids {
        harness.completed(id).await;
    }
    // Each was started once: no other process could have published the promoted
    // operations.
    assert_eq!(log.lock().expect("not poisoned")["t"].len(), 8);
    worker.drain().await;
}

#[tokio::test]
async fn a_chain_that_goes_on_elsewhere_is_handed_on() {
    let harness = Harness::new();
    let run = async |_: Value, _: Context| -> Result<(), HandlerError> { Ok(()) };
    let one = harness.start(Harness::builder().handler("A", run)).await;
    let other = harness.start(Harness::builder().handler("B", run)).await;
    let first = harness.submit(draft("A").token("t")).await;
    let second = harness.submit(draft("B").token("t")).await;
    let third = harness.submit(draft("A").token("t")).await;
    for id in [first, second, third] {
        in_time("the chain", Box::pin(harness.completed(id))).await;
    }
    one.drain().await;
    other.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_workers_claim_each_operation_once() {
    let harness = Harness::new();
    let run = async |_: Value, context: Context| -> Result<u32, HandlerError> {
        Ok(context.operation().header.starts)
    };
    let mut workers = Vec::new();
    for _ in 0..4 {
        let builder = Harness::builder().concurrency(4).handler("X", run);
        workers.push(harness.start(builder).await);
    }
    let mut ids = Vec::new();
    for _ in 0..300 {
        ids.push(harness.submit(draft("X")).await);
    }
    for id in ids {
        let operation = harness.completed(id).await;
        assert_eq!(operation.header.starts, 1);
    }
    for worker in workers {
        worker.drain().await;
    }
}

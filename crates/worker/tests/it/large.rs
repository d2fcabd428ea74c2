//! Large operations: their records do not come with the claim, and are read behind
//! it.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::Store;
use drumline_backend::store::ALONG_BYTES;
use drumline_protocol::Status;
use drumline_worker::{Context, Outcome};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::faulty_store::FaultyStore;
use crate::harness::{Harness, draft, in_time};

/// Data that do not come with a claim.
fn large() -> Value {
    json!({ "text": "x".repeat(ALONG_BYTES) })
}

/// Succeeds with the length of the text that it was given.
async fn measure(data: Value, _context: Context) -> Outcome {
    let length = data["text"].as_str().map_or(0, str::len);
    Outcome::Done(Some(length.to_string()))
}

#[tokio::test]
async fn a_chain_of_large_operations_runs_with_all_its_data() {
    let harness = Harness::new();
    let mut ids = Vec::new();
    for size in [large(), json!({"text": "x"}), large(), large()] {
        let draft = draft("X").token("a token").data(&size);
        ids.push(harness.submit(draft).await);
    }
    let builder = Harness::builder().concurrency(2).handler("X", measure);
    let _worker = harness.start(builder).await;
    for (id, length) in ids
        .into_iter()
        .zip([ALONG_BYTES, 1, ALONG_BYTES, ALONG_BYTES])
    {
        let operation = harness.completed(id).await;
        assert_eq!(operation.header.status, Status::Succeeded);
        assert_eq!(operation.header.starts, 1);
        assert_eq!(operation.report.result, Some(length.to_string()));
    }
}

#[tokio::test]
async fn the_lease_is_renewed_while_a_large_operation_is_read() {
    const LEASE: Duration = Duration::from_secs(2);
    let harness = Harness::new();
    let store: Arc<dyn Store> = Arc::clone(&harness.backend.store);
    let slow = FaultyStore::over(Arc::clone(&store));
    slow.reads.send_replace(false);
    let mut backend = harness.backend.clone();
    backend.store = slow.clone();
    let builder = Harness::builder().lease(LEASE).handler("X", measure);
    let started = builder.start(backend, Arc::clone(&store)).await;
    let _worker = started.expect("the worker starts");
    let id = harness.submit(draft("X").data(&large())).await;
    let begun = Instant::now();
    let beat = async {
        loop {
            let locks = store.locks(id.partition()).await.expect("locks");
            let beat = locks.first().map_or(0, |lock| lock.beat);
            if beat >= 5 {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    in_time("renewals", beat).await;
    assert!(
        begun.elapsed() > LEASE,
        "without it, the lock had stood still"
    );
    assert_eq!(harness.get(id).await.header.status, Status::InProgress);
    slow.reads.send_replace(true);
    let operation = harness.completed(id).await;
    assert_eq!(operation.header.status, Status::Succeeded);
    assert_eq!(operation.header.starts, 1);
    assert_eq!(operation.report.result, Some(ALONG_BYTES.to_string()));
}

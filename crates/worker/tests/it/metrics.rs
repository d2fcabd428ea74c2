//! The metrics of a worker.

use drumline_protocol::{ErrorCode, Status};
use drumline_worker::{Context, Fault, HandlerError, Outcome};
use serde_json::Value;

use crate::harness::{Harness, draft, in_time};

async fn nothing(_: Value, _: Context) -> Result<(), HandlerError> {
    Ok(())
}

async fn fails(_: Value, _: Context) -> Outcome {
    Outcome::Fail(Fault::new(ErrorCode::HANDLER_FAILED, "no", "no"))
}

#[tokio::test]
async fn runs_are_counted_by_queue_handler_and_outcome() {
    let harness = Harness::new();
    let builder = Harness::builder().concurrency(3);
    let builder = builder.handler("Known", fails).handler("*", nothing);
    let worker = harness.start(builder).await;
    let metrics = worker.metrics();
    for (message, status) in [
        ("Known", Status::Failed),
        ("Any", Status::Succeeded),
        ("Other", Status::Succeeded),
    ] {
        let id = harness.submit(draft(message)).await;
        assert_eq!(harness.completed(id).await.header.status, status);
    }
    // A run is counted behind the commit of its end.
    for line in [
        r#"drumline_runs_started_total{queue="default",message="*"} 2"#,
        r#"drumline_runs_ended_total{queue="default",message="*",outcome="succeeded"} 2"#,
        r#"drumline_runs_ended_total{queue="default",message="Known",outcome="failed"} 1"#,
        r#"drumline_run_duration_seconds_count{queue="default",message="Known"} 1"#,
        r#"drumline_queue_wait_seconds_count{queue="default",message="*"} 2"#,
        r#"drumline_operations_ended_total{outcome="succeeded"} 2"#,
        r#"drumline_operations_ended_total{outcome="failed"} 1"#,
        r#"drumline_store_call_duration_seconds_count{call="claim"} 3"#,
        r#"drumline_store_call_duration_seconds_count{call="end"} 3"#,
        "drumline_running_operations 0",
        "drumline_slots 3",
    ] {
        let counted = async {
            while !metrics.text().contains(line) {
                tokio::task::yield_now().await;
            }
        };
        in_time(line, counted).await;
    }
}

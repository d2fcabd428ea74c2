//! The throughput of a worker whose handlers do nothing.

use drumline_worker::{Context, HandlerError};
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::harness::{Harness, draft, in_time};

const COUNT: u32 = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a check: run it with --release and --nocapture"]
async fn operations_per_second_of_a_no_op_handler() {
    for token in [false, true] {
        let harness = Harness::new();
        for number in 0..COUNT {
            let draft = draft("X");
            harness
                .submit(if token {
                    draft.token(&(number % 1000).to_string())
                } else {
                    draft
                })
                .await;
        }
        let handler = async |_: Value, _: Context| -> Result<(), HandlerError> { Ok(()) };
        let mut completed = harness.backend.store.completions();
        let start = Instant::now();
        let builder = Harness::builder().concurrency(64).handler("X", handler);
        let worker = harness.start(builder).await;
        let mut left = COUNT;
        in_time("all", async {
            while left > 0 {
                match completed.recv().await {
                    Ok(_id) => left -= 1,
                    Err(RecvError::Lagged(missed)) => {
                        left = left.saturating_sub(u32::try_from(missed).expect("few"));
                    }
                    Err(RecvError::Closed) => return,
                }
            }
        })
        .await;
        let rate = f64::from(COUNT) / start.elapsed().as_secs_f64();
        println!("token: {token}: {rate:.0} operations/s");
        worker.drain().await;
    }
}

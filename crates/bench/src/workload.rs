//! Creating as fast as possible, with or without workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use drumline_api::CreateOperation;
use drumline_protocol::DependencyToken;
use drumline_queue_manager::{Actor, QueueManager};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::harness::{Count, Harness};
use crate::plan::{Measurement, Plan};
use crate::rate;
use crate::workers::MESSAGE;

/// Callers that create batches at the same time: each has many operations on
/// its workload.
const BATCH_CALLERS: usize = 8;
/// After the round nothing is created; operations on their way must come
/// through.
pub(crate) const TAIL: Duration = Duration::from_secs(60);

/// The way that operations are created.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    callers: usize,
    /// Operations per call.
    batch: usize,
    /// Different tokens; none: independent operations.
    tokens: Option<usize>,
}

impl Workload {
    /// The way that a measurement wants.
    pub(crate) fn of(plan: &Plan, measurement: Measurement) -> Self {
        let one_by_one = matches!(measurement, Measurement::Create | Measurement::Single);
        Self {
            callers: if one_by_one {
                plan.callers.get()
            } else {
                BATCH_CALLERS
            },
            batch: if one_by_one { 1 } else { plan.batch.get() },
            tokens: (measurement == Measurement::Ordered).then(|| plan.tokens.get()),
        }
    }
}

/// Creates per second.
pub(crate) async fn create(
    harness: &Harness,
    workload: &Workload,
    length: Duration,
) -> anyhow::Result<f64> {
    let start = Instant::now();
    let created = callers(harness, workload, start + length, None).await?;
    Ok(rate(created, start.elapsed()))
}

/// Operations per second from create to Completed.
pub(crate) async fn through(
    harness: &Harness,
    workload: &Workload,
    length: Duration,
) -> anyhow::Result<f64> {
    let before = harness.count.completed();
    let start = Instant::now();
    let created = callers(harness, workload, start + length, Some(&harness.count)).await?;
    let all = async {
        loop {
            let progress = harness.count.progress.notified();
            if harness.count.completed() >= before + created {
                return;
            }
            progress.await;
        }
    };
    let through = timeout(TAIL, all).await;
    let took = start.elapsed();
    let completed = harness.count.completed() - before;
    ensure!(
        through.is_ok(),
        "only {completed} of {created} operations were Completed"
    );
    Ok(rate(created, took))
}

/// Creates until the end, and returns the number. With a count, no more are
/// outstanding than it has room for.
async fn callers(
    harness: &Harness,
    workload: &Workload,
    end: Instant,
    count: Option<&Arc<Count>>,
) -> anyhow::Result<u64> {
    let next_token = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..workload.callers {
        callers.spawn(call(Call {
            manager: harness.manager.clone(),
            caller: harness.caller.clone(),
            workload: workload.clone(),
            end,
            count: count.map(Arc::clone),
            next_token: Arc::clone(&next_token),
        }));
    }
    let mut created = 0;
    while let Some(caller) = callers.join_next().await {
        created += caller??;
    }
    Ok(created)
}

/// The inputs of one caller.
struct Call {
    manager: QueueManager,
    caller: Actor,
    workload: Workload,
    end: Instant,
    count: Option<Arc<Count>>,
    next_token: Arc<AtomicUsize>,
}

async fn call(call: Call) -> anyhow::Result<u64> {
    let mut created = 0;
    let size = u32::try_from(call.workload.batch).context("the batch is too large")?;
    while Instant::now() < call.end {
        if let Some(count) = &call.count {
            count.room.acquire_many(size).await?.forget();
        }
        if call.workload.batch == 1 {
            call.manager
                .create(&call.caller, call.request()?, None)
                .await?;
        } else {
            let requests = (0..size)
                .map(|_| call.request())
                .collect::<anyhow::Result<Vec<_>>>()?;
            for answer in call.manager.create_many(&call.caller, requests).await {
                answer?;
            }
        }
        created += u64::from(size);
    }
    Ok(created)
}

impl Call {
    fn request(&self) -> anyhow::Result<CreateOperation> {
        let mut request = CreateOperation::new(MESSAGE);
        if let Some(tokens) = self.workload.tokens {
            let token = self.next_token.fetch_add(1, Ordering::Relaxed) % tokens;
            request.dependency_token = Some(DependencyToken::try_from(format!("token-{token}"))?);
        }
        Ok(request)
    }
}

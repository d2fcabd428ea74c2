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

use super::crew::MESSAGE;
use super::rate;
use super::rig::{Count, Rig};
use crate::cli::tools::{Bench, Measurement};

/// Callers that create batches at the same time: each has many operations on
/// its way.
const BATCH_CALLERS: usize = 8;
/// After the round nothing is created; operations on their way must come
/// through.
const TAIL: Duration = Duration::from_secs(60);

/// The way that operations are created.
#[derive(Clone, Debug)]
pub(super) struct Way {
    callers: usize,
    /// Operations per call.
    batch: usize,
    /// Different tokens; none: independent operations.
    tokens: Option<usize>,
}

impl Way {
    /// The way that a measurement wants.
    pub(super) fn of(bench: &Bench, measurement: Measurement) -> Self {
        let one_by_one = matches!(measurement, Measurement::Create | Measurement::Single);
        Self {
            callers: if one_by_one {
                bench.callers.get()
            } else {
                BATCH_CALLERS
            },
            batch: if one_by_one { 1 } else { bench.batch.get() },
            tokens: (measurement == Measurement::Ordered).then(|| bench.tokens.get()),
        }
    }
}

/// Creates per second.
pub(super) async fn create(rig: &Rig, way: &Way, length: Duration) -> anyhow::Result<f64> {
    let start = Instant::now();
    let created = callers(rig, way, start + length, None).await?;
    Ok(rate(created, start.elapsed()))
}

/// Operations per second from create to Completed.
pub(super) async fn through(rig: &Rig, way: &Way, length: Duration) -> anyhow::Result<f64> {
    let before = rig.count.completed();
    let start = Instant::now();
    let created = callers(rig, way, start + length, Some(&rig.count)).await?;
    let all = async {
        loop {
            let progress = rig.count.progress.notified();
            if rig.count.completed() >= before + created {
                return;
            }
            progress.await;
        }
    };
    let through = timeout(TAIL, all).await;
    let took = start.elapsed();
    let completed = rig.count.completed() - before;
    ensure!(
        through.is_ok(),
        "only {completed} of {created} operations were Completed"
    );
    Ok(rate(created, took))
}

/// Creates until the end, and returns the number. With a count, no more are
/// outstanding than it has room for.
async fn callers(
    rig: &Rig,
    way: &Way,
    end: Instant,
    count: Option<&Arc<Count>>,
) -> anyhow::Result<u64> {
    let next_token = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..way.callers {
        callers.spawn(call(Call {
            manager: rig.manager.clone(),
            caller: rig.caller.clone(),
            way: way.clone(),
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
    way: Way,
    end: Instant,
    count: Option<Arc<Count>>,
    next_token: Arc<AtomicUsize>,
}

async fn call(call: Call) -> anyhow::Result<u64> {
    let mut created = 0;
    let size = u32::try_from(call.way.batch).context("the batch is too large")?;
    while Instant::now() < call.end {
        if let Some(count) = &call.count {
            count.room.acquire_many(size).await?.forget();
        }
        if call.way.batch == 1 {
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
        if let Some(tokens) = self.way.tokens {
            let token = self.next_token.fetch_add(1, Ordering::Relaxed) % tokens;
            request.dependency_token = Some(DependencyToken::try_from(format!("token-{token}"))?);
        }
        Ok(request)
    }
}

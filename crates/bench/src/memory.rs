//! Bytes of the store per operation, beside its payload.

use anyhow::ensure;
use drumline_api::CreateOperation;
use drumline_protocol::DependencyToken;
use tokio::time::timeout;

use crate::harness::Harness;
use crate::plan::Plan;
use crate::report::Reading;
use crate::target::{Target, TargetServers};
use crate::workers::MESSAGE;
use crate::workload::TAIL;
use crate::{float, mean};

/// Enough to make the memory that Redis uses for itself negligible.
const OPERATIONS: usize = 20_000;
const BATCH: usize = 200;
/// Operations in one chain, where they are chained.
const CHAIN: usize = 10;
/// The bytes of each payload, which are the caller's own.
const PAYLOAD: usize = 512;
const BYTES: &str = "bytes";

/// Measures operations that wait, alone and in chains, and Completed ones.
pub(crate) async fn round(
    target: &dyn Target,
    servers: &dyn TargetServers,
    plan: &Plan,
) -> anyhow::Result<Vec<Reading>> {
    let mut readings = Vec::new();
    for (waiting, chain) in [
        ("Redis per waiting operation", None),
        ("Redis per operation in a chain of ten", Some(CHAIN)),
    ] {
        let before = servers.store_bytes().await?;
        let harness = Harness::without_workers(target).await?;
        let filled = fill(&harness, chain).await;
        harness.take_down().await;
        filled?;
        readings.extend(measure(servers, before, waiting).await?);
        if chain.is_none() {
            let harness = Harness::with_workers(target, plan).await?;
            let completed = complete(&harness).await;
            harness.take_down().await;
            completed?;
            readings.extend(measure(servers, before, "Redis per Completed operation").await?);
        }
        target.clean().await?;
    }
    Ok(readings)
}

/// Creates operations that wait.
async fn fill(harness: &Harness, chain: Option<usize>) -> anyhow::Result<()> {
    for first in (0..OPERATIONS).step_by(BATCH) {
        let requests = (first..first + BATCH)
            .map(|number| {
                let mut request = CreateOperation::new(MESSAGE);
                request.data = Some(format!("\"{}\"", "x".repeat(PAYLOAD - 2)));
                request.dependency_token = chain
                    .map(|length| DependencyToken::try_from(format!("token-{}", number / length)))
                    .transpose()?;
                Ok(request)
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        for created in harness.manager.create_many(&harness.caller, requests).await {
            created?;
        }
    }
    Ok(())
}

/// Waits until the workers have Completed what waits.
async fn complete(harness: &Harness) -> anyhow::Result<()> {
    let wanted = u64::try_from(OPERATIONS)?;
    let all = async {
        loop {
            let progress = harness.count.progress.notified();
            if harness.count.completed() >= wanted {
                return;
            }
            progress.await;
        }
    };
    let through = timeout(TAIL, all).await;
    let completed = harness.count.completed();
    ensure!(
        through.is_ok(),
        "only {completed} of {wanted} operations were Completed"
    );
    Ok(())
}

/// The bytes of the store that are more than `before`, less the payload, and
/// what of them is in which kind of key.
async fn measure(
    servers: &dyn TargetServers,
    before: u64,
    name: &str,
) -> anyhow::Result<Vec<Reading>> {
    let count = u64::try_from(OPERATIONS)?;
    let payload = float(u64::try_from(PAYLOAD)?);
    let total = servers.store_bytes().await?.saturating_sub(before);
    let mut readings = vec![Reading::alone(
        format!("{name}, beside its payload"),
        BYTES,
        mean(total, count) - payload,
    )];
    for (kind, bytes) in servers.store_bytes_by_kind().await? {
        let each = match kind {
            "records" => mean(bytes, count) - payload,
            _ => mean(bytes, count),
        };
        // Smaller shares belong to the namespace, not to the operation.
        if each >= 1.0 {
            readings.push(Reading::alone(format!("{name}: {kind}"), BYTES, each));
        }
    }
    Ok(readings)
}

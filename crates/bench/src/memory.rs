//! Bytes of Redis per waiting operation.

use drumline_api::CreateOperation;

use crate::harness::Harness;
use crate::mean;
use crate::target::TargetServers;
use crate::workers::MESSAGE;

/// Enough to make the memory that Redis uses for itself negligible.
const OPERATIONS: u64 = 20_000;
const BATCH: u64 = 200;
/// The payload: a small one, as bytes of payload are the caller's own.
const DATA: &str = r#"{"file":"solution_1_0_0_0.zip","publish":true}"#;

/// Creates operations that wait, and measures their memory.
pub(crate) async fn round(harness: &Harness, servers: &dyn TargetServers) -> anyhow::Result<f64> {
    let before = servers.store_bytes().await?;
    for _ in 0..OPERATIONS / BATCH {
        let requests = (0..BATCH)
            .map(|_| {
                let mut request = CreateOperation::new(MESSAGE);
                request.data = Some(DATA.to_owned());
                request
            })
            .collect();
        for created in harness.manager.create_many(&harness.caller, requests).await {
            created?;
        }
    }
    let after = servers.store_bytes().await?;
    Ok(mean(after.saturating_sub(before), OPERATIONS))
}

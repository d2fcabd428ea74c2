//! Bytes of Redis per waiting operation.

use drumline_api::CreateOperation;

use super::crew::MESSAGE;
use super::mean;
use super::rig::Rig;
use super::site::Site;

/// Enough to make the memory that Redis uses for itself negligible.
const OPERATIONS: u64 = 20_000;
const BATCH: u64 = 200;
/// The payload: a small one, as bytes of payload are the caller's own.
const DATA: &str = r#"{"file":"solution_1_0_0_0.zip","publish":true}"#;

/// Creates operations that wait, and measures their memory.
pub(super) async fn round(rig: &Rig, site: &Site) -> anyhow::Result<f64> {
    let before = site.redis_bytes().await?;
    for _ in 0..OPERATIONS / BATCH {
        let requests = (0..BATCH)
            .map(|_| {
                let mut request = CreateOperation::new(MESSAGE);
                request.data = Some(DATA.to_owned());
                request
            })
            .collect();
        for created in rig.manager.create_many(&rig.caller, requests).await {
            created?;
        }
    }
    let after = site.redis_bytes().await?;
    Ok(mean(after.saturating_sub(before), OPERATIONS))
}

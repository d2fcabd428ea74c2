//! Idempotency keys: the first request with a key decides the operation's id.
//!
//! Keys expire by the server's clock. A step of that clock may forget a key too
//! early; then a second operation would be created, and nothing worse.

use std::time::Duration;

use drumline_backend::store::{Reservation, Result};
use drumline_protocol::OperationId;

use super::RedisStore;
use crate::reply;
use crate::scripts::SCRIPTS;

impl RedisStore {
    pub(super) async fn reserve_key(
        &self,
        key: [u8; 16],
        reservation: Reservation,
        keep: Duration,
    ) -> Result<Reservation> {
        let value = [*reservation.id.as_bytes(), reservation.content].concat();
        let keep_ms = i64::try_from(keep.as_millis())
            .unwrap_or(MOST_MS)
            .clamp(1, MOST_MS);
        let mut command = SCRIPTS.reserve.call(&[self.keys.reservation(&key)]);
        command.arg(value).arg(keep_ms);
        let held = reply::bytes(self.link.run_one("reserve", command).await?)?;
        let (Some((id, content)), 32) = (held.split_first_chunk::<16>(), held.len()) else {
            return Err(reply::unexpected());
        };
        Ok(Reservation {
            id: OperationId::from_bytes(*id).ok_or_else(reply::unexpected)?,
            content: reply::sixteen(content)?,
        })
    }
}

/// A hundred years: Redis refuses an expiry beyond the end of its time.
const MOST_MS: i64 = 100 * 365 * 24 * 3_600 * 1_000;

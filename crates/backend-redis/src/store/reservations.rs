//! Idempotency keys: the first request with a key decides the operation's id.
//!
//! Keys expire by the server's clock. A step of that clock may forget a key too
//! early; then a second operation would be created, and nothing worse.

use std::time::Duration;

use drumline_backend::store::{Reservation, Reserved, Result};
use drumline_protocol::OperationId;

use super::RedisStore;
use crate::record;
use crate::reply;
use crate::scripts::SCRIPTS;

/// The most keys in one script.
const MOST: usize = 256;

impl RedisStore {
    pub(super) async fn reserve_keys(&self, wanted: &[Reservation]) -> Result<Vec<Reserved>> {
        let mut commands = redis::pipe();
        for wanted in wanted.chunks(self.keys.at_once(MOST)) {
            let keys = wanted.iter().map(|one| {
                let keys = self.keys.partition(one.key.partition(self.partitions));
                Ok(keys.ok_or_else(reply::unexpected)?.reservation(one.key))
            });
            let keys: Vec<Vec<u8>> = keys.collect::<Result<_>>()?;
            let mut command = SCRIPTS.reserve.call(&keys);
            for one in wanted {
                command
                    .arg(record::reserved(&one.reserved))
                    .arg(keep_ms(one.keep));
            }
            commands.add_command(command);
        }
        let mut held = Vec::with_capacity(wanted.len());
        for answer in self.run_kept("reserve", &commands, 0).await? {
            let answer = reply::bytes(answer)?;
            let (contents, []) = answer.as_chunks::<32>() else {
                return Err(reply::unexpected());
            };
            for content in contents {
                held.push(record::read_reserved(content).ok_or_else(reply::unexpected)?);
            }
        }
        Ok(held)
    }

    pub(super) async fn have_tombstones(&self, ids: &[OperationId]) -> Result<Vec<bool>> {
        let mut commands = redis::pipe();
        for id in ids {
            if let Some(keys) = self.keys.partition(id.partition()) {
                commands.cmd("EXISTS").arg(keys.tombstone(*id));
            }
        }
        let mut answers = self.link.run("were_removed", &commands).await?.into_iter();
        let mut removed = Vec::with_capacity(ids.len());
        for id in ids {
            removed.push(match self.keys.partition(id.partition()) {
                Some(_) => reply::number(answers.next().ok_or_else(reply::unexpected)?)? == 1,
                None => false,
            });
        }
        Ok(removed)
    }
}

/// The time for which a key is reserved, as the scripts take it.
pub(super) fn keep_ms(keep: Duration) -> i64 {
    let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(MOST_MS);
    keep_ms.clamp(1, MOST_MS)
}

/// A hundred years: Redis refuses an expiry beyond the end of its time.
const MOST_MS: i64 = 100 * 365 * 24 * 3_600 * 1_000;

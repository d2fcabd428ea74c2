//! Notices: the ends of operations that a receiver outside is notified of, by
//! the server's clock.

use std::time::Duration;

use drumline_backend::store::{Notice, Result};
use drumline_protocol::{OperationId, Partition};
use redis::Value;

use super::RedisStore;
use crate::reply;
use crate::scripts::SCRIPTS;

/// A hundred years: with the time added, Lua can still count in it.
const MOST_MS: u64 = 100 * 365 * 24 * 3_600 * 1_000;

/// The number that is added to a notice's tries when it is delayed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tries {
    None,
    One,
}

impl Tries {
    const fn count(self) -> u32 {
        match self {
            Self::None => 0,
            Self::One => 1,
        }
    }
}

impl RedisStore {
    pub(super) async fn notices_now(
        &self,
        partition: Partition,
        limit: usize,
    ) -> Result<Vec<Notice>> {
        let Some(keys) = self.keys.partition(partition) else {
            return Ok(Vec::new());
        };
        let mut command = SCRIPTS.notices.call(&[keys.notices()]);
        command.arg(limit);
        let answer = reply::bytes(self.link.run_one("notices", command).await?)?;
        let (notices, _) = answer.as_chunks::<17>();
        Ok(notices.iter().filter_map(read).collect())
    }

    pub(super) async fn are_owed(&self, ids: &[OperationId]) -> Result<Vec<bool>> {
        let mut commands = redis::pipe();
        let known = |id: &OperationId| self.keys.partition(id.partition());
        for id in ids {
            if let Some(keys) = known(id) {
                let command = commands.cmd("ZSCORE").arg(keys.notices());
                command.arg(id.as_bytes().as_slice());
            }
        }
        let mut scores = self.link.run("notices owed", &commands).await?.into_iter();
        let mut owed = Vec::with_capacity(ids.len());
        for id in ids {
            owed.push(match known(id) {
                Some(_) => scores.next().ok_or_else(reply::unexpected)? != Value::Nil,
                None => false,
            });
        }
        Ok(owed)
    }

    pub(super) async fn forget_notice(&self, id: OperationId) -> Result<()> {
        let Some(keys) = self.keys.partition(id.partition()) else {
            return Ok(());
        };
        let mut command = redis::cmd("ZREM");
        command.arg(keys.notices()).arg(id.as_bytes().as_slice());
        self.link.run_one("notice done", command).await?;
        Ok(())
    }

    pub(super) async fn move_notice(
        &self,
        id: OperationId,
        delay: Duration,
        tries: Tries,
    ) -> Result<()> {
        let Some(keys) = self.keys.partition(id.partition()) else {
            return Ok(());
        };
        let delay_ms = u64::try_from(delay.as_millis()).map_or(MOST_MS, |ms| ms.min(MOST_MS));
        let mut command = SCRIPTS.notice_later.call(&[keys.notices()]);
        command
            .arg(id.as_bytes().as_slice())
            .arg(delay_ms)
            .arg(tries.count());
        self.link.run_one("notice later", command).await?;
        Ok(())
    }
}

/// Reads an id, and the number of its tries.
fn read(bytes: &[u8; 17]) -> Option<Notice> {
    let (id, attempt) = (bytes.first_chunk::<16>()?, bytes.last()?);
    Some(Notice {
        id: OperationId::from_bytes(*id)?,
        attempt: u32::from(*attempt),
    })
}

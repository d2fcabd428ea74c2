//! Ends: the Completed operations, per class, and over all in the order of the
//! ends.

use drumline_backend::store::{Ended, Result, Stamp};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{OperationId, Partition};

use super::RedisStore;
use crate::record::read_stamped_ids;
use crate::reply::{self, Parts};
use crate::scripts::SCRIPTS;

/// The most ends in one answer: more would keep the server busy for long.
const MOST: usize = 1_000;

impl RedisStore {
    /// The ends after the first stamp, and at or before the second.
    pub(super) async fn ended_between(
        &self,
        partition: Partition,
        class: EndClass,
        (after, until): (Stamp, Stamp),
        limit: usize,
    ) -> Result<Vec<(OperationId, Stamp)>> {
        let Some(keys) = self.keys.partition(partition) else {
            return Ok(Vec::new());
        };
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command
            .arg(keys.ends(class))
            .arg(format!("({}", after.0))
            .arg(until.0)
            .arg("WITHSCORES")
            .arg("LIMIT")
            .arg(0)
            .arg(limit);
        let mut answer = Parts::of(self.link.run_one("ended", command).await?)?;
        let mut found = Vec::new();
        while answer.len() > 0 {
            let id = reply::sixteen(&answer.bytes()?)?;
            let id = OperationId::from_bytes(id).ok_or_else(reply::unexpected)?;
            let stamp = reply::text(answer.value()?)?.parse();
            let stamp = stamp.map_err(|_error: std::num::ParseIntError| reply::unexpected())?;
            found.push((id, Stamp(stamp)));
        }
        Ok(found)
    }

    pub(super) async fn ended_after(&self, after: Stamp, limit: usize) -> Result<Ended> {
        let mut keys = Vec::new();
        for of in self
            .partitions
            .all()
            .filter_map(|it| self.keys.partition(it))
        {
            keys.extend([of.tick(), of.ends_prefix()]);
        }
        let mut command = SCRIPTS.ended_since.call(&keys);
        command.arg(after.0).arg(limit.clamp(1, MOST));
        let answer = reply::bytes(self.link.run_one("ended since", command).await?)?;
        let entries = read_stamped_ids(&answer);
        let until = entries.last().map_or(after, |(stamp, _)| *stamp);
        Ok(Ended { entries, until })
    }
}

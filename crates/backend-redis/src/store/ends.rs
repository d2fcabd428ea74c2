//! Ends: the Completed operations, per class, and over all in the order of the
//! ends.

use drumline_backend::store::{Ended, Result, Stamp};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{OperationId, Partition};

use super::RedisStore;
use crate::record;
use crate::reply;
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
        let mut command = SCRIPTS.ended.call(&[keys.ends(class)]);
        command
            .arg(record::first_after(after))
            .arg(record::first_after(until))
            .arg(limit);
        let answer = reply::bytes(self.link.run_one("ended", command).await?)?;
        let found = record::read_stamped_ids(&answer).into_iter();
        Ok(found.map(|(stamp, id)| (id, stamp)).collect())
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
        command
            .arg(after.0.to_be_bytes().as_slice())
            .arg(limit.clamp(1, MOST));
        let answer = reply::bytes(self.link.run_one("ended since", command).await?)?;
        let entries = record::read_stamped_ids(&answer);
        let until = entries.last().map_or(after, |(stamp, _)| *stamp);
        Ok(Ended { entries, until })
    }
}

//! The due set: the operations that wake or expire now, by the server's clock.

use drumline_backend::store::Result;
use drumline_protocol::{OperationId, Partition};

use super::RedisStore;
use crate::record::read_ids;
use crate::reply::Parts;
use crate::scripts::SCRIPTS;

impl RedisStore {
    pub(super) async fn due_now(
        &self,
        partition: Partition,
        limit: usize,
    ) -> Result<Vec<OperationId>> {
        let Some(keys) = self.keys.partition(partition) else {
            return Ok(Vec::new());
        };
        let mut command = SCRIPTS.due.call(&[keys.due()]);
        command.arg(limit);
        let mut answer = Parts::of(self.link.run_one("due", command).await?)?;
        // The caller applies `Due` by our clock, which must not be behind the
        // clock that found the id.
        self.clock.at_least(answer.number()?);
        Ok(read_ids(&answer.bytes()?))
    }
}

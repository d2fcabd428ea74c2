//! The place of an operation in its chain.

use drumline_backend::store::{ChainPlace, Neighbourhood, Result};
use drumline_protocol::OperationId;

use super::RedisStore;
use crate::reply::{self, Parts};
use crate::scripts::SCRIPTS;

impl RedisStore {
    pub(super) async fn place_in_chain(
        &self,
        id: OperationId,
        near: Neighbourhood,
    ) -> Result<Option<ChainPlace>> {
        let Some(keys) = self.keys.partition(id.partition()) else {
            return Ok(None);
        };
        let mut command = SCRIPTS.chain_place.call(&[keys.prefix()]);
        command.arg(id.as_bytes().as_slice());
        command.arg(near.before).arg(near.behind);
        let mut answer = Parts::of(self.link.run_one("chain_place", command).await?)?;
        if answer.len() == 0 {
            return Ok(None);
        }
        let (before, length) = (answer.number()?, answer.number()?);
        let head = OperationId::from_bytes(reply::sixteen(&answer.bytes()?)?);
        let near = answer.bytes()?;
        let (ids, _) = near.as_chunks::<16>();
        let ids = ids.iter().filter_map(|id| OperationId::from_bytes(*id));
        Ok(Some(ChainPlace {
            head: head.ok_or_else(reply::unexpected)?,
            before,
            behind: length.saturating_sub(before + 1),
            neighbours: ids.collect(),
        }))
    }
}

//! Outputs of attempts: the parts that commits write, and their way back.

use drumline_backend::store::{Error, Result};
use drumline_protocol::codec;
use drumline_protocol::output::KEPT;
use drumline_protocol::{OperationId, Output, OutputParts, Outputs};

use super::RedisStore;
use crate::reply::{self, Parts};

/// The bytes of the largest answer: an output of a failed attempt, and four others.
const MOST_BYTES: usize = 84 << 10;

impl RedisStore {
    pub(super) async fn outputs_of(&self, id: OperationId) -> Result<Vec<Output>> {
        let Some(keys) = self.keys.partition(id.partition()) else {
            return Ok(Vec::new());
        };
        let mut commands = redis::pipe();
        commands.cmd("LRANGE").arg(keys.output(id)).arg(0).arg(-1);
        let answers = self.run_sized("outputs", &commands, MOST_BYTES).await?;
        let answer = answers.into_iter().next();
        let mut stored = Parts::of(answer.ok_or_else(reply::unexpected)?)?;
        let mut parts = Vec::with_capacity(stored.len());
        while stored.len() > 0 {
            let bytes = stored.bytes()?;
            // A place to which nothing was written yet, or the number of a place.
            if bytes.len() <= 1 {
                parts.push(None);
                continue;
            }
            let part = codec::decode(&bytes).map_err(Error::from);
            parts.push(self.decoded(format_args!("an output of {id}"), part)?);
        }
        let mut parts = parts.into_iter();
        let front = parts.next().flatten();
        let ends: Vec<_> = parts.by_ref().take(KEPT).collect();
        let aside = parts.next().flatten();
        Ok(Outputs::new(front, ends.into_iter().flatten(), aside).read())
    }
}

/// An output as `lib_commit.lua` reads it.
pub(super) fn packed(output: Option<&OutputParts>) -> Result<Vec<u8>> {
    let Some(parts) = output else {
        return Ok(Vec::new());
    };
    // The front is before the ends.
    let mut bytes = vec![u8::try_from(parts.place() + 1).unwrap_or(u8::MAX)];
    let end = codec::encode(&parts.end)?;
    bytes.extend(u32::try_from(end.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(end);
    if let Some(front) = &parts.front {
        bytes.extend(codec::encode(front)?);
    }
    Ok(bytes)
}

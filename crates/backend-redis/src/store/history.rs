//! History: the entries that commits write, and their way back.

use drumline_backend::store::{Error, Recorded, Result};
use drumline_protocol::OperationId;
use drumline_protocol::codec;
use drumline_protocol::history::{Entry, Place};
use redis::Value;

use super::RedisStore;
use crate::record;
use crate::reply::Parts;
use crate::scripts::SCRIPTS;

/// The place in the arguments of a commit that stands for the end of the list.
const BEHIND: u8 = u8::MAX;

impl RedisStore {
    pub(super) async fn history_of(&self, id: OperationId) -> Result<Option<Recorded>> {
        let Some(keys) = self.keys.partition(id.partition()) else {
            return Ok(None);
        };
        let mut command = SCRIPTS.history.call(&[keys.prefix()]);
        command.arg(id.as_bytes().as_slice());
        let answer = self.link.run_one("history", command).await?;
        if answer == Value::Nil {
            return Ok(None);
        }
        let mut parts = Parts::of(answer)?;
        let (header, _) = record::read_h(&parts.bytes()?)?;
        let mut stored = parts.parts()?;
        let mut entries = Vec::with_capacity(stored.len());
        while stored.len() > 0 {
            let entry = codec::decode(&stored.bytes()?).map_err(Error::from);
            entries.extend(self.decoded(format_args!("the history of {id}"), entry)?);
        }
        Ok(Some(Recorded { header, entries }))
    }
}

/// The entries of one commit as `lib_commit.lua` reads them.
pub(super) fn packed(entries: &[Entry]) -> Result<Vec<u8>> {
    let Some(last) = entries.last() else {
        return Ok(Vec::new());
    };
    let mut bytes = vec![match Place::of(last.version) {
        Place::Append => BEHIND,
        // A ring of 28 behind three: below 255.
        Place::Replace(place) => u8::try_from(place).unwrap_or(BEHIND),
    }];
    for entry in entries {
        let entry = codec::encode(entry)?;
        let length = u32::try_from(entry.len()).unwrap_or(u32::MAX);
        bytes.extend(length.to_be_bytes());
        bytes.extend(entry);
    }
    Ok(bytes)
}

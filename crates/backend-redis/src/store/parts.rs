//! Operations from records as they were read.
//!
//! Parts that are large are in keys of their own. A record that has such parts is
//! read again together with them, by one command, so that all are of one moment.
//! Other records take no second round trip.

use drumline_backend::store::{Error, Result};
use drumline_protocol::{Operation, OperationId};

use super::RedisStore;
use crate::record::{self, LargeParts};
use crate::reply::Parts;

/// Operations with large parts in one round trip: an answer must arrive within
/// the response timeout.
const MOST: usize = 4;

impl RedisStore {
    /// Returns the operations of records; `None` for one that was removed since
    /// its record was read.
    pub(super) async fn operations(
        &self,
        records: Vec<(OperationId, Vec<u8>)>,
    ) -> Result<Vec<Option<Operation>>> {
        let mut operations = Vec::with_capacity(records.len());
        let mut large: Vec<(usize, OperationId)> = Vec::new();
        for (place, (id, record)) in records.into_iter().enumerate() {
            if let Some((_, true)) = record::front(&record) {
                large.push((place, id));
                operations.push(None);
            } else {
                operations.push(Some(record::operation(id, &record, LargeParts::default())?));
            }
        }
        for some in large.chunks(MOST) {
            let mut commands = redis::pipe();
            for (_, id) in some {
                if let Some(keys) = self.keys.partition(id.partition()) {
                    let command = commands.cmd("MGET").arg(keys.record(*id));
                    for part in keys.parts(*id) {
                        command.arg(part);
                    }
                }
            }
            let answers = self.link.run("get", &commands).await?;
            for ((place, id), answer) in some.iter().zip(answers) {
                let mut parts = Parts::of(answer)?;
                let Some(record) = parts.maybe_bytes()? else {
                    continue;
                };
                let large = LargeParts {
                    body: parts.maybe_bytes()?,
                    report: parts.maybe_bytes()?,
                    checkpoint: parts.maybe_bytes()?,
                };
                if let Some(operation) = operations.get_mut(*place) {
                    *operation = Some(record::operation(*id, &record, large)?);
                }
            }
        }
        Ok(operations)
    }

    /// The error for an answer that belongs to an operation that was removed since.
    pub(super) fn removed_meanwhile(id: OperationId) -> Error {
        Error::Unavailable {
            message: format!("{id} was removed while it was read"),
            source: None,
        }
    }
}

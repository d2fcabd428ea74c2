//! Operations from records as they were read.
//!
//! Parts that are large are in keys of their own. A record that has such parts is
//! read again together with them, by one command, so that all are of one moment.
//! That is preceded by a look at the sizes: an answer has one operation, or a
//! bounded number of bytes. Other records take no further round trip.

use drumline_backend::store::{ANSWER_BYTES, Error, Result};
use drumline_protocol::{Operation, OperationId};

use super::RedisStore;
use super::batches::by_weight;
use crate::record::{self, LargeParts};
use crate::reply::{self, Parts};

impl RedisStore {
    /// Returns the operations of records; `None` for one that was removed since
    /// its record was read. A record that is empty is read here.
    pub(super) async fn operations(
        &self,
        records: Vec<(OperationId, Vec<u8>)>,
    ) -> Result<Vec<Option<Operation>>> {
        let mut operations = Vec::with_capacity(records.len());
        let mut large = Vec::new();
        for (place, (id, record)) in records.into_iter().enumerate() {
            if record::is_incomplete(&record) {
                large.push((place, id));
                operations.push(None);
            } else {
                operations.push(Some(record::operation(id, &record, LargeParts::default())?));
            }
        }
        let sized = self.sizes(&large).await?;
        for some in by_weight(&sized, |(_, _, bytes)| *bytes, ANSWER_BYTES) {
            let mut commands = redis::pipe();
            for (_, id, _) in some {
                commands.cmd("MGET").arg(self.keys_of(*id));
            }
            let bytes = some.iter().map(|(_, _, bytes)| *bytes).sum();
            let answers = self.records.run("get", &commands, bytes).await?;
            for ((place, id, _), answer) in some.iter().zip(answers) {
                let mut parts = Parts::of(answer)?;
                let Some(record) = parts.maybe_bytes()? else {
                    continue;
                };
                let large = LargeParts {
                    data: parts.maybe_bytes()?,
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

    /// Returns the same as [`Self::operations`], with an error in place of each record that
    /// cannot be decoded: it belongs to one of the callers of a shared call.
    pub(super) async fn operations_or_errors(
        &self,
        records: Vec<(OperationId, Vec<u8>)>,
    ) -> Result<Vec<Result<Option<Operation>>>> {
        match self.operations(records.clone()).await {
            Ok(operations) => return Ok(operations.into_iter().map(Ok).collect()),
            Err(Error::Corrupt(_)) => {}
            Err(error) => return Err(error),
        }
        let mut operations = Vec::with_capacity(records.len());
        for record in records {
            let id = record.0;
            operations.push(match self.operations(vec![record]).await {
                Ok(mut one) => Ok(one.pop().flatten()),
                Err(error @ Error::Corrupt(_)) => {
                    self.leave_out_named(id, &error);
                    Err(error)
                }
                Err(error) => return Err(error),
            });
        }
        Ok(operations)
    }

    /// Asks for the bytes of operations with their parts. They may grow meanwhile, by
    /// a checkpoint at most.
    async fn sizes(
        &self,
        operations: &[(usize, OperationId)],
    ) -> Result<Vec<(usize, OperationId, usize)>> {
        let mut commands = redis::pipe();
        for key in operations.iter().flat_map(|(_, id)| self.keys_of(*id)) {
            commands.cmd("STRLEN").arg(key);
        }
        let mut answers = self.link.run("get", &commands).await?.into_iter();
        let mut sized = Vec::with_capacity(operations.len());
        for (place, id) in operations {
            let mut bytes = 0;
            for _ in self.keys_of(*id) {
                bytes += reply::number(answers.next().ok_or_else(reply::unexpected)?)?;
            }
            sized.push((*place, *id, usize::try_from(bytes).unwrap_or(usize::MAX)));
        }
        Ok(sized)
    }

    /// The key of a record, and those of its parts; none if the store does not have
    /// its partition.
    fn keys_of(&self, id: OperationId) -> Vec<Vec<u8>> {
        let Some(keys) = self.keys.partition(id.partition()) else {
            return Vec::new();
        };
        let mut all = vec![keys.record(id)];
        all.extend(keys.parts(id));
        all
    }

    /// The error for an answer that belongs to an operation that was removed since.
    pub(super) fn removed_meanwhile(id: OperationId) -> Error {
        Error::Unavailable {
            message: format!("{id} was removed while it was read"),
            source: None,
        }
    }
}

//! Answers with the data that are on the disk alone.
//!
//! The state gives its answers without them. The disk is read when the answer has waited for
//! its group, with nothing locked: so no other call waits for that. What was removed
//! meanwhile is answered as if it had been removed before.

use std::collections::BTreeMap;

use drumline_backend::store::{
    self, ALONG_BYTES, Committed, Created, Done, Page, Result, Transacted,
};
use drumline_protocol::{Body, Operation, OperationId};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use super::EmbeddedStore;
use crate::durable::{Error, Pending};
use crate::state::State;

/// An answer, and the checksums of the rows whose data it lacks.
#[derive(Debug)]
pub(super) struct Lacking<T> {
    answer: T,
    sums: BTreeMap<OperationId, u32>,
}

/// Puts the data into a body; returns false if the operation is gone.
type Fill<'a> = dyn FnMut(OperationId, &mut Body) -> Result<bool> + 'a;

/// An answer that may have bodies.
pub(super) trait HasBodies {
    /// The bytes of data after which no more are read, and what lacks some is left out.
    const MOST_BYTES: usize = usize::MAX;

    /// Calls `fill` for each body, and leaves out what is gone.
    ///
    /// # Errors
    /// Those of `fill`.
    fn fill(&mut self, fill: &mut Fill<'_>) -> Result<()>;
}

impl<T: HasBodies> Lacking<T> {
    /// An answer that the state has just given.
    pub(super) fn new(mut answer: T, state: &State) -> Self {
        let mut sums = BTreeMap::new();
        let mut note = |id, _: &mut Body| {
            let Some(sum) = state.sum_of_data(id) else {
                // Removed by a later part of the same call: the disk may have had its data.
                return Ok(!state.leaves_data() || state.has(id));
            };
            sums.insert(id, sum);
            Ok(true)
        };
        // `note` has no errors.
        drop(answer.fill(&mut note));
        Self { answer, sums }
    }
}

impl EmbeddedStore {
    /// Waits for an answer, and reads what it lacks.
    pub(super) async fn filled<T: HasBodies>(&self, pending: Pending<Lacking<T>>) -> Result<T> {
        let Lacking { mut answer, sums } = pending.written().await?;
        let Some(writer) = self.writer.as_ref().filter(|_| !sums.is_empty()) else {
            return Ok(answer);
        };
        let bodies = writer.bodies().await?;
        // A read may wait for a slow disk, and others go on meanwhile.
        let reading =
            |read: &mut dyn FnMut() -> Result<()>| match Handle::current().runtime_flavor() {
                RuntimeFlavor::MultiThread => block_in_place(read),
                _ => read(),
            };
        let mut bytes = 0;
        let mut fill = |id, body: &mut Body| {
            let Some(&sum) = sums.get(&id) else {
                return Ok(true);
            };
            if bytes > T::MOST_BYTES {
                return Ok(false);
            }
            if let Some(found) = bodies.read(id, sum).map_err(|error| writer.unread(error))? {
                bytes += found.data_bytes();
                *body = found;
                return Ok(true);
            }
            let is_there = self.state().sum_of_data(id) == Some(sum);
            if is_there {
                let name = id.to_string();
                let damaged = Error::damaged(&name, "its data are not those that were written");
                return Err(writer.fail(damaged));
            }
            Ok(false)
        };
        reading(&mut || answer.fill(&mut fill))?;
        Ok(answer)
    }
}

impl HasBodies for Vec<Option<Operation>> {
    fn fill(&mut self, fill: &mut Fill<'_>) -> Result<()> {
        for place in self {
            if let Some(operation) = place
                && !fill(operation.id, &mut operation.body)?
            {
                *place = None;
            }
        }
        Ok(())
    }
}

impl HasBodies for Page {
    fn fill(&mut self, fill: &mut Fill<'_>) -> Result<()> {
        let mut kept = Vec::with_capacity(self.operations.len());
        for mut operation in std::mem::take(&mut self.operations) {
            if fill(operation.id, &mut operation.body)? {
                kept.push(operation);
            }
        }
        self.operations = kept;
        Ok(())
    }
}

impl HasBodies for Vec<Created> {
    fn fill(&mut self, fill: &mut Fill<'_>) -> Result<()> {
        for created in self {
            if let Created::Exists(operation) = created
                && !fill(operation.id, &mut operation.body)?
            {
                *created = Created::Unreadable(store::Error::Unavailable {
                    message: "the operation that has this id is being removed".to_owned(),
                    source: None,
                });
            }
        }
        Ok(())
    }
}

/// Commits with their answers.
impl HasBodies for Vec<(OperationId, Committed)> {
    const MOST_BYTES: usize = ALONG_BYTES;

    fn fill(&mut self, fill: &mut Fill<'_>) -> Result<()> {
        for (id, committed) in self {
            if let Committed::Done(done) = committed {
                fill_done(*id, done, fill)?;
            }
        }
        Ok(())
    }
}

/// The operations of the commits of a transaction, and its answer.
impl HasBodies for (Vec<OperationId>, Transacted) {
    fn fill(&mut self, fill: &mut Fill<'_>) -> Result<()> {
        let (ids, transacted) = self;
        if let Transacted::Done { created, committed } = transacted {
            created.fill(fill)?;
            for (id, done) in ids.iter().zip(committed) {
                fill_done(*id, done, fill)?;
            }
        }
        Ok(())
    }
}

fn fill_done(id: OperationId, done: &mut Done, fill: &mut Fill<'_>) -> Result<()> {
    if let Some(record) = &mut done.record
        && !fill(id, &mut record.body)?
    {
        done.record = None;
    }
    if let Some(promoted) = &mut done.promoted
        && let Some(record) = &mut promoted.record
        && !fill(promoted.operation.id, &mut record.body)?
    {
        promoted.record = None;
    }
    Ok(())
}

//! Answers with the data of their operations.
//!
//! The state gives its answers without them. They are put in when the answer has waited for
//! its group, with nothing locked: so no other call waits for that, nor for the disk, where
//! most of them are. What was removed meanwhile is answered as if it had been removed before.

use std::collections::BTreeMap;

use drumline_backend::store::{self, Committed, Created, Done, Page, Result, Transacted};
use drumline_protocol::{Body, Operation, OperationId};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

use super::EmbeddedStore;
use crate::durable::{Error, Pending};
use crate::state::{DataSource, State};

/// An answer, and the places of the data that it lacks.
#[derive(Debug)]
pub(super) struct Lacking<T> {
    answer: T,
    sources: BTreeMap<OperationId, DataSource>,
}

/// Puts the data into a body; returns false if the operation is gone.
type Fill<'a> = dyn FnMut(OperationId, &mut Body) -> Result<bool> + 'a;

/// An answer that may have bodies.
pub(super) trait HasBodies {
    /// Calls `fill` for each body, and leaves out what is gone.
    ///
    /// # Errors
    /// Those of `fill`.
    fn fill(&mut self, fill: &mut Fill<'_>) -> Result<()>;
}

impl<T: HasBodies> Lacking<T> {
    /// An answer that the state has just given.
    pub(super) fn new(mut answer: T, state: &State) -> Self {
        let mut sources = BTreeMap::new();
        let mut note = |id, _: &mut Body| {
            sources.extend(state.source_of_data(id).map(|source| (id, source)));
            // It may have been removed by a later part of the same call, with its data.
            Ok(state.has(id))
        };
        // `note` has no errors.
        drop(answer.fill(&mut note));
        Self { answer, sources }
    }

    fn needs_disk(&self) -> bool {
        let mut sources = self.sources.values();
        sources.any(|source| matches!(source, DataSource::Disk { .. }))
    }
}

impl EmbeddedStore {
    /// Waits for an answer, and puts in what it lacks.
    pub(super) async fn filled<T: HasBodies>(&self, pending: Pending<Lacking<T>>) -> Result<T> {
        let lacking = pending.written().await?;
        let disk = match self.writer.as_ref().filter(|_| lacking.needs_disk()) {
            Some(writer) => Some((writer, writer.bodies().await?)),
            None => None,
        };
        // A read may wait for a slow disk, and others go on meanwhile.
        let may_block = disk.is_some()
            && matches!(
                Handle::current().runtime_flavor(),
                RuntimeFlavor::MultiThread
            );
        let Lacking {
            mut answer,
            sources,
        } = lacking;
        let mut fill = |id, body: &mut Body| {
            let Some(source) = sources.get(&id) else {
                return Ok(true);
            };
            let (writer, bodies, sum) = match (source, &disk) {
                (DataSource::Memory(data), _) => {
                    body.data = Some(str::to_owned(data));
                    return Ok(true);
                }
                (DataSource::Disk { sum }, Some((writer, bodies))) => (writer, bodies, *sum),
                // A state leaves data to a disk that it has.
                (DataSource::Disk { .. }, None) => return Ok(false),
            };
            if let Some(found) = bodies.read(id, sum).map_err(|error| writer.unread(error))? {
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
        let mut put_in = || answer.fill(&mut fill);
        if may_block {
            block_in_place(put_in)?;
        } else {
            put_in()?;
        }
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

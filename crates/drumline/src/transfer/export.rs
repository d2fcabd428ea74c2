//! The way out of a store.
//!
//! Operations that wait in the chain of a token come last, in the order of their chains:
//! so each can be stored as it is read. Their ids and places are held in memory meanwhile,
//! 40 bytes each.

use drumline_backend::store::{Error, Filter, Store};
use drumline_protocol::{Operation, OperationId, Organization, State};

use super::line::{Carried, FORMAT, Head, Line, Totals};
use super::of_store;
use crate::exit::{Exit, Failure, Result};

/// The operations of a page. Large ones end it early.
const PAGE: usize = 256;
/// The operations of a chain that are read at a time. Each may be some megabytes.
const AT_ONCE: usize = 8;

/// The operations that are exported.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Those of this organization; `None`: all.
    pub(super) organization: Option<String>,
    /// True: with their histories, which costs a question for each.
    pub(super) history: bool,
    /// The name of the export.
    pub(super) id: Option<String>,
}

/// Exports a store that does not change meanwhile. Before the last line, `still_alone`
/// looks whether it has changed: without that line nothing is imported.
pub(super) async fn run(
    store: &dyn Store,
    wanted: &Wanted,
    emit: &mut impl FnMut(&Line) -> Result<()>,
    progress: &mut impl FnMut(u64),
    still_alone: impl AsyncFnOnce() -> Result<()>,
) -> Result<Totals> {
    let mut totals = Totals::default();
    store.take_unreadable();
    emit(&Line::Export(Head {
        format: FORMAT,
        partitions: store.partitions().get(),
        id: wanted.id.clone(),
    }))?;
    let organization = wanted.organization.clone().map(Organization);
    for pause in store.pauses().await.map_err(of_store)?.pauses {
        if organization
            .as_ref()
            .is_none_or(|wanted| *wanted == pause.scope.organization)
        {
            emit(&Line::Pause(Box::new(pause)))?;
            totals.pauses += 1;
        }
    }
    let filter = Filter {
        organization,
        ..Filter::default()
    };
    let mut waiting: Vec<(u16, u64, OperationId)> = Vec::new();
    let mut before = None;
    loop {
        let page = store.list(&filter, before, PAGE).await.map_err(of_store)?;
        for operation in page.operations {
            if is_in_chain(&operation) {
                let partition = operation.id.partition().get();
                waiting.push((partition, operation.sequence, operation.id));
                continue;
            }
            let line = carried(store, operation, wanted.history).await?;
            emit(&line)?;
            totals.operations += 1;
            progress(totals.operations);
        }
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    waiting.sort_unstable();
    for some in waiting.chunks(AT_ONCE) {
        let ids: Vec<OperationId> = some.iter().map(|(_, _, id)| *id).collect();
        for operation in readable(store, &ids, &mut totals).await? {
            let line = carried(store, operation, wanted.history).await?;
            emit(&line)?;
            totals.operations += 1;
            progress(totals.operations);
        }
    }
    still_alone().await?;
    totals.left_out += store.take_unreadable();
    emit(&Line::End(totals))?;
    Ok(totals)
}

/// The failure of an export of a store that has changed meanwhile.
pub(super) fn changed(what: &str) -> Failure {
    let text = format!(
        "the store has changed during the export: {what}\n  what to do: end all queue managers and workers, and export again; \
         what was written has no last line, and is not imported"
    );
    Failure::new(Exit::Refused, text)
}

/// Reads operations, without those that cannot be decoded: these are counted, and keep no
/// other from being exported.
async fn readable(
    store: &dyn Store,
    ids: &[OperationId],
    totals: &mut Totals,
) -> Result<Vec<Operation>> {
    let there = |id: &OperationId, found: Option<Operation>| {
        found.ok_or_else(|| changed(&format!("{id} has gone")))
    };
    match store.get(ids).await {
        Ok(found) => {
            return ids
                .iter()
                .zip(found)
                .map(|(id, one)| there(id, one))
                .collect();
        }
        Err(Error::Corrupt(_)) => {}
        Err(error) => return Err(of_store(error)),
    }
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        match store.get(&[*id]).await {
            Ok(one) => found.push(there(id, one.into_iter().next().flatten())?),
            Err(Error::Corrupt(_)) => totals.left_out += 1,
            Err(error) => return Err(of_store(error)),
        }
    }
    Ok(found)
}

/// Returns true if an operation has a place in the chain of its token.
fn is_in_chain(operation: &Operation) -> bool {
    let header = &operation.header;
    let has_ended = header.status.state() == State::Completed && !header.holding;
    header.rules.chain.is_some() && !has_ended
}

async fn carried(store: &dyn Store, operation: Operation, with_history: bool) -> Result<Line> {
    let recorded = if with_history {
        store.history(operation.id).await.map_err(of_store)?
    } else {
        None
    };
    Ok(Line::Operation(Box::new(Carried {
        id: operation.id,
        header: operation.header,
        body: operation.body,
        report: operation.report,
        history: recorded
            .map(|recorded| recorded.entries)
            .unwrap_or_default(),
    })))
}

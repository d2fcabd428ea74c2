//! The way out of a store.
//!
//! Completed operations come first, in the order of their ends, and then all others, in the
//! order of their creation: an import gives out numbers as it reads, and so what waited
//! longest starts first there, too, and retention removes the oldest. Each chain is in its
//! order. The places of all operations are held in memory meanwhile, 32 to 64 bytes each.

use drumline_backend::store::{Error, Filter, Store, Summary};
use drumline_protocol::{Operation, OperationId, Organization, State};

use super::line::{Carried, FORMAT, Head, Line, Totals};
use super::of_store;
use crate::exit::{Exit, Failure, Result};

/// The operations of a page.
const PAGE: usize = 256;
/// The operations that are read at a time. Each may be some megabytes.
const AT_ONCE: usize = 32;

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
    let mut places: Vec<Place> = Vec::new();
    let mut before = None;
    loop {
        let page = store.list_summaries(&filter, before, PAGE).await;
        let page = page.map_err(of_store)?;
        places.extend(page.operations.iter().map(Place::of));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    places.sort_unstable();
    for some in places.chunks(AT_ONCE) {
        let ids: Vec<OperationId> = some.iter().map(|place| place.id).collect();
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

/// The place of an operation in an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// False for what has ended and holds no chain.
    is_open: bool,
    /// The end, or the number of the creation. Both grow with the time, in all partitions.
    number: u64,
    id: OperationId,
}

impl Place {
    fn of(operation: &Summary) -> Self {
        let header = &operation.header;
        let ended = header.completed_on.filter(|_| {
            let is_completed = header.status.state() == State::Completed;
            is_completed && !header.holding
        });
        let number = match ended {
            Some(end) => u64::try_from(end.as_millis()).unwrap_or(0),
            None => operation.sequence,
        };
        Self {
            is_open: ended.is_none(),
            number,
            id: operation.id,
        }
    }
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

//! Listings: the states asked for, merged over all partitions, newest first.
//!
//! One call looks at a bounded number of records, so that a search for a rare
//! value cannot block the store; the cursor is the place to go on from.

use std::collections::{BTreeSet, BinaryHeap};

use drumline_backend::store::{Filter, Page};
use drumline_protocol::{OperationId, State as StateCode};

use super::{Contents, State};

/// The most records that one call looks at: some milliseconds' worth.
const LOOKS: usize = 4096;

impl State {
    /// One page of operations, newest first, older than `before`.
    #[must_use]
    pub fn list(&self, filter: &Filter, before: Option<OperationId>, limit: usize) -> Page {
        let mut page = Page::default();
        let mut last = None;
        for (looks, id) in self.newest_first(&filter.states(), before).enumerate() {
            if looks == LOOKS || page.operations.len() == limit {
                page.next = last;
                return page;
            }
            last = Some(id);
            if let Some(operation) = self.get(id).filter(|found| filter.selects(found)) {
                page.operations.push(operation);
            }
        }
        page
    }

    /// The ids in some states, merged.
    fn newest_first(
        &self,
        states: &[StateCode],
        before: Option<OperationId>,
    ) -> impl Iterator<Item = OperationId> {
        let mut indexes = Vec::new();
        for contents in self.partitions.values() {
            for state in states {
                indexes.push(older_than(contents.index_of(*state), before));
            }
        }
        let mut heap = BinaryHeap::new();
        for (at, index) in indexes.iter_mut().enumerate() {
            heap.extend(index.next().map(|id| (id, at)));
        }
        std::iter::from_fn(move || {
            let (id, at) = heap.pop()?;
            let next = indexes.get_mut(at).and_then(Iterator::next);
            heap.extend(next.map(|id| (id, at)));
            Some(id)
        })
    }
}

/// The ids of one index, newest first.
fn older_than(
    index: &BTreeSet<OperationId>,
    before: Option<OperationId>,
) -> impl Iterator<Item = OperationId> {
    let (below, all) = match before {
        Some(id) => (Some(index.range(..id)), None),
        None => (None, Some(index.iter())),
    };
    let below = below.into_iter().flat_map(Iterator::rev);
    let all = all.into_iter().flat_map(Iterator::rev);
    below.chain(all).copied()
}

impl Contents {
    pub(super) fn index(&mut self, state: StateCode) -> &mut BTreeSet<OperationId> {
        let [ready, suspended, locked, completed] = &mut self.by_state;
        match state {
            StateCode::Ready => ready,
            StateCode::Suspended => suspended,
            StateCode::Locked => locked,
            StateCode::Completed => completed,
        }
    }

    fn index_of(&self, state: StateCode) -> &BTreeSet<OperationId> {
        let [ready, suspended, locked, completed] = &self.by_state;
        match state {
            StateCode::Ready => ready,
            StateCode::Suspended => suspended,
            StateCode::Locked => locked,
            StateCode::Completed => completed,
        }
    }
}

//! Listings: one index, or the states asked for, merged over all partitions,
//! newest first.
//!
//! One call looks at a bounded number of records, so that a search for a rare
//! value cannot block the store; the cursor is the place to go on from.

use std::collections::BinaryHeap;

use drumline_backend::store::{ANSWER_BYTES, Filter, Page, Summary};
use drumline_protocol::{IndexKey, OperationId, Partition, State as StateCode};

use super::sorted::Sorted;
use super::{Contents, State};

/// The most records that one call looks at: some milliseconds' worth.
const LOOKS: usize = 4096;

/// The bytes of data and reports after which a page ends, as on a server.
const PAGE_BYTES: usize = 2 * ANSWER_BYTES;

/// The set that a listing is read from.
#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    /// The operations in the states that the filter asks for.
    States,
    /// The operations with this key.
    Key(&'a IndexKey),
}

type Ids<'a> = Box<dyn Iterator<Item = OperationId> + 'a>;

impl State {
    /// One page of operations, newest first, older than `before`.
    #[must_use]
    pub fn list(&self, filter: &Filter, before: Option<OperationId>, limit: usize) -> Page {
        let read = |id| {
            let record = self.record(id)?;
            if !filter.selects_header(&record.header()) {
                return None;
            }
            let operation = Some(record.operation(id)).filter(|found| filter.selects(found))?;
            Some((operation, record.large_bytes()))
        };
        self.list_by(filter, before, limit, read)
    }

    /// One page of summaries, newest first, older than `before`.
    #[must_use]
    pub fn list_summaries(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Page<Summary> {
        let read = |id| {
            let summary = self.summary(id)?;
            filter.selects_summary(&summary).then_some((summary, 0))
        };
        self.list_by(filter, before, limit, read)
    }

    /// A page of what `read` returns for the selected operations, with the bytes
    /// that count.
    fn list_by<T>(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
        read: impl Fn(OperationId) -> Option<(T, usize)>,
    ) -> Page<T> {
        let mut page = Page::default();
        let mut last = None;
        let mut bytes = 0;
        let keys = filter.index_keys();
        let source = self.fewest(filter, &keys);
        for (looks, id) in self.newest_first(filter, source, before).enumerate() {
            if looks == LOOKS || page.operations.len() == limit || bytes >= PAGE_BYTES {
                page.next = last;
                return page;
            }
            last = Some(id);
            if let Some((operation, size)) = read(id) {
                bytes += size;
                page.operations.push(operation);
            }
        }
        page
    }

    /// The source with the fewest operations. Counting ends where the count is
    /// out of the question.
    fn fewest<'a>(&self, filter: &Filter, keys: &'a [IndexKey]) -> Source<'a> {
        let states = filter.states();
        let by_state = |contents: &Contents| -> usize {
            let sizes = states.iter().map(|state| contents.index_of(*state).len());
            sizes.sum()
        };
        let mut fewest = self.partitions.values().map(by_state).sum();
        let mut source = Source::States;
        for key in keys {
            let ids = self.newest_first(filter, Source::Key(key), None);
            let count = ids.take(LOOKS.min(fewest)).count();
            if count < fewest {
                (fewest, source) = (count, Source::Key(key));
            }
        }
        source
    }

    /// The ids of a source, merged.
    fn newest_first<'a>(
        &'a self,
        filter: &Filter,
        source: Source<'a>,
        before: Option<OperationId>,
    ) -> impl Iterator<Item = OperationId> {
        let mut lists: Vec<Ids<'a>> = Vec::new();
        let only = filter.chain.map(|chain| chain.partition(self.count));
        let is_asked = |partition: &Partition| only.is_none_or(|only| only == *partition);
        for (_, contents) in self.partitions.iter().filter(|(it, _)| is_asked(it)) {
            match source {
                Source::States => {
                    for state in filter.states() {
                        lists.push(Box::new(older_than(contents.index_of(state), before)));
                    }
                }
                Source::Key(key) => {
                    for shelf in filter.shelves(key.kind) {
                        lists.push(Box::new(contents.indexes.newest_first(*key, shelf, before)));
                    }
                    if filter.needs_locks(key.kind) {
                        lists.push(Box::new(contents.locked_with(key, before)));
                    }
                }
            }
        }
        if let Source::Key(key) = source {
            let own = filter.own_of(key.kind);
            let own = own.filter(|id| before.is_none_or(|before| *id < before));
            lists.push(Box::new(
                own.filter(|id| self.record(*id).is_some()).into_iter(),
            ));
        }
        let mut heap = BinaryHeap::new();
        for (at, list) in lists.iter_mut().enumerate() {
            heap.extend(list.next().map(|id| (id, at)));
        }
        std::iter::from_fn(move || {
            let (id, at) = heap.pop()?;
            let next = lists.get_mut(at).and_then(Iterator::next);
            heap.extend(next.map(|id| (id, at)));
            Some(id)
        })
    }
}

/// The ids of one index, newest first.
fn older_than(
    index: &Sorted<OperationId>,
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
    /// The Locked operations with a key, newest first: the index by message
    /// name leaves them out.
    fn locked_with<'a>(
        &'a self,
        key: &'a IndexKey,
        before: Option<OperationId>,
    ) -> impl Iterator<Item = OperationId> + 'a {
        older_than(self.index_of(StateCode::Locked), before).filter(|id| {
            let record = self.records.get(id);
            record.is_some_and(|record| record.keys.contains(key))
        })
    }

    pub(super) fn index(&mut self, state: StateCode) -> &mut Sorted<OperationId> {
        let [ready, suspended, locked, completed] = &mut self.by_state;
        match state {
            StateCode::Ready => ready,
            StateCode::Suspended => suspended,
            StateCode::Locked => locked,
            StateCode::Completed => completed,
        }
    }

    pub(super) fn index_of(&self, state: StateCode) -> &Sorted<OperationId> {
        let [ready, suspended, locked, completed] = &self.by_state;
        match state {
            StateCode::Ready => ready,
            StateCode::Suspended => suspended,
            StateCode::Locked => locked,
            StateCode::Completed => completed,
        }
    }
}

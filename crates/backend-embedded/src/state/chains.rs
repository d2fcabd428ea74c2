//! Chains: the operations of one token that are not Completed, in the order of
//! their creation. A Completed operation that holds its chain is still in it.

use std::collections::BTreeMap;

use drumline_backend::store::{ChainPlace, Neighbourhood};
use drumline_protocol::{ChainKey, OperationId, Partition};

use super::State;
use super::sorted::Sorted;

/// The chains of one partition. An empty chain is not kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Chains(pub(super) BTreeMap<ChainKey, Sorted<(u64, OperationId)>>);

impl Chains {
    pub(super) fn head(&self, key: ChainKey) -> Option<OperationId> {
        self.0.get(&key)?.first().map(|(_, id)| *id)
    }

    pub(super) fn length(&self, key: ChainKey) -> u64 {
        let length = self.0.get(&key).map_or(0, Sorted::len);
        u64::try_from(length).unwrap_or(u64::MAX)
    }

    pub(super) fn has(&self, key: ChainKey, sequence: u64, id: OperationId) -> bool {
        let chain = self.0.get(&key);
        chain.is_some_and(|chain| chain.contains(&(sequence, id)))
    }

    pub(super) fn enter(&mut self, key: ChainKey, sequence: u64, id: OperationId) {
        self.0.entry(key).or_default().insert((sequence, id));
    }

    /// Takes an operation out. Returns the next head, if it was the head
    /// itself.
    pub(super) fn leave(
        &mut self,
        key: ChainKey,
        sequence: u64,
        id: OperationId,
    ) -> Option<OperationId> {
        let was_head = self.head(key) == Some(id);
        let chain = self.0.get_mut(&key)?;
        chain.remove(&(sequence, id));
        if chain.is_empty() {
            self.0.remove(&key);
        }
        if was_head { self.head(key) } else { None }
    }
}

impl State {
    /// The place of an operation in its chain; `None` if it is in none.
    #[must_use]
    pub fn chain_place(&self, id: OperationId, near: Neighbourhood) -> Option<ChainPlace> {
        let record = self.record(id)?;
        let chains = &self.contents(id.partition())?.chains;
        let chain = chains.0.get(&record.header.chain?)?;
        let place = (record.sequence, id);
        if !chain.contains(&place) {
            return None;
        }
        let before = chain.range(..place).count();
        let nearest = chain.range(..place).rev().take(near.before);
        let mut neighbours: Vec<_> = nearest.map(|(_, id)| *id).collect();
        neighbours.reverse();
        let behind = chain.range(place..).take(near.behind.saturating_add(1));
        neighbours.extend(behind.map(|(_, id)| *id));
        let number = |count| u64::try_from(count).unwrap_or(u64::MAX);
        Some(ChainPlace {
            head: chain.first()?.1,
            before: number(before),
            behind: number(chain.len() - before - 1),
            neighbours,
        })
    }

    /// The operations of a chain, its head first.
    #[must_use]
    pub fn chain(&self, partition: Partition, key: ChainKey) -> Vec<OperationId> {
        self.contents(partition)
            .and_then(|contents| contents.chains.0.get(&key))
            .map(|chain| chain.iter().map(|(_, id)| *id).collect())
            .unwrap_or_default()
    }
}

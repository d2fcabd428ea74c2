//! Chains: the operations of one token that are not Completed, in the order of
//! their creation. A Completed operation that holds its chain is still in it.

use std::collections::{BTreeMap, BTreeSet};

use drumline_protocol::{ChainKey, OperationId, Partition};

use super::State;

/// The chains of one partition. An empty chain is not kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Chains(BTreeMap<ChainKey, BTreeSet<(u64, OperationId)>>);

impl Chains {
    pub(super) fn head(&self, key: ChainKey) -> Option<OperationId> {
        self.0.get(&key)?.first().map(|(_, id)| *id)
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
    /// The operations of a chain, its head first.
    #[must_use]
    pub fn chain(&self, partition: Partition, key: ChainKey) -> Vec<OperationId> {
        self.contents(partition)
            .and_then(|contents| contents.chains.0.get(&key))
            .map(|chain| chain.iter().map(|(_, id)| *id).collect())
            .unwrap_or_default()
    }
}

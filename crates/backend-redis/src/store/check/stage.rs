//! The place that a check has reached.

use std::collections::BTreeSet;

use drumline_backend::store::{CheckPlace, Error, Fault, FaultKind, Result};
use drumline_protocol::Partition;
use serde::{Deserialize, Serialize};

/// The most chains that are remembered one by one.
const MOST_CHAINS: usize = 1_000;

/// A place, as the caller keeps it between two steps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) stage: Stage,
    /// Partitions whose operations cannot be counted, because a fault is in the way that
    /// was not repaired.
    pub(super) doubtful: BTreeSet<u16>,
    /// The chains.
    pub(super) order: Order,
}

/// The chains, as far as a check that repairs has to remember them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Order {
    /// The server that the first pass has looked at.
    pub(super) server: String,
    /// True if a chain was repaired, or a head is not offered.
    pub(super) are_heads_due: bool,
    /// Chains that lack a member which may be running, and partitions in which any chain may.
    chains: BTreeSet<[u8; 16]>,
    partitions: BTreeSet<u16>,
}

impl Order {
    /// Notes that a chain, or any chain of the partition, lacks a member.
    pub(super) fn lacks(&mut self, partition: Partition, chain: Option<[u8; 16]>) {
        match chain {
            Some(chain) if self.chains.len() < MOST_CHAINS => {
                self.chains.insert(chain);
            }
            _ => {
                self.partitions.insert(partition.get());
            }
        }
    }

    /// Returns true if the head of a chain may be offered.
    pub(super) fn is_whole(&self, partition: Partition, chain: &[u8; 16]) -> bool {
        !self.partitions.contains(&partition.get()) && !self.chains.contains(chain)
    }
}

/// The stage of a check, and the place in it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Stage {
    /// The sets: the partition's place among those of the check, the set's place among
    /// those of the partition, from 1, and the place in the set.
    Sets { at: usize, set: u64, from: Vec<u8> },
    /// All keys: the cursor of SCAN, nothing once it has come to its end, and the chains
    /// that are to be looked at before it goes on.
    Keys {
        cursor: Option<String>,
        chains: Vec<Chain>,
    },
    /// All keys again, after a repair: the cursor of SCAN. The members that could be are back in
    /// their chains by then, so heads can be offered.
    Heads { cursor: String },
    /// The counts.
    Usage(Count),
}

/// A chain, and the place in it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Chain {
    pub(super) partition: u16,
    pub(super) key: [u8; 16],
    pub(super) from: String,
}

/// The count of a partition that is under way.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Count {
    /// The partition's place among those of the check.
    pub(super) at: usize,
    /// The last id that was counted, or nothing.
    pub(super) from: Vec<u8>,
    /// Of a count that writes nothing: a digest of what must not change until its end,
    /// and the counts so far.
    pub(super) digest: Vec<u8>,
    pub(super) sums: Vec<(Vec<u8>, i64)>,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Sets {
            at: 0,
            set: 1,
            from: Vec::new(),
        }
    }
}

impl Stage {
    pub(super) fn keys() -> Self {
        Self::Keys {
            cursor: Some("0".to_owned()),
            chains: Vec::new(),
        }
    }

    pub(super) fn heads() -> Self {
        Self::Heads {
            cursor: "0".to_owned(),
        }
    }

    pub(super) fn usage() -> Self {
        Self::Usage(Count::default())
    }
}

impl Place {
    pub(super) fn read(place: &CheckPlace) -> Result<Self> {
        serde_json::from_slice(&place.0).map_err(|error| unfit(&error))
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| unfit(&error))
    }

    /// Notes the partitions in which a count would only repeat these faults.
    pub(super) fn note(&mut self, faults: &[Fault]) {
        let doubtful = faults.iter().filter(|fault| {
            !fault.is_repaired
                && matches!(
                    fault.kind,
                    FaultKind::StateMissing
                        | FaultKind::StateEntry
                        | FaultKind::LockMissing
                        | FaultKind::LockEntry
                        | FaultKind::ChainOrder
                        | FaultKind::ChainEntry
                        | FaultKind::Unreadable
                )
        });
        self.doubtful
            .extend(doubtful.map(|fault| fault.partition.get()));
    }
}

fn unfit(error: &serde_json::Error) -> Error {
    Error::Unfit(format!(
        "the place of a check is not one of this store: {error}"
    ))
}

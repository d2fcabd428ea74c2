//! The partitions of a listing, merged newest first.
//!
//! ```text
//! way 0    9 8 6 │ 3 …        known down to its floor
//! way 1    7 │ …              the highest floor: the frontier
//! way 2    5 2 1              known to its end
//! ```
//!
//! Ids down to the frontier can be shown, and the others stay in their ways. So the
//! next round reads on only where few are left: a partition that has many of the newest
//! operations does not make all others read again.

use drumline_backend::store::Result;
use drumline_protocol::OperationId;
use redis::Value;

use super::{FEWEST, MOST};
use crate::keys::PartitionKeys;
use crate::record::read_ids;
use crate::reply::Parts;

/// Ids of a way that are enough for another round.
const ENOUGH: usize = FEWEST / 2;
/// The growth of what a way reads, from round to round.
const GROWTH: usize = 4;
/// The partitions among which the newest operations are spread, for a first guess.
const SPREAD: usize = 16;

/// One way of the merge: a partition, as far as it was read.
pub(super) struct Way<'a> {
    keys: &'a PartitionKeys,
    /// The ids that were read and not taken yet, in no order.
    ids: Vec<OperationId>,
    /// The id below which nothing is known; `None`: from the newest on.
    floor: Option<OperationId>,
    /// True if there is nothing below the floor.
    is_whole: bool,
    /// The ids of each set that it reads next.
    wants: usize,
}

/// All partitions of a listing.
pub(super) struct Merge<'a> {
    ways: Vec<Way<'a>>,
    /// The operations that are found without an entry.
    own: Vec<OperationId>,
}

impl<'a> Way<'a> {
    pub(super) const fn keys(&self) -> &'a PartitionKeys {
        self.keys
    }

    pub(super) const fn floor(&self) -> Option<OperationId> {
        self.floor
    }

    pub(super) const fn wants(&self) -> usize {
        self.wants
    }

    fn is_short(&self) -> bool {
        !self.is_whole && self.ids.len() < ENOUGH
    }

    /// Reads the answer of [`Source::newest`](super::Source::newest).
    pub(super) fn read(&mut self, answer: Value) -> Result<()> {
        let start = self.floor;
        let mut parts = Parts::of(answer)?;
        // All locked ids, wherever the page starts: they are few.
        let mut found = read_ids(&parts.bytes()?);
        let mut floor = None;
        while parts.len() > 0 {
            let ids = read_ids(&parts.bytes()?);
            if ids.len() == self.wants {
                floor = floor.max(ids.last().copied());
            }
            found.extend(ids);
        }
        found.retain(|id| start.is_none_or(|start| *id < start) && Some(*id) >= floor);
        self.ids.extend(found);
        self.is_whole = floor.is_none();
        self.floor = floor.or(start);
        self.wants = (self.wants * GROWTH).min(MOST);
        Ok(())
    }
}

impl<'a> Merge<'a> {
    /// The ways of partitions, from an id downwards.
    pub(super) fn new(
        partitions: Vec<&'a PartitionKeys>,
        start: Option<OperationId>,
        own: Option<OperationId>,
    ) -> Self {
        let way = |keys| Way {
            keys,
            ids: Vec::new(),
            floor: start,
            is_whole: false,
            wants: FEWEST,
        };
        Self {
            ways: partitions.into_iter().map(way).collect(),
            own: own
                .into_iter()
                .filter(|own| start.is_none_or(|start| *own < start))
                .collect(),
        }
    }

    /// Operations that are known already: no partition is read.
    pub(super) const fn of(ids: Vec<OperationId>) -> Self {
        Self {
            ways: Vec::new(),
            own: ids,
        }
    }

    /// Expects that so many ids are wanted.
    pub(super) fn expect(&mut self, count: usize) {
        let spread = self.ways.len().clamp(1, SPREAD);
        let wants = count.div_ceil(spread).clamp(FEWEST, MOST);
        for way in &mut self.ways {
            way.wants = wants;
        }
    }

    /// The ways that are to be read on.
    pub(super) fn short(&mut self) -> impl Iterator<Item = &mut Way<'a>> {
        self.ways.iter_mut().filter(|way| way.is_short())
    }

    /// The id below which nothing is certain; `None` if all is known.
    pub(super) fn frontier(&self) -> Option<OperationId> {
        let open = self.ways.iter().filter(|way| !way.is_whole);
        open.filter_map(|way| way.floor).max()
    }

    /// Takes the ids down to the frontier, newest first.
    pub(super) fn take(&mut self, frontier: Option<OperationId>) -> Vec<OperationId> {
        let is_certain = |id: &OperationId| Some(*id) >= frontier;
        let mut taken: Vec<OperationId> = Vec::new();
        taken.extend(self.own.extract_if(.., |own| is_certain(own)));
        for way in &mut self.ways {
            taken.extend(way.ids.extract_if(.., |id| is_certain(id)));
        }
        taken.sort_unstable_by(|a, b| b.cmp(a));
        taken.dedup();
        taken
    }
}

#[cfg(test)]
mod tests {
    use drumline_protocol::{Partition, PartitionCount, Timestamp};

    use super::*;
    use crate::keys::Keys;

    fn id(partition: u16, number: u16) -> OperationId {
        let created = Timestamp::from_millis(1_795_000_000_000 + i64::from(number));
        OperationId::new(created, Partition::new(partition), [0; 16])
    }

    /// The answer for a way: so many of the ids of each set below its floor, newest first.
    fn answer(way: &Way<'_>, locked: &[OperationId], sets: &[&[OperationId]]) -> Value {
        let text = |ids: &[OperationId]| {
            let bytes = ids.iter().flat_map(|id| *id.as_bytes());
            Value::BulkString(bytes.collect())
        };
        let mut parts = vec![text(locked)];
        for set in sets {
            let below = set.iter().copied();
            let below = below.filter(|id| way.floor().is_none_or(|floor| *id < floor));
            let mut below: Vec<OperationId> = below.collect();
            below.sort_unstable_by(|one, other| other.cmp(one));
            below.truncate(way.wants());
            parts.push(text(&below));
        }
        Value::Array(parts)
    }

    /// Goes through all, and returns the ids and the ways that were read in each round.
    fn merged(of: &[&[&[OperationId]]], locked: OperationId) -> (Vec<OperationId>, Vec<usize>) {
        let count = u16::try_from(of.len()).unwrap();
        let keys = Keys::new("test", PartitionCount::new(count).unwrap());
        let partitions = (0..count).filter_map(|number| keys.partition(Partition::new(number)));
        let partitions: Vec<&PartitionKeys> = partitions.collect();
        let mut ways = Merge::new(partitions.clone(), None, None);
        ways.expect(1);
        let (mut found, mut read) = (Vec::new(), Vec::new());
        loop {
            let mut of_round = 0;
            for way in ways.short() {
                let at = partitions
                    .iter()
                    .position(|keys| std::ptr::eq(*keys, way.keys));
                let at = at.unwrap();
                let locks = if at == 0 { vec![locked] } else { Vec::new() };
                let answer = answer(way, &locks, of[at]);
                way.read(answer).unwrap();
                of_round += 1;
            }
            read.push(of_round);
            let frontier = ways.frontier();
            found.extend(ways.take(frontier));
            if frontier.is_none() {
                return (found, read);
            }
        }
    }

    #[test]
    fn all_ids_come_once_newest_first_and_full_lanes_are_not_read_again() {
        let of = |partition, numbers: std::ops::Range<u16>| -> Vec<OperationId> {
            numbers.map(|number| id(partition, number)).collect()
        };
        // The newest 300 are in one partition; the others have older ones.
        let (dense, other) = (of(0, 100..400), of(0, 20..90));
        let sparse = of(1, 0..100);
        let few = of(2, 50..55);
        let locked = id(0, 10);
        let (found, read) = merged(&[&[&dense, &other], &[&sparse], &[&few]], locked);
        let mut expected = [dense, other, sparse, few, vec![locked]].concat();
        expected.sort_unstable_by(|one, other| other.cmp(one));
        assert_eq!(found, expected);
        assert_eq!(read.first(), Some(&3), "{read:?}");
        assert_eq!(read.get(1..3), Some([1, 1].as_slice()), "{read:?}");
    }

    #[test]
    fn the_operation_without_an_entry_has_its_place() {
        let keys = Keys::new("test", PartitionCount::new(1).unwrap());
        let partitions = || keys.partition(Partition::new(0)).into_iter().collect();
        let own = id(0, 7);
        let mut ways = Merge::new(partitions(), None, Some(own));
        for way in ways.short() {
            let answer = answer(way, &[], &[&[id(0, 9), id(0, 5)]]);
            way.read(answer).unwrap();
        }
        assert_eq!(ways.take(None), [id(0, 9), own, id(0, 5)]);
        let mut later = Merge::new(partitions(), Some(own), Some(own));
        assert_eq!(later.take(None), [], "the page before has it");
    }
}

//! A set in order, and a map, that take little more than their content.
//!
//! Most sets of the state grow at their end: ids, stamps and times grow. The nodes of a tree
//! that splits them in the middle stay half empty then. Here a full stretch stays full,
//! and a new one begins behind it.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Bound, RangeBounds};

/// The most values of a stretch: an insertion in the middle moves half as many.
const STRETCH: usize = 128;
/// Neighbours with fewer values together become one.
const MERGED: usize = STRETCH / 2;

/// A set of values in their order.
#[derive(Clone)]
pub(super) struct Sorted<T> {
    /// None is empty, and each is behind the one before.
    stretches: Vec<Vec<T>>,
    len: usize,
}

/// A place: the number of a stretch, and that of a value in it.
type Place = (usize, usize);

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self {
            stretches: Vec::new(),
            len: 0,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Sorted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.stretches.iter().flatten())
            .finish()
    }
}

impl<T> Sorted<T> {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.stretches.iter().flatten()
    }

    pub(super) fn first(&self) -> Option<&T> {
        self.stretches.first()?.first()
    }
}

impl<T: Ord> Sorted<T> {
    /// The first place whose value `is_before` is not true of. It is true of values up to
    /// a place, and of none behind.
    fn place(&self, is_before: impl Fn(&T) -> bool) -> Place {
        let ends_before = |stretch: &Vec<T>| stretch.last().is_some_and(&is_before);
        let at = self.stretches.partition_point(ends_before);
        let stretch = self.stretches.get(at).map_or(&[][..], Vec::as_slice);
        (at, stretch.partition_point(is_before))
    }

    fn at(&self, (stretch, place): Place) -> Option<&T> {
        self.stretches.get(stretch)?.get(place)
    }

    pub(super) fn contains(&self, value: &T) -> bool {
        self.at(self.place(|one| one < value)) == Some(value)
    }

    /// Returns false if it is there already.
    pub(super) fn insert(&mut self, value: T) -> bool {
        let (mut at, mut place) = self.place(|one| *one < value);
        if self.at((at, place)) == Some(&value) {
            return false;
        }
        self.len += 1;
        if place == 0 && at > 0 {
            // Between two stretches: at the end of the first one.
            at -= 1;
            place = self.stretches.get(at).map_or(0, Vec::len);
        }
        let Some(stretch) = self.stretches.get_mut(at) else {
            self.stretches.push(vec![value]);
            return true;
        };
        if stretch.len() < STRETCH {
            stretch.insert(place, value);
        } else if place == STRETCH {
            self.stretches.insert(at + 1, vec![value]);
        } else {
            // The next one is likely to come behind this one.
            let behind = stretch.split_off(place.max(STRETCH / 2));
            stretch.insert(place, value);
            self.stretches.insert(at + 1, behind);
        }
        true
    }

    /// Returns false if it is not there.
    pub(super) fn remove(&mut self, value: &T) -> bool {
        let place = self.place(|one| one < value);
        let is_there = self.at(place) == Some(value);
        if is_there {
            self.take(place);
        }
        is_there
    }

    /// Takes the value of a place out.
    fn take(&mut self, (at, place): Place) -> Option<T> {
        let stretch = self.stretches.get_mut(at)?;
        if place >= stretch.len() {
            return None;
        }
        let value = stretch.remove(place);
        self.len -= 1;
        if stretch.is_empty() {
            self.stretches.remove(at);
        } else {
            self.join(at);
        }
        if self.stretches.len() < self.stretches.capacity() / 4 {
            self.stretches.shrink_to(self.stretches.len() * 2);
        }
        Some(value)
    }

    /// Joins a stretch with the one behind or before it, if they have few values.
    fn join(&mut self, at: usize) {
        let length = |at: usize| self.stretches.get(at).map_or(STRETCH, Vec::len);
        let own = length(at);
        let first = if own + length(at + 1) <= MERGED {
            at
        } else if at > 0 && own + length(at - 1) <= MERGED {
            at - 1
        } else {
            if let Some(stretch) = self.stretches.get_mut(at)
                && own < stretch.capacity() / 4
            {
                stretch.shrink_to(own * 2);
            }
            return;
        };
        let behind = self.stretches.remove(first + 1);
        if let Some(stretch) = self.stretches.get_mut(first) {
            stretch.extend(behind);
        }
    }

    /// The values in a range.
    pub(super) fn range(&self, range: impl RangeBounds<T>) -> impl DoubleEndedIterator<Item = &T> {
        let start = match range.start_bound() {
            Bound::Unbounded => (0, 0),
            Bound::Included(from) => self.place(|one| one < from),
            Bound::Excluded(from) => self.place(|one| one <= from),
        };
        let end = match range.end_bound() {
            Bound::Unbounded => self.end(),
            Bound::Included(to) => self.place(|one| one <= to),
            Bound::Excluded(to) => self.place(|one| one < to),
        };
        self.between(start, end)
    }

    /// The place behind all values.
    const fn end(&self) -> Place {
        (self.stretches.len(), 0)
    }

    /// The values from a place up to another.
    fn between(&self, start: Place, end: Place) -> impl DoubleEndedIterator<Item = &T> {
        let last = end.0.saturating_add(1).min(self.stretches.len());
        let stretches = self.stretches.get(start.0..last).unwrap_or_default();
        stretches.iter().enumerate().flat_map(move |(at, stretch)| {
            let from = if at == 0 { start.1 } else { 0 };
            let to = if at + start.0 == end.0 {
                end.1
            } else {
                stretch.len()
            };
            stretch.get(from..to).unwrap_or_default()
        })
    }
}

/// A key with its value, which does not count in the order.
#[derive(Clone)]
struct Keyed<K, V>(K, V);

impl<K: PartialEq, V> PartialEq for Keyed<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K: Eq, V> Eq for Keyed<K, V> {}

impl<K: Ord, V> PartialOrd for Keyed<K, V> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord, V> Ord for Keyed<K, V> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

/// Values by keys, in the order of the keys.
#[derive(Clone)]
pub(super) struct SortedMap<K, V>(Sorted<Keyed<K, V>>);

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self(Sorted::default())
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SortedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.0.iter().map(|Keyed(key, value)| (key, value));
        f.debug_map().entries(entries).finish()
    }
}

impl<K, V> SortedMap<K, V> {
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.0.iter().map(|Keyed(_, value)| value)
    }

    #[cfg(test)]
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let stretches = self.0.stretches.iter_mut();
        stretches.flatten().map(|Keyed(_, value)| value)
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// The place of a key, if it is there.
    fn place(&self, key: &K) -> Option<Place> {
        let place = self.0.place(|one| one.0 < *key);
        let found = self.0.at(place)?;
        (found.0 == *key).then_some(place)
    }

    pub(super) fn contains_key(&self, key: &K) -> bool {
        self.place(key).is_some()
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let found = self.0.at(self.place(key)?)?;
        Some(&found.1)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (at, place) = self.place(key)?;
        let found = self.0.stretches.get_mut(at)?.get_mut(place)?;
        Some(&mut found.1)
    }

    /// Gives a key a value, in place of the one that it may have.
    pub(super) fn insert(&mut self, key: K, value: V) {
        match self.get_mut(&key) {
            Some(present) => *present = value,
            None => {
                self.0.insert(Keyed(key, value));
            }
        }
    }

    /// Removes a key; returns its value.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.place(key)?;
        self.0.take(place).map(|Keyed(_, value)| value)
    }

    /// The keys behind one.
    pub(super) fn keys_behind(&self, after: Option<&K>) -> impl Iterator<Item = &K> {
        let start = match after {
            None => (0, 0),
            Some(after) => self.0.place(|one| one.0 <= *after),
        };
        self.0.between(start, self.0.end()).map(|Keyed(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fastrand::Rng;

    use super::*;

    /// Asserts that a set has what one of the library has, in its order, both ways and in
    /// stretches that are neither empty nor too long.
    fn assert_same(set: &Sorted<u32>, other: &BTreeSet<u32>, random: &mut Rng) {
        assert_eq!(set.len(), other.len());
        assert_eq!(set.is_empty(), other.is_empty());
        assert_eq!(set.first(), other.first());
        assert!(set.iter().eq(other));
        assert!(set.iter().rev().eq(other.iter().rev()));
        let lengths = set.stretches.iter().map(Vec::len);
        assert!(
            lengths
                .clone()
                .all(|length| (1..=STRETCH).contains(&length))
        );
        let (from, to) = (random.u32(..2_000), random.u32(..2_000));
        let (from, to) = (from.min(to), from.max(to));
        assert!(set.range(from..to).eq(other.range(from..to)));
        assert!(set.range(from..=to).rev().eq(other.range(from..=to).rev()));
        assert!(set.range(..to).rev().eq(other.range(..to).rev()));
        let behind = (Bound::Excluded(from), Bound::Unbounded);
        assert!(set.range(behind).eq(other.range(behind)));
        assert_eq!(set.contains(&from), other.contains(&from));
    }

    #[test]
    fn it_has_what_a_set_of_the_library_has() {
        let mut random = Rng::with_seed(1);
        // More and more come, then most go, then all.
        for (inserts, steps) in [(9, 3_000), (5, 1_000), (2, 3_000), (0, 6_000)] {
            let (mut set, mut other) = (Sorted::default(), BTreeSet::new());
            for value in 0..500 {
                assert_eq!(set.insert(value * 4), other.insert(value * 4));
            }
            for _ in 0..steps {
                let value = random.u32(..2_000);
                if random.u32(..10) < inserts {
                    assert_eq!(set.insert(value), other.insert(value));
                } else {
                    assert_eq!(set.remove(&value), other.remove(&value));
                }
                assert_same(&set, &other, &mut random);
            }
        }
    }

    #[test]
    fn a_map_has_the_last_value_of_each_key() {
        let mut map = SortedMap::default();
        for (key, value) in [(3, 'c'), (1, 'a'), (2, 'x'), (2, 'b')] {
            map.insert(key, value);
        }
        assert_eq!(map.len(), 3);
        assert!(map.values().rev().eq(&['c', 'b', 'a']));
        assert!(map.keys_behind(Some(&1)).eq(&[2, 3]));
        assert!(map.keys_behind(None).eq(&[1, 2, 3]));
        *map.get_mut(&1).expect("it is there") = 'z';
        assert_eq!(map.remove(&1), Some('z'));
        assert_eq!((map.remove(&1), map.get(&1)), (None, None));
        assert!(map.contains_key(&2));
    }

    #[test]
    fn stretches_that_grow_at_their_ends_are_full() {
        let mut set = Sorted::default();
        let count = 10_000;
        // Three runs, one behind the other.
        for value in 0..count {
            for run in 0..3_u32 {
                set.insert((run, value));
            }
        }
        let fewest = 3 * usize::try_from(count).expect("not many") / STRETCH;
        let stretches = set.stretches.len();
        assert!(stretches <= fewest + 8, "{stretches} for {fewest}");
        for value in 0..count {
            for run in 0..3 {
                assert!(set.remove(&(run, value)));
            }
        }
        assert!(set.stretches.is_empty());
    }
}

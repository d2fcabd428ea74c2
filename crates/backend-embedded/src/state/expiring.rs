//! A map whose entries end at a time.

use drumline_protocol::Timestamp;

use super::sorted::{Sorted, SortedMap};

/// Keys with values, each up to a time. What has ended is dropped with the next
/// entry, so a write costs as much as what it drops.
#[derive(Clone, Debug)]
pub(super) struct Expiring<K, V> {
    entries: SortedMap<K, (V, Timestamp)>,
    ends: Sorted<(Timestamp, K)>,
}

impl<K, V> Default for Expiring<K, V> {
    fn default() -> Self {
        Self {
            entries: SortedMap::default(),
            ends: Sorted::default(),
        }
    }
}

impl<K: Copy + Ord, V: Copy> Expiring<K, V> {
    /// Returns the value of a key, if it has not ended.
    pub(super) fn get(&self, key: K, now: Timestamp) -> Option<V> {
        let (value, until) = self.entries.get(&key)?;
        (*until > now).then_some(*value)
    }

    /// Gives a key a value up to a time. Returns the keys that have ended.
    pub(super) fn insert(&mut self, key: K, value: V, until: Timestamp, now: Timestamp) -> Vec<K> {
        let mut dropped = Vec::new();
        while let Some((_, ended)) = self.ends.first().copied().filter(|(end, _)| *end <= now) {
            self.remove(ended);
            dropped.push(ended);
        }
        self.put(key, value, until);
        dropped
    }

    /// Gives a key a value up to a time, and drops none.
    pub(super) fn put(&mut self, key: K, value: V, until: Timestamp) {
        self.remove(key);
        self.entries.insert(key, (value, until));
        self.ends.insert((until, key));
    }

    /// The value of a key and its end, past or not.
    pub(super) fn entry(&self, key: K) -> Option<(V, Timestamp)> {
        self.entries.get(&key).copied()
    }

    fn remove(&mut self, key: K) {
        if let Some((_, until)) = self.entries.remove(&key) {
            self.ends.remove(&(until, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_neither_found_nor_kept() {
        let at = Timestamp::from_millis;
        let mut map = Expiring::default();
        assert!(map.insert(1, 'a', at(10), at(0)).is_empty());
        assert!(map.insert(2, 'b', at(20), at(0)).is_empty());
        assert_eq!(map.get(1, at(9)), Some('a'));
        assert_eq!(map.get(1, at(10)), None);
        assert_eq!(map.insert(2, 'c', at(30), at(12)), [1]);
        assert_eq!((map.entries.len(), map.ends.len()), (1, 1));
        assert_eq!(map.get(2, at(29)), Some('c'));
    }
}

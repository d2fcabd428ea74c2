//! The latest ends, in memory: all subscribers that keep up read them here.

use std::collections::VecDeque;

use drumline_backend::store::Stamp;

use super::{Cursor, End};

/// Ends that are kept in memory: some seconds of a busy system, and 100 kB.
pub(super) const RING: usize = 4096;

/// Some ends in their order, and the cursor to go on at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Completions {
    pub(crate) entries: Vec<End>,
    pub(crate) cursor: Cursor,
}

/// All ends behind `from` up to `until`.
#[derive(Debug)]
pub(super) struct Ring {
    entries: VecDeque<End>,
    from: Stamp,
    until: Stamp,
}

impl Ring {
    /// An empty ring, which begins now.
    pub(super) const fn new(now: Stamp) -> Self {
        Self {
            entries: VecDeque::new(),
            from: now,
            until: now,
        }
    }

    /// The stamp up to which the ring has all ends.
    pub(super) const fn until(&self) -> Stamp {
        self.until
    }

    pub(super) fn extend(&mut self, entries: Vec<End>, until: Stamp) {
        self.entries.extend(entries);
        while self.entries.len() > RING {
            // The ring keeps all ends of a stamp, or none.
            if let Some((stamp, _)) = self.entries.pop_front() {
                self.from = stamp;
            }
        }
        self.until = self.until.max(until);
    }

    /// The ends behind a cursor, at most `limit`; `None`: the ring begins later.
    pub(super) fn after(&self, cursor: Cursor, limit: usize) -> Option<Completions> {
        if cursor.read_after() < self.from {
            return None;
        }
        let start = self.entries.partition_point(|end| !cursor.is_before(*end));
        Some(first_of(
            self.entries.range(start..),
            limit,
            cursor,
            self.until,
        ))
    }
}

/// The first `limit` of the ends between a cursor and a stamp, and the cursor
/// behind them.
pub(super) fn first_of<'a>(
    ends: impl ExactSizeIterator<Item = &'a End>,
    limit: usize,
    cursor: Cursor,
    until: Stamp,
) -> Completions {
    let is_cut = ends.len() > limit;
    let entries: Vec<End> = ends.take(limit).copied().collect();
    let cursor = if is_cut {
        entries.last().copied().map_or(cursor, Cursor::of)
    } else {
        cursor.advanced_to(until)
    };
    Completions { entries, cursor }
}

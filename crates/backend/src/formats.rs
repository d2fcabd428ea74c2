//! The formats that this process writes: those that every live member reads.
//!
//! The heartbeat reports the live members, and whatever writes asks
//! [`WrittenFormats::now`]. Before the first heartbeat, only the fields that every
//! release of the major version reads are written.

use std::collections::BTreeMap;

use drumline_protocol::{Formats, version};
use parking_lot::Mutex;

use crate::membership::{Build, Roster};

/// The formats that this process writes at the moment.
#[derive(Debug)]
pub struct WrittenFormats {
    own: Formats,
    // The lock is held for a moment, never across an await.
    now: Mutex<Formats>,
}

impl WrittenFormats {
    /// The formats of a process that knows no members yet.
    #[must_use]
    pub fn new(own: Formats) -> Self {
        Self {
            own,
            now: Mutex::new(version::writes(own, [None])),
        }
    }

    /// Notes the live members; returns the formats if they have changed.
    pub fn note(&self, roster: &Roster) -> Option<Formats> {
        let groups = roster.groups().iter();
        let live = groups.map(|group| group.profile.build.formats);
        let next = version::writes(self.own, live);
        let before = std::mem::replace(&mut *self.now.lock(), next);
        (before != next).then_some(next)
    }

    /// The formats to write now.
    #[must_use]
    pub fn now(&self) -> Formats {
        *self.now.lock()
    }
}

impl Default for WrittenFormats {
    /// The formats of a process of this release.
    fn default() -> Self {
        Self::new(version::CURRENT)
    }
}

/// The builds of these members, and the number of members of each: the earliest
/// formats first.
#[must_use]
pub fn builds(roster: &Roster) -> BTreeMap<&Build, usize> {
    let mut counts = BTreeMap::new();
    for group in roster.groups() {
        *counts.entry(&group.profile.build).or_default() += group.ids.len();
    }
    counts
}

#[cfg(test)]
mod tests;

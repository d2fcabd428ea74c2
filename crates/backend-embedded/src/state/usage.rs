//! The use of the store by organizations, counted with each change.

use std::collections::BTreeMap;
use std::time::Duration;

use drumline_backend::store::{CREATED_WITHIN, OPERATION_BYTES, Usage};
use drumline_protocol::{
    ChainKey, Organization, Partition, State as StateCode, Timestamp, UsageKey,
};

use super::State;
use super::record::Record;

/// The counts of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UsageCounts {
    organizations: BTreeMap<UsageKey, Counts>,
    /// The bytes of the Completed operations.
    completed_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    open: u64,
    series: u64,
    tokens: u64,
    bytes: u64,
    /// The minute of the latest create, the creates in it, and those of the minute
    /// before.
    minute: u64,
    created: [u64; 2],
}

impl Counts {
    /// The creates of a minute and of the one before.
    const fn created_in(&self, minute: u64) -> [u64; 2] {
        let [current, before] = self.created;
        if minute == self.minute {
            [current, before]
        } else if minute == self.minute + 1 {
            [0, current]
        } else {
            [0, 0]
        }
    }
}

impl UsageCounts {
    /// Counts a new operation.
    pub(super) fn create(&mut self, record: &Record, begins_chain: bool, now: Timestamp) {
        self.add(record);
        let counts = self.organizations.entry(record.usage).or_default();
        counts.tokens += u64::from(begins_chain);
        let (minute, _) = minute_of(now);
        let [current, before] = counts.created_in(minute);
        counts.minute = minute;
        counts.created = [current + 1, before];
    }

    /// Counts an operation of a store that was there before. The creates of the last
    /// minutes are not known any more: their count begins again.
    pub(super) fn restore(&mut self, record: &Record, begins_chain: bool) {
        self.add(record);
        let counts = self.organizations.entry(record.usage).or_default();
        counts.tokens += u64::from(begins_chain);
    }

    /// Forgets the creates of the last minutes, and organizations without operations.
    #[cfg(test)]
    pub(super) fn settle(&mut self) {
        for counts in self.organizations.values_mut() {
            counts.minute = 0;
            counts.created = [0, 0];
        }
        self.organizations
            .retain(|_, counts| *counts != Counts::default());
    }

    /// Counts an operation as it is.
    pub(super) fn add(&mut self, record: &Record) {
        let counts = self.organizations.entry(record.usage).or_default();
        let bytes = bytes(record);
        counts.bytes += bytes;
        if record.header.state() == StateCode::Completed {
            self.completed_bytes += bytes;
        } else {
            counts.open += 1;
            counts.series += u64::from(record.header.is_series());
        }
    }

    /// Takes away what [`Self::add`] has counted.
    pub(super) fn subtract(&mut self, record: &Record) {
        let Some(counts) = self.organizations.get_mut(&record.usage) else {
            return;
        };
        let bytes = bytes(record);
        counts.bytes = counts.bytes.saturating_sub(bytes);
        if record.header.state() == StateCode::Completed {
            self.completed_bytes = self.completed_bytes.saturating_sub(bytes);
        } else {
            let series = u64::from(record.header.is_series());
            counts.open = counts.open.saturating_sub(1);
            counts.series = counts.series.saturating_sub(series);
        }
    }

    /// Returns the counts of these operations and of the heads of the chains, with the
    /// creates as they were counted.
    pub(super) fn recount<'a>(
        &self,
        records: impl Iterator<Item = &'a Record>,
        heads: impl Iterator<Item = &'a Record>,
    ) -> Self {
        let mut fresh = Self::default();
        for record in records {
            fresh.add(record);
        }
        for head in heads {
            fresh.organizations.entry(head.usage).or_default().tokens += 1;
        }
        for (key, counts) in &self.organizations {
            let fresh = fresh.organizations.entry(*key).or_default();
            (fresh.minute, fresh.created) = (counts.minute, counts.created);
        }
        fresh
    }

    /// A chain of the organization has no operations any more.
    pub(super) fn end_chain(&mut self, key: UsageKey) {
        if let Some(counts) = self.organizations.get_mut(&key) {
            counts.tokens = counts.tokens.saturating_sub(1);
        }
    }
}

impl State {
    /// The use of the store by the operations of an organization.
    #[must_use]
    pub fn usage(&self, organization: &Organization, now: Timestamp) -> Usage {
        let key = UsageKey::of(organization);
        let (minute, into) = minute_of(now);
        let (mut usage, mut created) = (Usage::default(), [0, 0]);
        for contents in self.partitions.values() {
            let Some(counts) = contents.usage.organizations.get(&key) else {
                continue;
            };
            usage.open += counts.open;
            usage.series += counts.series;
            usage.tokens += counts.tokens;
            usage.bytes += counts.bytes;
            for (sum, some) in created.iter_mut().zip(counts.created_in(minute)) {
                *sum += some;
            }
        }
        let [current, before] = created;
        usage.created = Usage::sliding(current, before, into);
        usage
    }

    /// The number of operations in a chain.
    #[must_use]
    pub fn chain_length(&self, key: ChainKey) -> u64 {
        let contents = self.contents(key.partition(self.count));
        contents.map_or(0, |contents| contents.chains.length(key))
    }

    /// The bytes of the Completed operations of a partition.
    #[must_use]
    pub fn completed_bytes(&self, partition: Partition) -> u64 {
        let contents = self.contents(partition);
        contents.map_or(0, |contents| contents.usage.completed_bytes)
    }
}

/// The bytes of an operation, about as a server would count them.
fn bytes(record: &Record) -> u64 {
    let large = record.large_bytes();
    OPERATION_BYTES + u64::try_from(large).unwrap_or(u64::MAX)
}

/// The minute since 1970, and the time into it.
fn minute_of(now: Timestamp) -> (u64, Duration) {
    let now = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
    let minute = now.as_secs() / CREATED_WITHIN.as_secs();
    let into = now.as_millis() % CREATED_WITHIN.as_millis();
    (
        minute,
        Duration::from_millis(u64::try_from(into).unwrap_or(0)),
    )
}

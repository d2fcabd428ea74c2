//! Rollups and failure groups, as plain values. They are apart from the
//! [`State`](crate::state::State): no decision depends on them.

mod rows;

use std::collections::{BTreeMap, BTreeSet};

use drumline_backend::store::{
    BATCH_REMEMBERED, FAILURE_GROUPS, FAILURE_HOURS, FAILURES_KEPT, FailureBatch, FailureGroup,
    FailureHours, ROLLUP_KEYS, Resolution, Rollup, RollupBatch, RollupKey, day_of, hour_of,
    minute_of,
};
use drumline_protocol::{FailureKey, Mute, Organization, Timestamp};

/// Keys that need no room of their own: the total, and the others.
const UNNAMED: usize = 2;

/// All rollups and failure groups.
#[derive(Debug, Default)]
pub(crate) struct Rollups {
    /// The batches that were added, with their minute.
    batches: BTreeSet<(u64, u64)>,
    /// The keys with names of each day.
    keys: BTreeMap<u64, BTreeSet<RollupKey>>,
    slots: BTreeMap<(Resolution, u64), BTreeMap<RollupKey, Rollup>>,
    failures: BTreeMap<Organization, BTreeMap<FailureKey, FailureGroup>>,
    /// The failures of each hour, by organization and group.
    hours: BTreeMap<u64, BTreeMap<Organization, BTreeMap<FailureKey, u64>>>,
    mutes: BTreeMap<(Organization, FailureKey), Mute>,
    touched: Touched,
}

/// The marks of what has changed, if it is written to a disk.
#[derive(Debug, Default)]
struct Touched {
    is_on: bool,
    slots: BTreeSet<(Resolution, u64, RollupKey)>,
    failures: BTreeSet<(Organization, FailureKey)>,
    hours: BTreeSet<(u64, Organization, FailureKey)>,
    mutes: BTreeSet<(Organization, FailureKey)>,
}

impl Rollups {
    /// Adds counts to the slots of their minute.
    pub(crate) fn add_rollup(&mut self, batch: &RollupBatch, now: Timestamp) {
        self.forget(now);
        if !self.batches.insert((batch.minute, batch.id)) {
            return;
        }
        let named = self.keys.entry(day_of(batch.minute)).or_default();
        for (key, rollup) in &batch.counts {
            let has_room = match key {
                RollupKey::Total | RollupKey::Others => true,
                RollupKey::Of { .. } => {
                    let has_room = named.len() < ROLLUP_KEYS - UNNAMED || named.contains(key);
                    if has_room {
                        named.insert(key.clone());
                    }
                    has_room
                }
            };
            let key = if has_room { key } else { &RollupKey::Others };
            for resolution in Resolution::ALL {
                let slot = (resolution, batch.minute / resolution.minutes());
                let counts = self.slots.entry(slot).or_default();
                counts.entry(key.clone()).or_default().add(rollup);
                let (resolution, slot) = slot;
                self.touched.slot(resolution, slot, key);
            }
        }
    }

    /// The named keys of some days, in their order.
    pub(crate) fn keys(&self, since: Timestamp, until: Timestamp) -> Vec<RollupKey> {
        let (first, last) = (day_of(minute_of(since)), day_of(minute_of(until)));
        let days = self.keys.iter();
        let days = days.filter(|(day, _)| (first..=last).contains(*day));
        let found: BTreeSet<&RollupKey> = days.flat_map(|(_, keys)| keys).collect();
        found.into_iter().cloned().collect()
    }

    /// The counts of some keys in a slot.
    pub(crate) fn slot(
        &self,
        keys: &[RollupKey],
        resolution: Resolution,
        number: u64,
        now: Timestamp,
    ) -> Vec<Rollup> {
        let is_kept = is_kept(resolution, number, now);
        let slot = self.slots.get(&(resolution, number));
        let slot = slot.filter(|_slot| is_kept);
        let counts = |one: &RollupKey| slot.and_then(|slot| slot.get(one)).copied();
        keys.iter()
            .map(|one| counts(one).unwrap_or_default())
            .collect()
    }

    /// Adds failures to their groups.
    pub(crate) fn add_failures(&mut self, batch: &FailureBatch, now: Timestamp) {
        self.forget(now);
        if !self.batches.insert((batch.minute, batch.id)) {
            return;
        }
        for (organization, group) in &batch.groups {
            let groups = self.failures.entry(organization.clone()).or_default();
            groups
                .entry(group.key)
                .and_modify(|known| known.add(group))
                .or_insert_with(|| group.clone());
            self.touched.failure(organization, group.key);
            if groups.len() > FAILURE_GROUPS {
                let oldest = groups.values().min_by_key(|one| (one.last, one.key));
                if let Some(key) = oldest.map(|one| one.key) {
                    self.touched.failure(organization, key);
                    groups.remove(&key);
                    self.unmute(organization, key);
                }
            }
            self.add_to_hour(hour_of(batch.minute), organization, group);
        }
    }

    fn add_to_hour(&mut self, hour: u64, organization: &Organization, group: &FailureGroup) {
        let counts = self.hours.entry(hour).or_default();
        let counts = counts.entry(organization.clone()).or_default();
        if counts.len() < FAILURE_GROUPS || counts.contains_key(&group.key) {
            let count = counts.entry(group.key).or_default();
            *count = count.saturating_add(group.count);
            self.touched.hour(hour, organization, group.key);
        }
    }

    /// The failures of some groups in each of the hours up to `last`.
    pub(crate) fn hours(
        &self,
        organization: &Organization,
        keys: &[FailureKey],
        last: u64,
    ) -> Vec<FailureHours> {
        let mut found = vec![FailureHours::default(); keys.len()];
        let first = (last + 1).saturating_sub(FAILURE_HOURS as u64);
        for (place, hour) in (first..=last).enumerate() {
            let counts = self.hours.get(&hour);
            let counts = counts.and_then(|counts| counts.get(organization));
            for (hours, key) in found.iter_mut().zip(keys) {
                let count = counts.and_then(|counts| counts.get(key));
                if let (Some(count), Some(own)) = (count, hours.get_mut(place)) {
                    *own = *count;
                }
            }
        }
        found
    }

    /// The groups of an organization, the last failure first.
    pub(crate) fn failure_groups(
        &self,
        organization: &Organization,
        limit: usize,
    ) -> Vec<FailureGroup> {
        let groups = self.failures.get(organization);
        let mut found: Vec<_> = groups.into_iter().flat_map(BTreeMap::values).collect();
        found.sort_by_key(|one| std::cmp::Reverse((one.last, one.key)));
        found.into_iter().take(limit).cloned().collect()
    }

    /// A group of an organization.
    pub(crate) fn failure_group(
        &self,
        organization: &Organization,
        key: FailureKey,
    ) -> Option<FailureGroup> {
        self.failures.get(organization)?.get(&key).cloned()
    }

    /// The mutes of some groups, in their order.
    pub(crate) fn mutes(
        &self,
        organization: &Organization,
        keys: &[FailureKey],
    ) -> Vec<Option<Mute>> {
        let mute = |key: &FailureKey| self.mutes.get(&(organization.clone(), *key)).cloned();
        keys.iter().map(mute).collect()
    }

    /// Mutes a group.
    pub(crate) fn mute(&mut self, organization: &Organization, key: FailureKey, mute: &Mute) {
        self.touched.mute(organization, key);
        self.mutes.insert((organization.clone(), key), mute.clone());
    }

    /// Removes the mute of a group. Returns true if there was one.
    pub(crate) fn unmute(&mut self, organization: &Organization, key: FailureKey) -> bool {
        let before = self.mutes.remove(&(organization.clone(), key));
        if before.is_some() {
            self.touched.mute(organization, key);
        }
        before.is_some()
    }

    /// Removes what is not kept any more.
    fn forget(&mut self, now: Timestamp) {
        let minute = minute_of(now);
        let remembered = BATCH_REMEMBERED.as_secs() / 60;
        self.batches
            .retain(|(of, _)| of.saturating_add(remembered) >= minute);
        let kept = Resolution::TenMinutes.kept().as_secs() / 60;
        let oldest = day_of(minute.saturating_sub(kept));
        self.keys.retain(|day, _| *day >= oldest);
        let touched = &mut self.touched;
        self.slots.retain(|(resolution, slot), counts| {
            let stays = is_kept(*resolution, *slot, now);
            if !stays {
                let gone = counts.keys();
                gone.for_each(|key| touched.slot(*resolution, *slot, key));
            }
            stays
        });
        self.failures.retain(|organization, groups| {
            let last = groups.values().map(|group| group.last).max();
            let stays = last.is_some_and(|last| now.since(last) < FAILURES_KEPT);
            if !stays {
                let gone = groups.keys();
                gone.for_each(|key| touched.failure(organization, *key));
            }
            stays
        });
        self.mutes.retain(|(organization, key), mute| {
            let stays = mute.is_in_force(now);
            if !stays {
                touched.mute(organization, *key);
            }
            stays
        });
        let first = hour_of(minute).saturating_sub(FAILURE_HOURS as u64);
        self.hours.retain(|hour, organizations| {
            let stays = *hour >= first;
            if !stays {
                for (organization, counts) in organizations {
                    let gone = counts.keys();
                    gone.for_each(|key| touched.hour(*hour, organization, *key));
                }
            }
            stays
        });
    }
}

fn is_kept(resolution: Resolution, slot: u64, now: Timestamp) -> bool {
    slot.saturating_add(resolution.slots()) >= resolution.slot(now)
}

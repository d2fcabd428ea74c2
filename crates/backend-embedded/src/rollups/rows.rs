//! Rollups and failure groups as rows. The batches that were added are not in them: the
//! process that might repeat one is gone when they are read.

use drumline_backend::store::{FailureGroup, Resolution, Rollup, RollupKey, day_of};
use drumline_protocol::digest::digest;
use drumline_protocol::{ErrorCode, FailureKey, Mute, Organization, QueueName};

use super::{Rollups, Touched};
use crate::durable::{Error, Rows};
use crate::state::restored::Reader;
use crate::state::rows::{Bytes, FAILURE_HOUR, FAILURES, MUTE, ROLLUP, Row};

impl Touched {
    pub(super) fn slot(&mut self, resolution: Resolution, slot: u64, key: &RollupKey) {
        if self.is_on {
            self.slots.insert((resolution, slot, key.clone()));
        }
    }

    pub(super) fn failure(&mut self, organization: &Organization, key: FailureKey) {
        if self.is_on {
            self.failures.insert((organization.clone(), key));
        }
    }

    pub(super) fn hour(&mut self, hour: u64, organization: &Organization, key: FailureKey) {
        if self.is_on {
            self.hours.insert((hour, organization.clone(), key));
        }
    }

    pub(super) fn mute(&mut self, organization: &Organization, key: FailureKey) {
        if self.is_on {
            self.mutes.insert((organization.clone(), key));
        }
    }
}

/// The number of a resolution: the minutes of a slot.
const fn number(resolution: Resolution) -> u64 {
    resolution.minutes()
}

fn named(bytes: &mut Bytes, key: &RollupKey) {
    match key {
        RollupKey::Total => bytes.u8(0),
        RollupKey::Others => bytes.u8(1),
        RollupKey::Of {
            queue,
            message_name,
        } => {
            bytes.u8(2);
            bytes.part(queue.as_str().as_bytes());
            bytes.part(message_name.as_bytes());
        }
    }
}

fn read_name(value: &mut Reader<'_>) -> Result<RollupKey, Error> {
    match value.u8()? {
        0 => Ok(RollupKey::Total),
        1 => Ok(RollupKey::Others),
        _ => {
            let queue = QueueName::try_from(value.text()?);
            Ok(RollupKey::Of {
                queue: queue.map_err(|error| Error::damaged("counts", error.to_string()))?,
                message_name: value.text()?,
            })
        }
    }
}

impl Rollups {
    /// Begins to mark what changes.
    pub(crate) fn mark_changes(&mut self) {
        self.touched.is_on = true;
    }

    /// Returns true if something is marked.
    pub(crate) fn is_touched(&self) -> bool {
        let Touched {
            is_on: _,
            slots,
            failures,
            hours,
            mutes,
        } = &self.touched;
        let marked = [slots.len(), failures.len(), hours.len(), mutes.len()];
        marked.iter().any(|count| *count > 0)
    }

    /// The rows of everything that is marked, and no marks any more.
    pub(crate) fn take_rows(&mut self) -> Vec<Row> {
        let slots = std::mem::take(&mut self.touched.slots);
        let failures = std::mem::take(&mut self.touched.failures);
        let hours = std::mem::take(&mut self.touched.hours);
        let mutes = std::mem::take(&mut self.touched.mutes);
        let slots = slots.iter().map(|(resolution, slot, key)| {
            let counts = self.slots.get(&(*resolution, *slot));
            let counts = counts.and_then(|counts| counts.get(key));
            slot_row(*resolution, *slot, key, counts)
        });
        let failures = failures.iter().map(|(organization, key)| {
            let groups = self.failures.get(organization);
            let group = groups.and_then(|groups| groups.get(key));
            failure_row(organization, *key, group)
        });
        let hours = hours.iter().map(|(hour, organization, key)| {
            let counts = self.hours.get(hour);
            let counts = counts.and_then(|counts| counts.get(organization));
            let count = counts.and_then(|counts| counts.get(key)).copied();
            hour_row(*hour, organization, *key, count)
        });
        let mutes = mutes.iter().map(|place| {
            let mute = self.mutes.get(place);
            mute_row(&place.0, place.1, mute)
        });
        slots.chain(failures).chain(hours).chain(mutes).collect()
    }

    /// Makes rollups of their rows.
    pub(crate) fn restore(rows: &dyn Rows) -> Result<Self, Error> {
        let mut rollups = Self::default();
        for row in rows.of_kind(ROLLUP)? {
            let (key, value) = row?;
            rollups.restore_slot(&key, &value)?;
        }
        for row in rows.of_kind(FAILURES)? {
            let (_, value) = row?;
            rollups.restore_failure(&value)?;
        }
        for row in rows.of_kind(FAILURE_HOUR)? {
            let (key, value) = row?;
            rollups.restore_hour(&key, &value)?;
        }
        for row in rows.of_kind(MUTE)? {
            let (_, value) = row?;
            rollups.restore_mute(&value)?;
        }
        Ok(rollups)
    }

    fn restore_slot(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let mut key = Reader::new("counts", key.get(1..).unwrap_or_default());
        let (minutes, slot) = (key.u64()?, key.u64()?);
        let mut resolutions = Resolution::ALL.into_iter();
        let Some(resolution) = resolutions.find(|one| number(*one) == minutes) else {
            return Err(Error::damaged("counts", "no length of a slot"));
        };
        let mut value = Reader::versioned("counts", value)?;
        let name = read_name(&mut value)?;
        let mut rollup = Rollup::default();
        let mut place = 0;
        while !value.is_at_end() {
            let count = value.u64()?;
            if let Some(own) = rollup.number_mut(place) {
                *own = count;
            }
            place += 1;
        }
        if resolution == Resolution::TenMinutes && matches!(name, RollupKey::Of { .. }) {
            let day = day_of(slot.saturating_mul(minutes));
            self.keys.entry(day).or_default().insert(name.clone());
        }
        let counts = self.slots.entry((resolution, slot)).or_default();
        counts.insert(name, rollup);
        Ok(())
    }

    fn restore_failure(&mut self, value: &[u8]) -> Result<(), Error> {
        let mut value = Reader::versioned("a failure group", value)?;
        let organization = Organization(value.text()?);
        let group = FailureGroup {
            key: FailureKey(value.u64()?),
            message_name: value.text()?,
            code: ErrorCode(u32::try_from(value.u64()?).unwrap_or(u32::MAX)),
            pattern: value.text()?,
            count: value.u64()?,
            first: value.time()?,
            last: value.time()?,
            sample: value.operation()?,
        };
        let groups = self.failures.entry(organization).or_default();
        groups.insert(group.key, group);
        Ok(())
    }

    fn restore_hour(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        const ROW: &str = "the failures of an hour";
        let mut key = Reader::new(ROW, key.get(1..).unwrap_or_default());
        let hour = key.u64()?;
        let mut value = Reader::versioned(ROW, value)?;
        let organization = Organization(value.text()?);
        let key = FailureKey(value.u64()?);
        let counts = self.hours.entry(hour).or_default();
        let counts = counts.entry(organization).or_default();
        counts.insert(key, value.u64()?);
        Ok(())
    }

    fn restore_mute(&mut self, value: &[u8]) -> Result<(), Error> {
        let mut value = Reader::versioned("a mute", value)?;
        let organization = Organization(value.text()?);
        let key = FailureKey(value.u64()?);
        if let Some(mute) = Mute::from_json(value.part()?) {
            self.mutes.insert((organization, key), mute);
        }
        Ok(())
    }
}

fn slot_row(resolution: Resolution, slot: u64, name: &RollupKey, counts: Option<&Rollup>) -> Row {
    let mut key = Bytes(vec![ROLLUP]);
    key.u64(number(resolution));
    key.u64(slot);
    key.u64(name.digest());
    let value = counts.map(|counts| {
        let mut bytes = Bytes::versioned();
        named(&mut bytes, name);
        counts.numbers().for_each(|number| bytes.u64(number));
        bytes.0
    });
    (key.0, value)
}

fn failure_row(organization: &Organization, key: FailureKey, group: Option<&FailureGroup>) -> Row {
    let mut name = Bytes(vec![FAILURES]);
    name.u64(digest(&[organization.0.as_str()]));
    name.u64(key.0);
    let value = group.map(|group| {
        let mut bytes = Bytes::versioned();
        bytes.part(organization.0.as_bytes());
        bytes.u64(group.key.0);
        bytes.part(group.message_name.as_bytes());
        bytes.u64(u64::from(group.code.0));
        bytes.part(group.pattern.as_bytes());
        bytes.u64(group.count);
        bytes.time(group.first);
        bytes.time(group.last);
        bytes.0.extend(group.sample.as_bytes());
        bytes.0
    });
    (name.0, value)
}

fn hour_row(hour: u64, organization: &Organization, key: FailureKey, count: Option<u64>) -> Row {
    let mut name = Bytes(vec![FAILURE_HOUR]);
    name.u64(hour);
    name.u64(digest(&[organization.0.as_str()]));
    name.u64(key.0);
    let value = count.map(|count| {
        let mut bytes = Bytes::versioned();
        bytes.part(organization.0.as_bytes());
        bytes.u64(key.0);
        bytes.u64(count);
        bytes.0
    });
    (name.0, value)
}

fn mute_row(organization: &Organization, key: FailureKey, mute: Option<&Mute>) -> Row {
    let mut name = Bytes(vec![MUTE]);
    name.u64(digest(&[organization.0.as_str()]));
    name.u64(key.0);
    let value = mute.map(|mute| {
        let mut bytes = Bytes::versioned();
        bytes.part(organization.0.as_bytes());
        bytes.u64(key.0);
        bytes.part(mute.to_json().as_bytes());
        bytes.0
    });
    (name.0, value)
}

#[cfg(test)]
impl Rollups {
    /// Everything that is to survive a restart, in text.
    pub(crate) fn settled(&self) -> String {
        let Self {
            batches: _,
            keys,
            slots,
            failures,
            hours,
            mutes,
            touched: _,
        } = self;
        let named = keys.iter().filter(|(_, keys)| !keys.is_empty());
        let keys: Vec<_> = named.collect();
        format!("{keys:?}\n{slots:?}\n{failures:?}\n{hours:?}\n{mutes:?}\n")
    }
}

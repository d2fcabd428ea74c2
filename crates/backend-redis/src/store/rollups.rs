//! Rollups and failure groups: a hash for each slot, and two structures for the
//! failures of each organization.

use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::store::{
    BATCH_REMEMBERED, FAILURE_GROUPS, FAILURE_HOURS, FAILURES_KEPT, FailureBatch, FailureGroup,
    FailureHours, ROLLUP_KEYS, Resolution, Result, Rollup, RollupBatch, RollupKey, RollupStore,
    day_of, hour_of, minute_of,
};
use drumline_protocol::digest::digest;
use drumline_protocol::mute::LONGEST_MUTE;
use drumline_protocol::{
    ErrorCode, FailureKey, Mute, OperationId, Organization, QueueName, Timestamp,
};
use redis::Cmd;

use super::RedisStore;
use crate::reply::{self, Packed, Parts};
use crate::scripts::SCRIPTS;

/// Keys that need no room of their own: the total, and the others.
const UNNAMED: usize = 2;
/// Slots in one round trip.
const SLOTS: usize = 64;
/// Keys in one call of the script, each of which takes the server some 60 µs: other calls
/// wait for that long.
const COUNTS: usize = 16;
/// Groups in one call of the script, each of which takes the server some 10 µs.
const GROUPS: usize = 64;
/// The time that the counts of an hour are kept, from the last one on.
const HOUR_KEPT: Duration = Duration::from_secs(FAILURE_HOURS as u64 * 3600);
/// The time that the names of a day are kept behind its end: they name the keys of
/// its last slot.
const NAMES_KEPT: Duration = Duration::from_secs(4 * 24 * 3600);

#[async_trait]
impl RollupStore for RedisStore {
    async fn add_rollup(&self, batch: &RollupBatch) -> Result<()> {
        let keys = self.keys();
        let slot = |resolution: Resolution| batch.minute / resolution.minutes();
        let names = [
            keys.rollup_batches(batch.minute),
            keys.rollup_names(day_of(batch.minute)),
            keys.rollups(Resolution::Minute, slot(Resolution::Minute)),
            keys.rollups(Resolution::TenMinutes, slot(Resolution::TenMinutes)),
        ];
        for (call, some) in (0_u8..).zip(batch.counts.chunks(COUNTS)) {
            let mut command = SCRIPTS.add_rollup.call(&names);
            command
                .arg(name_of_call(batch.id, call))
                .arg(bytes(RollupKey::Others.digest()))
                .arg(ROLLUP_KEYS - UNNAMED)
                .arg(BATCH_REMEMBERED.as_secs())
                .arg(NAMES_KEPT.as_secs())
                .arg(expiry(Resolution::Minute))
                .arg(expiry(Resolution::TenMinutes));
            for (key, rollup) in some {
                command
                    .arg(bytes(key.digest()))
                    .arg(name_of(key))
                    .arg(pack(rollup));
            }
            self.link().run_one("rollups", command).await?;
        }
        Ok(())
    }

    async fn rollup_keys(&self, since: Timestamp, until: Timestamp) -> Result<Vec<RollupKey>> {
        let days = day_of(minute_of(since))..=day_of(minute_of(until));
        let mut commands = redis::pipe();
        // Older days are not kept.
        for day in days.rev().take(5) {
            commands.cmd("HGETALL").arg(self.keys().rollup_names(day));
        }
        let mut found = Vec::new();
        if since > until {
            return Ok(found);
        }
        for answer in self.link().run("rollups", &commands).await? {
            let mut parts = Parts::of(answer)?;
            while parts.len() > 0 {
                let (_key, name) = (parts.bytes()?, reply::text(parts.value()?)?);
                found.extend(named(&name));
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    async fn rollups(
        &self,
        keys: &[RollupKey],
        resolution: Resolution,
        first: u64,
        count: u64,
    ) -> Result<Vec<Vec<Rollup>>> {
        let slots: Vec<u64> = (first..first.saturating_add(count)).collect();
        if keys.is_empty() {
            return Ok(slots.iter().map(|_slot| Vec::new()).collect());
        }
        let mut found = Vec::new();
        for some in slots.chunks(SLOTS) {
            let mut commands = redis::pipe();
            for slot in some {
                let command = commands.cmd("HMGET");
                command.arg(self.keys().rollups(resolution, *slot));
                for one in keys {
                    command.arg(bytes(one.digest()));
                }
            }
            for answer in self.link().run("rollups", &commands).await? {
                let mut parts = Parts::of(answer)?;
                let mut rollups = Vec::new();
                while parts.len() > 0 {
                    let counts = parts.maybe_bytes()?;
                    let rollup = counts.map(|counts| unpack(&counts)).transpose()?;
                    rollups.push(rollup.unwrap_or_default());
                }
                found.push(rollups);
            }
        }
        Ok(found)
    }

    async fn add_failures(&self, batch: &FailureBatch) -> Result<()> {
        for (call, some) in (0_u8..).zip(batch.groups.chunks(GROUPS)) {
            let name = name_of_call(batch.id, call);
            let command = self.failures_command(&name, batch.minute, some)?;
            self.link().run_one("failures", command).await?;
        }
        Ok(())
    }

    async fn failure_groups(
        &self,
        organization: &Organization,
        limit: usize,
    ) -> Result<Vec<FailureGroup>> {
        let prefix = self.failures_of(organization);
        let Some(last) = limit.checked_sub(1) else {
            return Ok(Vec::new());
        };
        let mut newest = redis::cmd("ZREVRANGE");
        newest
            .arg([prefix.as_slice(), b":last"].concat())
            .arg(0)
            .arg(last);
        let mut newest = Parts::of(self.link().run_one("failures", newest).await?)?;
        let mut keys = Vec::new();
        while newest.len() > 0 {
            keys.push(newest.bytes()?);
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut groups = redis::cmd("HMGET");
        groups.arg([prefix.as_slice(), b":groups"].concat());
        groups.arg(&keys);
        let mut groups = Parts::of(self.link().run_one("failures", groups).await?)?;
        let mut found = Vec::new();
        for key in keys {
            // A group that has gone in between is not there.
            if let Some(group) = groups.maybe_bytes()? {
                found.push(read_group(&key, &group)?);
            }
        }
        Ok(found)
    }

    async fn failure_hours(
        &self,
        organization: &Organization,
        keys: &[FailureKey],
        last: u64,
    ) -> Result<Vec<FailureHours>> {
        let mut found = vec![FailureHours::default(); keys.len()];
        if keys.is_empty() {
            return Ok(found);
        }
        let prefix = self.failures_of(organization);
        let mut commands = redis::pipe();
        for back in (0_u64..).take(FAILURE_HOURS) {
            let hour = format!(":hour:{}", last.saturating_sub(back));
            let command = commands.cmd("HMGET");
            command.arg([prefix.as_slice(), hour.as_bytes()].concat());
            for key in keys {
                command.arg(bytes(key.0));
            }
        }
        let answers = self.link().run("failures", &commands).await?;
        for (back, answer) in answers.into_iter().enumerate() {
            let mut counts = Parts::of(answer)?;
            for hours in &mut found {
                let count = counts.maybe_bytes()?;
                let place = FAILURE_HOURS.saturating_sub(back + 1);
                if let (Some(count), Some(hour)) = (count, hours.get_mut(place)) {
                    *hour = decimal(&count)?;
                }
            }
        }
        Ok(found)
    }

    async fn failure_group(
        &self,
        organization: &Organization,
        key: FailureKey,
    ) -> Result<Option<FailureGroup>> {
        let name = bytes(key.0);
        let mut look = redis::cmd("HMGET");
        look.arg(self.failures_key(organization, ":groups"));
        look.arg(&name);
        let mut found = Parts::of(self.link().run_one("failures", look).await?)?;
        let group = found.maybe_bytes()?;
        group.map(|group| read_group(&name, &group)).transpose()
    }

    async fn mutes(
        &self,
        organization: &Organization,
        keys: &[FailureKey],
    ) -> Result<Vec<Option<Mute>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut look = redis::cmd("HMGET");
        look.arg(self.failures_key(organization, ":mutes"));
        for key in keys {
            look.arg(bytes(key.0));
        }
        let mut found = Parts::of(self.link().run_one("failures", look).await?)?;
        let mut mutes = Vec::new();
        for _key in keys {
            let mute = found.maybe_bytes()?;
            mutes.push(mute.and_then(|mute| Mute::from_json(&mute)));
        }
        Ok(mutes)
    }

    async fn mute(&self, organization: &Organization, key: FailureKey, mute: &Mute) -> Result<()> {
        let name = self.failures_key(organization, ":mutes");
        let mut commands = redis::pipe();
        let set = commands.cmd("HSET");
        set.arg(&name).arg(bytes(key.0)).arg(mute.to_json());
        // By then all that stand there have ended.
        let expire = commands.cmd("EXPIRE");
        expire.arg(&name).arg(LONGEST_MUTE.as_secs());
        self.link().run("failures", &commands).await?;
        Ok(())
    }

    async fn unmute(&self, organization: &Organization, key: FailureKey) -> Result<bool> {
        let mut remove = redis::cmd("HDEL");
        remove.arg(self.failures_key(organization, ":mutes"));
        remove.arg(bytes(key.0));
        let removed = reply::number(self.link().run_one("failures", remove).await?)?;
        Ok(removed > 0)
    }
}

impl RedisStore {
    /// The beginning of the keys of the failures of an organization.
    fn failures_of(&self, organization: &Organization) -> Vec<u8> {
        [self.keys().failures_prefix(), of_organization(organization)].concat()
    }

    fn failures_key(&self, organization: &Organization, name: &str) -> Vec<u8> {
        [self.failures_of(organization), name.into()].concat()
    }

    fn failures_command(
        &self,
        name: &[u8],
        minute: u64,
        groups: &[(Organization, FailureGroup)],
    ) -> Result<Cmd> {
        let keys = [
            self.keys().rollup_batches(minute).into_bytes(),
            self.keys().failures_prefix(),
        ];
        let mut command = SCRIPTS.add_failures.call(&keys);
        command
            .arg(name)
            .arg(FAILURE_GROUPS)
            .arg(BATCH_REMEMBERED.as_secs())
            .arg(FAILURES_KEPT.as_secs())
            .arg(hour_of(minute))
            .arg(HOUR_KEPT.as_secs());
        for (organization, group) in groups {
            command
                .arg(of_organization(organization))
                .arg(bytes(group.key.0))
                .arg(written_group(group)?);
        }
        Ok(command)
    }
}

/// The seconds for which a slot is kept, from the last time that counts were added.
fn expiry(resolution: Resolution) -> u64 {
    resolution.kept().as_secs() + resolution.minutes() * 60
}

fn bytes(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn decimal(written: &[u8]) -> Result<u64> {
    let number = std::str::from_utf8(written).ok();
    let number = number.and_then(|number| number.parse().ok());
    number.ok_or_else(reply::unexpected)
}

/// The name of one of the calls that add a batch, by which its repetition is
/// recognised.
fn name_of_call(batch: u64, call: u8) -> Vec<u8> {
    [batch.to_be_bytes().as_slice(), &[call]].concat()
}

/// The organization in the name of a key.
fn of_organization(organization: &Organization) -> Vec<u8> {
    bytes(digest(&[&organization.0]))
}

/// The name of a key: its queue, in which there is no zero, and its message name.
fn name_of(key: &RollupKey) -> String {
    match key {
        RollupKey::Total | RollupKey::Others => String::new(),
        RollupKey::Of {
            queue,
            message_name,
        } => format!("{queue}\0{message_name}"),
    }
}

/// The key with a name; `None` if a later release has written it.
fn named(name: &str) -> Option<RollupKey> {
    let (queue, message_name) = name.split_once('\0')?;
    let queue: QueueName = queue.parse().ok()?;
    Some(RollupKey::Of {
        queue,
        message_name: message_name.to_owned(),
    })
}

/// The numbers of a rollup as `add_rollup.lua` reads them: by ascending places.
fn pack(rollup: &Rollup) -> Vec<u8> {
    let mut packed = Vec::new();
    for (place, mut number) in (0_u8..).zip(rollup.numbers()) {
        if number == 0 {
            continue;
        }
        packed.push(place);
        loop {
            let [low, ..] = number.to_le_bytes();
            number >>= 7;
            if number == 0 {
                packed.push(low & 0x7f);
                break;
            }
            packed.push(low | 0x80);
        }
    }
    packed
}

fn unpack(packed: &[u8]) -> Result<Rollup> {
    let mut rollup = Rollup::default();
    let mut bytes = packed.iter().copied();
    while let Some(place) = bytes.next() {
        let (mut number, mut shift) = (0_u64, 0_u32);
        loop {
            let part = bytes.next().ok_or_else(reply::unexpected)?;
            let bits = u64::from(part & 0x7f).checked_shl(shift);
            number |= bits.ok_or_else(reply::unexpected)?;
            shift += 7;
            if part < 0x80 {
                break;
            }
        }
        // A later release may count more.
        if let Some(own) = rollup.number_mut(usize::from(place)) {
            *own = number;
        }
    }
    Ok(rollup)
}

fn written_group(group: &FailureGroup) -> Result<Vec<u8>> {
    let ms = |at: Timestamp| u64::try_from(at.as_millis()).unwrap_or(0);
    let mut written = Vec::new();
    for number in [ms(group.first), ms(group.last), group.count] {
        written.extend(number.to_be_bytes());
    }
    written.extend(group.sample.as_bytes());
    let texts = (&group.message_name, group.code.0, &group.pattern);
    let texts = serde_json::to_vec(&texts);
    written.extend(texts.map_err(|_error: serde_json::Error| reply::unexpected())?);
    Ok(written)
}

fn read_group(key: &[u8], written: &[u8]) -> Result<FailureGroup> {
    let key = Packed::new(key).number()?;
    let mut written = Packed::new(written);
    let time = |ms: u64| Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    let (first, last) = (written.number()?, written.number()?);
    let count = written.number()?;
    let sample = OperationId::from_bytes(*written.take()?);
    let texts: serde_json::Result<(String, u32, String)> = serde_json::from_slice(written.rest());
    let (message_name, code, pattern) =
        texts.map_err(|_error: serde_json::Error| reply::unexpected())?;
    Ok(FailureGroup {
        key: FailureKey(key),
        message_name,
        code: ErrorCode(code),
        pattern,
        count,
        first: time(first),
        last: time(last),
        sample: sample.ok_or_else(reply::unexpected)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked() {
        let mut rollup = Rollup {
            created: 1,
            succeeded: 127,
            failed: 128,
            canceled: 300,
            expired: u64::from(u32::MAX),
            ..Rollup::default()
        };
        rollup.wait.observe(Duration::from_millis(7));
        rollup.run.observe(Duration::from_secs(100_000));
        assert_eq!(unpack(&pack(&rollup)).unwrap(), rollup);
        assert_eq!(unpack(&[]).unwrap(), Rollup::default());
        // The number is cut off.
        assert!(unpack(&[0, 0x80]).is_err());
        // A place of a later release.
        assert_eq!(unpack(&[200, 5]).unwrap(), Rollup::default());
    }

    #[test]
    fn a_name_says_its_key() {
        let key = RollupKey::Of {
            queue: QueueName::default(),
            message_name: "a\0b".to_owned(),
        };
        assert_eq!(named(&name_of(&key)), Some(key));
    }
}

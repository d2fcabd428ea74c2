//! The check of the store, in steps.
//!
//! ```text
//! sets ───→ keys ───→ usage
//!  │         │          └─ recount.lua: the counts of each partition
//!  │         └─ SCAN over the namespace: each record and its places, each chain,
//!  │            parts without their records, idempotency keys
//!  └─ the entries of each set of each partition, and their records
//! ```
//!
//! The sets come first and the counts last: each stage relies on what the one before has
//! repaired. A step compares what one script has read in one partition, so everything in
//! it is of one moment. The rules that say where an operation belongs are those of its
//! header, hence here; a script repairs it if its record is still as it was read.

mod judge;
mod stage;
mod usage;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::Store as _;
use drumline_backend::store::{
    CheckPage, CheckPlace, CheckStep, CheckStore, Fault, FaultKind, Result,
};
use drumline_protocol::{IndexKind, OperationId, Partition, Status};
use redis::{Cmd, Value};

use self::judge::{Found, Repair};
use self::stage::{Chain, Place, Stage};
use super::RedisStore;
use crate::keys::PartitionKeys;
use crate::record;
use crate::reply::{self, Parts};
use crate::scripts::SCRIPTS;

/// The chains in one step. An answer has all members of a short one.
const CHAINS: usize = 8;
/// An idempotency key is reserved before its operation is created. No create takes that
/// long.
const RESERVED_FOR: Duration = Duration::from_secs(3_600);

#[async_trait]
impl CheckStore for RedisStore {
    async fn check_step(&self, step: &CheckStep) -> Result<CheckPage> {
        let mut place = match &step.place {
            Some(place) => Place::read(place)?,
            None => Place::default(),
        };
        let mut page = CheckPage::default();
        let stage = std::mem::take(&mut place.stage);
        let next = match stage {
            Stage::Sets { at, set, from } => {
                self.check_sets(step, (at, set, &from), &mut page).await?
            }
            Stage::Keys { cursor, chains } => {
                self.check_keys(step, cursor, chains, &mut page).await?
            }
            Stage::Usage(count) => {
                self.check_usage(step, count, &place.doubtful, &mut page)
                    .await?
            }
        };
        place.note(&page.faults);
        if let Some(stage) = next {
            place.stage = stage;
            page.next = Some(CheckPlace(place.bytes()?));
        }
        Ok(page)
    }
}

impl RedisStore {
    /// Looks at entries of the sets of a partition.
    async fn check_sets(
        &self,
        step: &CheckStep,
        (at, set, from): (usize, u64, &[u8]),
        page: &mut CheckPage,
    ) -> Result<Option<Stage>> {
        let Some(partition) = step.partitions.get(at).copied() else {
            return Ok(Some(Stage::keys()));
        };
        let mut next = (at + 1, 1, Vec::new());
        if let Some(keys) = self.keys.partition(partition) {
            let mut command = SCRIPTS.check_sets.call(&[keys.prefix()]);
            command
                .arg(repair_flag(step))
                .arg(step.limit.max(1))
                .arg(set)
                .arg(from);
            for set in sets() {
                command.arg(set);
            }
            let mut answer = Parts::of(self.link.run_one("check", command).await?)?;
            let (next_set, next_from) = (answer.number()?, answer.bytes()?);
            if next_set > 0 {
                next = (at, next_set, next_from);
            }
            page.looked_at += answer.number()?;
            let mut found = Vec::new();
            while answer.len() > 0 {
                let (set, entry) = (answer.bytes()?, answer.bytes()?);
                let (verdict, h) = (answer.bytes()?, answer.bytes()?);
                found.extend(judge::entry(&set, &entry, &verdict, h));
            }
            self.settle(step, partition, keys, found, page).await?;
        }
        let (at, set, from) = next;
        Ok(Some(Stage::Sets { at, set, from }))
    }

    /// Looks at some keys of the namespace, or at the chains that were among them.
    async fn check_keys(
        &self,
        step: &CheckStep,
        cursor: Option<String>,
        mut chains: Vec<Chain>,
        page: &mut CheckPage,
    ) -> Result<Option<Stage>> {
        if !chains.is_empty() {
            let rest = chains.split_off(chains.len().min(CHAINS));
            let mut left = self.check_chains(step, chains, page).await?;
            left.extend(rest);
            return Ok(Some(Stage::Keys {
                cursor,
                chains: left,
            }));
        }
        let Some(cursor) = cursor else {
            return Ok(Some(Stage::usage()));
        };
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor)
            .arg("MATCH")
            .arg(format!("{}:{{*", self.keys.namespace()))
            .arg("COUNT")
            .arg(step.limit.max(1));
        let mut answer = Parts::of(self.link.run_one("check", scan).await?)?;
        let cursor = reply::text(answer.value()?)?;
        let (mut keys, mut seen) = (answer.parts()?, Seen::default());
        while keys.len() > 0 {
            let key = keys.bytes()?;
            if let Some((partition, name)) = self.name_of(step, &key) {
                seen.add(partition, name);
            }
        }
        self.check_records(step, seen.records, page).await?;
        self.check_parts(step, &seen.parts, page).await?;
        self.check_reservations(step, &seen.reservations, page)
            .await?;
        Ok(Some(Stage::Keys {
            cursor: (cursor != "0").then_some(cursor),
            chains: seen.chains,
        }))
    }

    /// The partition of a key and its name there, if the partition is checked.
    fn name_of<'a>(&self, step: &CheckStep, key: &'a [u8]) -> Option<(Partition, &'a [u8])> {
        let rest = key.strip_prefix(self.keys.namespace().as_bytes())?;
        let rest = rest.strip_prefix(b":{")?;
        let end = rest.iter().position(|byte| *byte == b'}')?;
        let (number, name) = rest.split_at_checked(end)?;
        let number: u16 = std::str::from_utf8(number).ok()?.parse().ok()?;
        let partition = Partition::new(number);
        let is_checked = step.partitions.contains(&partition);
        Some((partition, name.strip_prefix(b"}:")?)).filter(|_| is_checked)
    }

    async fn check_records(
        &self,
        step: &CheckStep,
        records: BTreeMap<Partition, Vec<OperationId>>,
        page: &mut CheckPage,
    ) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        // Before and after: an index that is built meanwhile is left out.
        let mut commands = redis::pipe();
        commands.cmd("SMEMBERS").arg(self.keys.unread_indexes());
        let mut asked = Vec::new();
        for (partition, ids) in records {
            let Some(keys) = self.keys.partition(partition) else {
                continue;
            };
            let mut command = SCRIPTS.check_records.call(&[keys.prefix()]);
            for id in &ids {
                command.arg(id.as_bytes().as_slice());
            }
            commands.add_command(command);
            asked.push((partition, keys, ids));
        }
        commands.cmd("SMEMBERS").arg(self.keys.unread_indexes());
        let mut answers = self.link.run("check", &commands).await?;
        let mut unread = read_kinds(answers.pop())?;
        let mut answers = answers.into_iter();
        unread.extend(read_kinds(answers.next())?);
        for ((partition, keys, ids), answer) in asked.into_iter().zip(answers) {
            let mut answer = Parts::of(answer)?;
            let mut found = Vec::new();
            for id in ids {
                let seen = judge::Places::read(&mut answer)?;
                page.looked_at += 1;
                found.extend(judge::operation(id, &seen, &unread));
            }
            self.settle(step, partition, keys, found, page).await?;
        }
        Ok(())
    }

    /// Looks at members of chains, and returns the chains that have more.
    async fn check_chains(
        &self,
        step: &CheckStep,
        chains: Vec<Chain>,
        page: &mut CheckPage,
    ) -> Result<Vec<Chain>> {
        let mut commands = redis::pipe();
        let mut asked = Vec::new();
        for chain in chains {
            let partition = Partition::new(chain.partition);
            let Some(keys) = self.keys.partition(partition) else {
                continue;
            };
            let mut command = SCRIPTS.check_chain.call(&[keys.prefix()]);
            command
                .arg(chain.key.as_slice())
                .arg(&chain.from)
                .arg((step.limit / CHAINS).max(1));
            commands.add_command(command);
            asked.push((partition, keys, chain));
        }
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let mut left = Vec::new();
        let answers = self.link.run("check", &commands).await?;
        for ((partition, keys, mut chain), answer) in asked.into_iter().zip(answers) {
            let mut answer = Parts::of(answer)?;
            chain.from = reply::text(answer.value()?)?;
            let mut found = Vec::new();
            while answer.len() > 0 {
                let (id, h) = (answer.bytes()?, answer.bytes()?);
                page.looked_at += 1;
                found.extend(judge::member(&chain.key, &id, h));
            }
            self.settle(step, partition, keys, found, page).await?;
            if chain.from != "0" {
                left.push(chain);
            }
        }
        Ok(left)
    }

    async fn check_parts(
        &self,
        step: &CheckStep,
        parts: &[(Partition, OperationId, Vec<u8>)],
        page: &mut CheckPage,
    ) -> Result<()> {
        let (mut commands, mut asked) = (redis::pipe(), Vec::new());
        for (partition, id, name) in parts {
            let Some(keys) = self.keys.partition(*partition) else {
                continue;
            };
            let record = keys.record(*id);
            let part = [record.as_slice(), name].concat();
            let mut command = SCRIPTS.check_leftover.call(&[record, part]);
            command.arg(repair_flag(step));
            commands.add_command(command);
            asked.push((*partition, *id, name));
        }
        if asked.is_empty() {
            return Ok(());
        }
        page.looked_at += asked.len() as u64;
        let answers = self.link.run("check", &commands).await?;
        for ((partition, id, name), answer) in asked.into_iter().zip(answers) {
            if reply::number(answer)? == 1 {
                let name = String::from_utf8_lossy(name);
                page.faults.push(Fault {
                    kind: FaultKind::Leftover,
                    partition,
                    id: Some(id),
                    detail: format!("the part {} is there, and no record", &name[1..]),
                    is_repaired: step.repair,
                });
            }
        }
        Ok(())
    }

    async fn check_reservations(
        &self,
        step: &CheckStep,
        reservations: &[(Partition, [u8; 16])],
        page: &mut CheckPage,
    ) -> Result<()> {
        let (mut commands, mut names) = (redis::pipe(), Vec::new());
        for (partition, key) in reservations {
            let Some(keys) = self.keys.partition(*partition) else {
                continue;
            };
            let name = keys.reservation(drumline_backend::store::IdempotencyKey(*key));
            commands.cmd("GET").arg(&name);
            names.push((*partition, name));
        }
        if names.is_empty() {
            return Ok(());
        }
        page.looked_at += names.len() as u64;
        let answers = self.link.run("check", &commands).await?;
        let (mut commands, mut asked) = (redis::pipe(), Vec::new());
        for ((partition, name), answer) in names.into_iter().zip(answers) {
            let Some(content) = reply::maybe_bytes(answer)? else {
                continue;
            };
            let reserved = content.as_slice().try_into().ok();
            let Some(reserved) = reserved.and_then(record::read_reserved) else {
                continue;
            };
            let age = self.now().since(reserved.id.created());
            let Some(keys) = self.keys.partition(reserved.id.partition()) else {
                continue;
            };
            if age < RESERVED_FOR {
                continue;
            }
            let names = [name, keys.record(reserved.id), keys.tombstone(reserved.id)];
            let mut command = SCRIPTS.check_reservation.call(&names);
            command.arg(repair_flag(step)).arg(content);
            commands.add_command(command);
            asked.push((partition, reserved.id));
        }
        if asked.is_empty() {
            return Ok(());
        }
        let answers = self.link.run("check", &commands).await?;
        for ((partition, id), answer) in asked.into_iter().zip(answers) {
            if reply::number(answer)? == 1 {
                page.faults.push(Fault {
                    kind: FaultKind::Reservation,
                    partition,
                    id: Some(id),
                    detail: "an idempotency key stands for it, and it is not there".to_owned(),
                    is_repaired: step.repair,
                });
            }
        }
        Ok(())
    }

    /// Repairs what was found in a partition, if that is wanted, and notes it.
    async fn settle(
        &self,
        step: &CheckStep,
        partition: Partition,
        keys: &PartitionKeys,
        mut found: Vec<Found>,
        page: &mut CheckPage,
    ) -> Result<()> {
        let mut wanted: Vec<&mut Found> = found
            .iter_mut()
            .filter(|found| step.repair && found.repair.is_some())
            .collect();
        if !wanted.is_empty() {
            let repairs = wanted.iter().filter_map(|found| found.repair.as_ref());
            let command = repair_command(keys, repairs);
            let made = reply::bytes(self.link.run_one("repair", command).await?)?;
            for (found, made) in wanted.iter_mut().zip(made) {
                found.is_repaired = made == b'r';
            }
        }
        page.faults.extend(found.into_iter().map(|found| Fault {
            kind: found.kind,
            partition,
            id: found.id,
            detail: found.detail,
            is_repaired: found.is_repaired,
        }));
        Ok(())
    }
}

fn repair_command<'a>(keys: &PartitionKeys, repairs: impl Iterator<Item = &'a Repair>) -> Cmd {
    let mut command = SCRIPTS.repair.call(&[keys.prefix()]);
    for repair in repairs {
        command
            .arg([repair.letter].as_slice())
            .arg(&repair.id)
            .arg(&repair.seen)
            .arg(&repair.argument);
    }
    command
}

const fn repair_flag(step: &CheckStep) -> &'static str {
    if step.repair { "r" } else { "-" }
}

fn read_kinds(answer: Option<Value>) -> Result<Vec<IndexKind>> {
    record::read_kinds(answer.ok_or_else(reply::unexpected)?)
}

/// The sets of a partition, as `check_sets.lua` takes them.
fn sets() -> Vec<Vec<u8>> {
    let mut sets: Vec<Vec<u8>> = ["s0", "s1", "s3", "l", "o", "f", "h", "d", "n"]
        .map(|set| set.as_bytes().to_vec())
        .to_vec();
    for class in drumline_protocol::transition::EndClass::ALL {
        sets.push(vec![b'e', record::end(class)]);
    }
    for kind in IndexKind::ALL {
        let shelves = Status::ALL.map(|status| kind.shelf(status));
        let names = shelves.into_iter().flatten();
        for name in names.map(|shelf| record::index_name(kind, shelf)) {
            let set = [b"x".as_slice(), &name].concat();
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
    }
    sets
}

/// The keys of one answer, by what they are.
#[derive(Debug, Default)]
struct Seen {
    records: BTreeMap<Partition, Vec<OperationId>>,
    parts: Vec<(Partition, OperationId, Vec<u8>)>,
    chains: Vec<Chain>,
    reservations: Vec<(Partition, [u8; 16])>,
}

impl Seen {
    fn add(&mut self, partition: Partition, name: &[u8]) {
        if let Some(rest) = name.strip_prefix(b"op:") {
            let Some((id, part)) = rest.split_first_chunk() else {
                return;
            };
            let Some(id) = OperationId::from_bytes(*id) else {
                return;
            };
            if part.is_empty() {
                self.records.entry(partition).or_default().push(id);
            } else if part.starts_with(b":") {
                self.parts.push((partition, id, part.to_vec()));
            }
        } else if let Some(key) = name.strip_prefix(b"chain:") {
            self.chains.extend(key.try_into().ok().map(|key| Chain {
                partition: partition.get(),
                key,
                from: "0".to_owned(),
            }));
        } else if let Some(key) = name.strip_prefix(b"key:") {
            let key = key.try_into().ok();
            self.reservations.extend(key.map(|key| (partition, key)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_of_a_partition_is_looked_at() {
        let sets = sets();
        for set in ["s0", "l", "es", "eu", "et", "xm0", "xms", "xuf", "xo", "xt"] {
            assert!(sets.contains(&set.as_bytes().to_vec()), "{set}: {sets:?}");
        }
        assert_eq!(sets.len(), 12 + 5 + 2 + 6);
    }

    #[test]
    fn a_key_is_what_its_name_says() {
        let mut seen = Seen::default();
        let partition = Partition::new(3);
        let id = OperationId::new(
            drumline_protocol::Timestamp::from_millis(1),
            partition,
            [7; 16],
        );
        let record = [b"op:".as_slice(), id.as_bytes()].concat();
        seen.add(partition, &record);
        seen.add(partition, &[&record, b":history".as_slice()].concat());
        seen.add(partition, b"chain:0123456789abcdef");
        seen.add(partition, b"key:0123456789abcdef");
        seen.add(partition, b"chain:short");
        seen.add(partition, b"usage");
        assert_eq!(seen.records[&partition], [id]);
        assert_eq!(seen.parts, [(partition, id, b":history".to_vec())]);
        assert_eq!((seen.chains.len(), seen.reservations.len()), (1, 1));
    }
}

//! The check of the store, in steps.
//!
//! ```text
//! sets ───→ keys ───→ heads ───→ usage
//!  │         │          │          └─ recount.lua: the counts of each partition
//!  │         │          └─ SCAN again, if chains were repaired: their heads are offered
//!  │         └─ SCAN over the namespace: each record and its places, each chain,
//!  │            parts without their records, idempotency keys
//!  └─ the entries of each set of each partition, and their records
//! ```
//!
//! The sets come first and the counts last: each stage relies on what the one before has
//! repaired. A member that is missing from its chain may be running; the one behind it must
//! not be offered before all members are back. A step compares what one script has read in one partition, so everything in
//! it is of one moment. The rules that say where an operation belongs are those of its
//! header, hence here; a script repairs it if its record is still as it was read.

mod judge;
mod keys;
mod leftovers;
mod stage;
mod usage;

use std::collections::BTreeMap;

use async_trait::async_trait;
use drumline_backend::Store as _;
use drumline_backend::store::{
    CheckPage, CheckPlace, CheckStep, CheckStore, Fault, FaultKind, Result,
};
use drumline_protocol::{IndexKind, OperationId, Partition, Status};
use redis::{Cmd, Value};

use self::judge::{Found, Repair};
use self::stage::{Chain, Order, Place, Stage};
use super::RedisStore;
use crate::keys::PartitionKeys;
use crate::record;
use crate::reply::{self, Parts};
use crate::scripts::SCRIPTS;

/// The chains in one step. An answer has all members of a short one.
const CHAINS: usize = 8;
/// The argument of `repair.lua` that offers no operation of a chain, and the one that does.
const HOLDS_CHAINS: &str = "h";
const OFFERS_CHAINS: &str = "-";

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
            Stage::Keys { cursor, chains } if !chains.is_empty() => {
                let order = &mut place.order;
                let chains = self.check_some_chains(step, chains, order, &mut page);
                let chains = chains.await?;
                Some(Stage::Keys { cursor, chains })
            }
            Stage::Keys {
                cursor: Some(cursor),
                ..
            } => {
                self.check_keys(step, &cursor, &mut place.order, &mut page)
                    .await?
            }
            Stage::Keys { cursor: None, .. } if step.repair && place.order.are_heads_due => {
                Some(Stage::heads())
            }
            Stage::Keys { cursor: None, .. } => Some(Stage::usage()),
            Stage::Heads { cursor } => {
                self.offer_heads(step, &cursor, &place.order, &mut page)
                    .await?
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

    /// Looks at some of the chains. Returns those that have more, and the rest.
    async fn check_some_chains(
        &self,
        step: &CheckStep,
        mut chains: Vec<Chain>,
        order: &mut Order,
        page: &mut CheckPage,
    ) -> Result<Vec<Chain>> {
        let rest = chains.split_off(chains.len().min(CHAINS));
        let before = page.faults.len();
        let mut left = self.check_chains(step, chains, page).await?;
        left.extend(rest);
        // The next one may be the head now.
        order.are_heads_due |= page.faults.len() > before;
        Ok(left)
    }

    /// Looks at some keys of the namespace.
    async fn check_keys(
        &self,
        step: &CheckStep,
        cursor: &str,
        order: &mut Order,
        page: &mut CheckPage,
    ) -> Result<Option<Stage>> {
        if step.repair && cursor == "0" {
            order.server = self.incarnation().await?;
        }
        let (next, seen) = self.scan(step, cursor).await?;
        self.check_records(step, seen.records, order, page).await?;
        self.check_parts(step, &seen.parts, page).await?;
        self.check_reservations(step, &seen.reservations, page)
            .await?;
        Ok(Some(Stage::Keys {
            cursor: next,
            chains: seen.chains,
        }))
    }

    /// Offers heads of chains that are in no place, if no member of their chain is missing.
    async fn offer_heads(
        &self,
        step: &CheckStep,
        cursor: &str,
        order: &Order,
        page: &mut CheckPage,
    ) -> Result<Option<Stage>> {
        // Another server may have lost repairs, and keys that were not looked at.
        if self.incarnation().await? != order.server {
            return Ok(Some(Stage::keys()));
        }
        let (next, seen) = self.scan(step, cursor).await?;
        let LookedAt { all, unread } = self.look_at(seen.records).await?;
        for looked in all {
            let mut found = Vec::new();
            for (id, seen) in looked.operations {
                found.extend(judge::operation(id, &seen, &unread));
            }
            found.retain(|one| one.kind == FaultKind::NotOffered && one.chain().is_some());
            let may_be_offered = |one: &Found| {
                let chain = one.chain();
                chain.is_some_and(|chain| order.is_whole(looked.partition, &chain))
            };
            let (mut heads, waiting): (Vec<_>, Vec<_>) =
                found.into_iter().partition(may_be_offered);
            self.repair(looked.keys, OFFERS_CHAINS, &mut heads).await?;
            // An operation that has changed since is no fault: it was offered, or is offered then.
            heads.retain(|one| one.is_repaired);
            note(looked.partition, heads, page);
            note(looked.partition, waiting, page);
        }
        Ok(Some(match next {
            Some(cursor) => Stage::Heads { cursor },
            None => Stage::usage(),
        }))
    }

    async fn check_records(
        &self,
        step: &CheckStep,
        records: BTreeMap<Partition, Vec<OperationId>>,
        order: &mut Order,
        page: &mut CheckPage,
    ) -> Result<()> {
        let LookedAt { all, unread } = self.look_at(records).await?;
        for looked in all {
            let mut found = Vec::new();
            for (id, seen) in looked.operations {
                page.looked_at += 1;
                found.extend(judge::operation(id, &seen, &unread));
            }
            if step.repair {
                self.repair(looked.keys, HOLDS_CHAINS, &mut found).await?;
                // Heads are offered, and told of, when all keys were looked at.
                found.retain(|one| {
                    let is_head = one.kind == FaultKind::NotOffered && one.chain().is_some();
                    order.are_heads_due |= is_head || one.kind == FaultKind::ChainOrder;
                    !is_head
                });
                for one in found.iter().filter(|one| !one.is_repaired) {
                    match one.kind {
                        FaultKind::ChainOrder => order.lacks(looked.partition, one.chain()),
                        FaultKind::Unreadable => order.lacks(looked.partition, None),
                        _ => {}
                    }
                }
            }
            note(looked.partition, found, page);
        }
        Ok(())
    }

    /// Reads records, and the places where they are.
    async fn look_at(
        &self,
        records: BTreeMap<Partition, Vec<OperationId>>,
    ) -> Result<LookedAt<'_>> {
        let (mut all, mut unread) = (Vec::new(), Vec::new());
        if records.is_empty() {
            return Ok(LookedAt { all, unread });
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
        unread.extend(read_kinds(answers.pop())?);
        let mut answers = answers.into_iter();
        unread.extend(read_kinds(answers.next())?);
        for ((partition, keys, ids), answer) in asked.into_iter().zip(answers) {
            let mut answer = Parts::of(answer)?;
            let mut operations = Vec::with_capacity(ids.len());
            for id in ids {
                operations.push((id, judge::Places::read(&mut answer)?));
            }
            all.push(Looked {
                partition,
                keys,
                operations,
            });
        }
        Ok(LookedAt { all, unread })
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

    /// Repairs what was found in a partition, if that is wanted, and notes it.
    async fn settle(
        &self,
        step: &CheckStep,
        partition: Partition,
        keys: &PartitionKeys,
        mut found: Vec<Found>,
        page: &mut CheckPage,
    ) -> Result<()> {
        if step.repair {
            self.repair(keys, HOLDS_CHAINS, &mut found).await?;
        }
        note(partition, found, page);
        Ok(())
    }

    /// Repairs what was found in a partition.
    async fn repair(&self, keys: &PartitionKeys, chains: &str, found: &mut [Found]) -> Result<()> {
        let mut wanted: Vec<&mut Found> = found
            .iter_mut()
            .filter(|found| found.repair.is_some())
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let repairs = wanted.iter().filter_map(|found| found.repair.as_ref());
        let command = repair_command(keys, chains, repairs);
        let made = reply::bytes(self.link.run_one("repair", command).await?)?;
        for (found, made) in wanted.iter_mut().zip(made) {
            found.is_repaired = made == b'r';
        }
        Ok(())
    }
}

/// Records of one partition, and the places where they are.
struct Looked<'a> {
    partition: Partition,
    keys: &'a PartitionKeys,
    operations: Vec<(OperationId, judge::Places)>,
}

/// Records, and the indexes that lists did not read meanwhile.
struct LookedAt<'a> {
    all: Vec<Looked<'a>>,
    unread: Vec<IndexKind>,
}

fn note(partition: Partition, found: Vec<Found>, page: &mut CheckPage) {
    page.faults.extend(found.into_iter().map(|found| Fault {
        kind: found.kind,
        partition,
        id: found.id,
        detail: found.detail,
        is_repaired: found.is_repaired,
    }));
}

fn repair_command<'a>(
    keys: &PartitionKeys,
    chains: &str,
    repairs: impl Iterator<Item = &'a Repair>,
) -> Cmd {
    let mut command = SCRIPTS.repair.call(&[keys.prefix(), keys.changes()]);
    command.arg(chains);
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
}

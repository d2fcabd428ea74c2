//! Further indexes are switched off, and rebuilt.
//!
//! The setting is in the store, so that all processes agree. Each partition has
//! a set of the indexes that no operation enters: the scripts read it. One set
//! for all names the indexes that no list reads.
//!
//! ```text
//!            lists read it   operations enter it
//! on              yes               yes
//! building        no                yes            the rebuild goes from the newest to the oldest
//! off             no                no             likewise, and takes the entries out
//! ```
//!
//! A rebuild goes in steps, each bounded in operations and bytes. The place that
//! it has reached is in the store, so another process may go on.

use drumline_backend::store::{Filter, Result};
use drumline_protocol::{IndexKind, OperationId};
use redis::Value;

use super::RedisStore;
use super::batches::batches;
use super::listing::Source;
use crate::record;
use crate::reply;
use crate::scripts::SCRIPTS;

/// The most operations in one step of a rebuild.
const STEP: usize = 256;
/// Ids that a step reads of each set.
const OF_EACH: usize = 32;

/// The use of a further index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexUse {
    /// Operations enter it, and lists read it.
    On,
    /// Operations enter it, and older ones are being entered. Lists look at all
    /// operations instead.
    Building,
    /// Operations do not enter it. Lists look at all operations instead.
    Off,
}

/// The outcome of a step of a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuildStep {
    /// The operations that were looked at.
    pub looked_at: usize,
    /// True if the rebuild is over.
    pub is_done: bool,
}

impl RedisStore {
    /// Returns the use of every further index.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn indexes(&self) -> Result<Vec<(IndexKind, IndexUse)>> {
        let mut commands = redis::pipe();
        commands.cmd("SMEMBERS").arg(self.keys.unread_indexes());
        for partition in self.partitions.all() {
            if let Some(keys) = self.keys.partition(partition) {
                commands.cmd("SMEMBERS").arg(keys.indexes_off());
            }
        }
        let mut answers = self.link.run("indexes", &commands).await?.into_iter();
        let unread = record::read_kinds(answers.next().ok_or_else(reply::unexpected)?)?;
        let mut off = Vec::new();
        for answer in answers {
            off.extend(record::read_kinds(answer)?);
        }
        let uses = IndexKind::ALL.map(|kind| {
            let used = match (unread.contains(&kind), off.contains(&kind)) {
                (false, _) => IndexUse::On,
                (true, false) => IndexUse::Building,
                (true, true) => IndexUse::Off,
            };
            (kind, used)
        });
        Ok(uses.to_vec())
    }

    /// Switches an index on or off, for all processes. Lists do without it until
    /// [`Self::rebuild_step`] has come to its end. May be repeated, which starts
    /// the rebuild again.
    ///
    /// # Errors
    /// When the store is unavailable: some partitions may have changed; repeat.
    pub async fn switch_index(&self, kind: IndexKind, on: bool) -> Result<()> {
        let letter = [kind.letter()];
        let letter = letter.as_slice();
        let rebuilds = self.keys.rebuilds();
        // First: no entry leaves while a list reads the index, and a rebuild
        // that runs comes to nothing.
        let mut commands = redis::pipe();
        let unread = self.keys.unread_indexes();
        commands.cmd("SADD").arg(unread).arg(letter);
        commands.cmd("HDEL").arg(&rebuilds).arg(letter);
        self.link.run("indexes", &commands).await?;
        let mut commands = redis::pipe();
        let verb = if on { "SREM" } else { "SADD" };
        for partition in self.partitions.all() {
            if let Some(keys) = self.keys.partition(partition) {
                commands.cmd(verb).arg(keys.indexes_off()).arg(letter);
            }
        }
        let start = if on { "+" } else { "-" };
        commands.cmd("HSET").arg(&rebuilds).arg(letter).arg(start);
        self.link.run("indexes", &commands).await?;
        Ok(())
    }

    /// Makes one step of the rebuild that [`Self::switch_index`] has started:
    /// brings the next operations into the index, or out of it. At the end of
    /// the rebuild, an index that is switched on is read again.
    ///
    /// # Errors
    /// When the store is unavailable or a record cannot be read.
    pub async fn rebuild_step(&self, kind: IndexKind) -> Result<RebuildStep> {
        let Some(place) = self.rebuild_place(kind).await? else {
            return Ok(RebuildStep {
                looked_at: 0,
                is_done: true,
            });
        };
        let below = place.get(1..).and_then(|id| reply::sixteen(id).ok());
        let below = below.and_then(OperationId::from_bytes);
        let everything = Filter::default();
        let round = self.round(&everything, Source::States, below, OF_EACH);
        let round = round.await?;
        let step = round.ids.get(..STEP).unwrap_or(&round.ids);
        let count = step.len();
        self.reindex(step).await?;
        let next = if count == round.ids.len() {
            round.frontier
        } else {
            step.last().copied()
        };
        let is_on = place.first() == Some(&b'+')
            && self.indexes().await?.contains(&(kind, IndexUse::Building));
        let next_place = next.map(|id| {
            let sign = place.get(..1).unwrap_or_default();
            [sign, id.as_bytes().as_slice()].concat()
        });
        let mut command = SCRIPTS
            .rebuilt
            .call(&[self.keys.rebuilds(), self.keys.unread_indexes()]);
        command
            .arg([kind.letter()].as_slice())
            .arg(&place)
            .arg(next_place.unwrap_or_default())
            .arg(if is_on { "r" } else { "-" });
        let noted = self.link.run_one("indexes", command).await?;
        Ok(RebuildStep {
            looked_at: count,
            is_done: next.is_none() && reply::number(noted)? == 1,
        })
    }

    /// The place that a rebuild has reached: a sign, and the id below which it
    /// goes on.
    async fn rebuild_place(&self, kind: IndexKind) -> Result<Option<Vec<u8>>> {
        let mut commands = redis::pipe();
        commands
            .cmd("HGET")
            .arg(self.keys.rebuilds())
            .arg([kind.letter()].as_slice());
        let answer = self.link.run("indexes", &commands).await?.pop();
        reply::maybe_bytes(answer.unwrap_or(Value::Nil))
    }

    /// Brings operations into the indexes that are on, and out of the others.
    async fn reindex(&self, ids: &[OperationId]) -> Result<()> {
        let found = self.all_summaries(ids).await?;
        let operations: Vec<_> = found.into_iter().flatten().collect();
        let ids = operations.iter().map(|operation| operation.id);
        let mut commands = redis::pipe();
        for batch in batches(&self.keys, ids, STEP) {
            let mut command = SCRIPTS.reindex.call(&[batch.keys.prefix()]);
            for operation in batch.items.iter().filter_map(|&at| operations.get(at)) {
                command
                    .arg(operation.id.as_bytes().as_slice())
                    .arg(record::keys(
                        operation.id,
                        &operation.header,
                        &operation.body,
                    ));
            }
            commands.add_command(command);
        }
        if !operations.is_empty() {
            self.link.run("indexes", &commands).await?;
        }
        Ok(())
    }
}

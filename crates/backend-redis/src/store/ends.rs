//! Ends: the Completed operations, per class, and over all in the order of the
//! ends.

use drumline_backend::store::{Ended, Result, Stamp};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{OperationId, Partition};

use super::RedisStore;
use crate::record;
use crate::reply::{self, Packed};
use crate::scripts::SCRIPTS;

/// The most ends in one answer.
const MOST: usize = 1_000;
/// Partitions in one script: the server answers no other request meanwhile.
const PARTITIONS: usize = 16;

impl RedisStore {
    /// The ends after the first stamp, and at or before the second.
    pub(super) async fn ended_between(
        &self,
        partition: Partition,
        class: EndClass,
        (after, until): (Stamp, Stamp),
        limit: usize,
    ) -> Result<Vec<(OperationId, Stamp)>> {
        let Some(keys) = self.keys.partition(partition) else {
            return Ok(Vec::new());
        };
        let mut command = SCRIPTS.ended.call(&[keys.ends(class)]);
        command
            .arg(record::first_after(after))
            .arg(record::first_after(until))
            .arg(limit);
        let answer = reply::bytes(self.link.run_one("ended", command).await?)?;
        let found = record::read_stamped_ids(&answer).into_iter();
        Ok(found.map(|(stamp, id)| (id, stamp)).collect())
    }

    /// The ends after a stamp, of all partitions, in their order.
    ///
    /// The answer goes up to its last end. The tick of every partition is moved
    /// up to that end before it is given, so no partition can put an end before
    /// it later, whatever its clock does. What a partition has put there since
    /// it was read comes along.
    ///
    /// If nothing has ended, the answer goes up to the requested stamp. The
    /// clock ensures this, and nothing is written, unless the clock was set
    /// back. Then that stamp may lie in the future, being one partition's tick,
    /// and the ticks of the other partitions are moved up to it. They never move
    /// beyond the largest tick: a stamp that a caller made up moves nothing.
    pub(super) async fn ended_after(&self, after: Stamp, limit: usize) -> Result<Ended> {
        let limit = limit.clamp(1, MOST);
        let (now, seen) = self.look(after, limit).await?;
        let mut entries = first_of(&seen, limit);
        let until = entries.last().map(|(stamp, _)| *stamp);
        if until.is_none() && after < now {
            return Ok(Ended {
                entries,
                until: after,
            });
        }
        let highest = seen.iter().map(|of| of.tick).max();
        let is_tick = after >= now && Some(after) <= highest;
        let floor = until.max(is_tick.then_some(after));
        if let Some(floor) = floor {
            entries.extend(self.raise_ticks(&seen, floor).await?);
            entries.retain(|(stamp, _)| *stamp > after);
            entries.sort_unstable();
        }
        let until = until.unwrap_or(after);
        Ok(Ended { entries, until })
    }

    /// Reads the tick and the first ends of every partition, and the server's
    /// time.
    async fn look(&self, after: Stamp, limit: usize) -> Result<(Stamp, Vec<Seen>)> {
        let all: Vec<Partition> = self.partitions.all().collect();
        let at_once = self.keys.at_once(PARTITIONS);
        let mut commands = redis::pipe();
        for partitions in all.chunks(at_once) {
            let mut command = SCRIPTS.ended_since.call(&self.ticks_and_ends(partitions));
            // The classes of all partitions share the ends about evenly.
            command
                .arg(record::first_after(after))
                .arg(limit.div_ceil(8).max(8));
            commands.add_command(command);
        }
        let mut now = Stamp(u64::MAX);
        let mut seen = Vec::with_capacity(all.len());
        let answers = self.link.run("ended since", &commands).await?;
        for (partitions, answer) in all.chunks(at_once).zip(answers) {
            let answer = reply::bytes(answer)?;
            let mut answer = Packed::new(&answer);
            now = now.min(Stamp(answer.number()?));
            for partition in partitions {
                seen.push(Seen {
                    partition: *partition,
                    tick: Stamp(answer.number()?),
                    frontier: Stamp(answer.number()?),
                    ends: record::read_stamped_ids(answer.sized()?),
                });
            }
        }
        Ok((now, seen))
    }

    /// Moves the ticks of the partitions up to a stamp, and returns the ends
    /// that have come at or before it since the partitions were read.
    async fn raise_ticks(&self, seen: &[Seen], floor: Stamp) -> Result<Vec<End>> {
        let low: Vec<&Seen> = seen.iter().filter(|of| of.tick < floor).collect();
        let mut commands = redis::pipe();
        for low in low.chunks(self.keys.at_once(PARTITIONS)) {
            let partitions: Vec<Partition> = low.iter().map(|of| of.partition).collect();
            let mut command = SCRIPTS.raise_tick.call(&self.ticks_and_ends(&partitions));
            command.arg(floor.0).arg(record::first_after(floor));
            for of in low {
                command.arg(record::first_after(of.tick));
            }
            commands.add_command(command);
        }
        if low.is_empty() {
            return Ok(Vec::new());
        }
        let mut since = Vec::new();
        for answer in self.link.run("raise ticks", &commands).await? {
            since.extend(record::read_stamped_ids(&reply::bytes(answer)?));
        }
        Ok(since)
    }

    fn ticks_and_ends(&self, partitions: &[Partition]) -> Vec<&str> {
        let keys = partitions.iter().filter_map(|it| self.keys.partition(*it));
        keys.flat_map(|of| [of.tick(), of.ends_prefix()]).collect()
    }
}

/// A stamp and what has ended then.
type End = (Stamp, OperationId);

/// The ends of one partition, as far as they were read.
struct Seen {
    partition: Partition,
    tick: Stamp,
    /// The stamp beyond which an end may have been left out.
    frontier: Stamp,
    ends: Vec<End>,
}

/// The first ends of all partitions, in order: about `limit`, ends of one stamp
/// together, and none beyond what is known of every partition.
fn first_of(seen: &[Seen], limit: usize) -> Vec<End> {
    let frontier = seen.iter().map(|of| of.frontier).min();
    let mut entries: Vec<End> = seen.iter().flat_map(|of| of.ends.iter().copied()).collect();
    entries.retain(|(stamp, _)| Some(*stamp) <= frontier);
    entries.sort_unstable();
    if let Some((last, _)) = entries.get(limit - 1).copied() {
        let together = entries.partition_point(|(stamp, _)| *stamp <= last);
        entries.truncate(together);
    }
    entries
}

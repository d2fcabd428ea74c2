//! Questions about many partitions at once. Maintenance asks them several times a
//! second, and nearly always nothing is to be done: a call costs the server as much as
//! several partitions in it.

use std::time::Duration;

use drumline_backend::store::{PauseCopy, Result, Work, WorkFound};
use drumline_protocol::Partition;

use super::RedisStore;
use crate::keys::PartitionKeys;
use crate::record;
use crate::reply::{self, Parts};
use crate::scripts::SCRIPTS;

/// The time after which a partition is looked at again whose server has not answered.
const UNANSWERED: Duration = Duration::from_secs(1);
/// Partitions in one call: a fraction of a millisecond of the server.
const AT_ONCE: usize = 128;

impl RedisStore {
    pub(super) async fn partitions_with(
        &self,
        work: Work,
        partitions: &[Partition],
    ) -> Result<WorkFound> {
        let mut found = WorkFound::default();
        let at_once = self.keys.at_once(AT_ONCE);
        let mut commands = redis::pipe();
        for some in partitions.chunks(at_once) {
            let with_keys = self.with_keys(some);
            let keys = with_keys.iter().map(|(_, keys)| key(keys, work));
            let mut command = SCRIPTS.with_work.call(&Vec::from_iter(keys));
            command.arg(kind(work));
            if let Work::Ended(_, until) = work {
                command.arg(record::first_after(until));
            }
            commands.add_command(command);
        }
        let answers = self.link.run_some("with_work", &commands).await?;
        for (some, answer) in partitions.chunks(at_once).zip(answers) {
            let Some(answer) = answer else {
                found.note_next(Some(UNANSWERED));
                continue;
            };
            let mut parts = Parts::of(answer)?;
            let answer = parts.bytes()?;
            let next = Duration::from_millis(parts.number()?);
            found.note_next((!next.is_zero()).then_some(next));
            let answered = self.with_keys(some).into_iter().zip(answer);
            let has_work = answered.filter(|(_, has_work)| *has_work == b'1');
            let partitions = has_work.map(|((partition, _), _)| partition);
            found.partitions.extend(partitions);
        }
        Ok(found)
    }

    pub(super) async fn count_of_changes(&self) -> Result<u64> {
        let mut commands = redis::pipe();
        for key in self.keys.all_changes() {
            commands.cmd("GET").arg(key);
        }
        let mut count = 0_u64;
        for answer in self.link.run("changes", &commands).await? {
            if let Some(number) = reply::maybe_bytes(answer)? {
                let number: u64 = String::from_utf8_lossy(&number)
                    .parse()
                    .map_err(|_error: std::num::ParseIntError| reply::unexpected())?;
                count = count.wrapping_add(number);
            }
        }
        Ok(count)
    }

    pub(super) async fn copies_of(&self, partitions: &[Partition]) -> Result<Vec<PauseCopy>> {
        let at_once = self.keys.at_once(AT_ONCE);
        let mut commands = redis::pipe();
        for some in partitions.chunks(at_once) {
            let with_keys = self.with_keys(some);
            if with_keys.len() < some.len() {
                return Err(reply::unexpected());
            }
            let keys = with_keys.iter();
            let keys = keys.flat_map(|(_, keys)| [keys.pauses_version(), keys.held().to_owned()]);
            commands.add_command(SCRIPTS.pause_copies.call(&Vec::from_iter(keys)));
        }
        let mut copies = Vec::new();
        let answers = self.link.run("pauses", &commands).await?;
        for (some, answer) in partitions.chunks(at_once).zip(answers) {
            let mut parts = Parts::of(answer)?;
            for _ in some {
                let (version, held) = (parts.number()?, parts.number()?);
                copies.push(PauseCopy { version, held });
            }
        }
        Ok(copies)
    }

    fn with_keys(&self, partitions: &[Partition]) -> Vec<(Partition, &PartitionKeys)> {
        let with_keys = partitions.iter().filter_map(|partition| {
            let keys = self.keys.partition(*partition)?;
            Some((*partition, keys))
        });
        with_keys.collect()
    }
}

/// The key that has such work.
fn key(keys: &PartitionKeys, work: Work) -> String {
    match work {
        Work::Outbox => keys.outbox().to_owned(),
        Work::Offered => keys.offered(),
        Work::Locks => keys.locks().to_owned(),
        Work::Due => keys.due().to_owned(),
        Work::Notices => keys.notices().to_owned(),
        Work::Ended(class, _) => keys.ends(class),
    }
}

/// The letter of `with_work.lua`.
const fn kind(work: Work) -> &'static str {
    match work {
        Work::Outbox | Work::Offered | Work::Locks => "a",
        Work::Due => "d",
        Work::Notices => "n",
        Work::Ended(..) => "e",
    }
}

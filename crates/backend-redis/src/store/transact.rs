//! Transact: creates and commits of any partitions in one script.
//!
//! The script blocks the server while it runs: some ten milliseconds for a
//! thousand items. It names keys of several slots, which a single server
//! accepts. On a Redis Cluster all of them must be of one partition.

use drumline_backend::store::{
    Commit, Committed, Error, NewOperation, Result, Transacted, check_distinct,
};
use drumline_protocol::{OperationId, Partition};
use redis::Cmd;

use super::RedisStore;
use super::{commit, create};
use crate::keys::PartitionKeys;
use crate::reply::{self, Parts};
use crate::scripts::SCRIPTS;

impl RedisStore {
    pub(super) async fn transact_all(
        &self,
        creates: &[NewOperation],
        commits: &[Commit],
    ) -> Result<Transacted> {
        check_distinct(creates, commits)?;
        self.check_partitions(creates)?;
        let is_nowhere = |commit: &Commit| self.keys.partition(commit.id.partition()).is_none();
        if let Some(place) = commits.iter().position(is_nowhere) {
            return Ok(Transacted::Refused {
                commit: place,
                answer: Committed::Missing,
            });
        }
        let Some(command) = self.call(creates, commits)? else {
            return Ok(Transacted::Spread);
        };
        let mut commands = redis::pipe();
        commands.add_command(command);
        let bytes = creates.iter().map(|new| new.body.data_bytes()).sum();
        let answer = self.run_kept("transact", &commands, bytes).await?.pop();
        let mut answer = Parts::of(answer.ok_or_else(reply::unexpected)?)?;
        match answer.bytes()?.as_slice() {
            b"D" => {
                let done = self.read_done(answer, creates, commits).await?;
                for commit in commits.iter().filter(|commit| commit.effects.end.is_some()) {
                    self.completions.tell(commit.id);
                }
                Ok(done)
            }
            b"R" => {
                let commit = usize::try_from(answer.number()?)
                    .map_err(|_error: std::num::TryFromIntError| reply::unexpected())?;
                let refused = commits.get(commit).ok_or_else(reply::unexpected)?;
                Ok(Transacted::Refused {
                    commit,
                    answer: self.read_committed(refused.id, &mut answer)?.committed,
                })
            }
            _ => Err(reply::unexpected()),
        }
    }

    /// The call; `None` if its partitions are kept apart.
    fn call(&self, creates: &[NewOperation], commits: &[Commit]) -> Result<Option<Cmd>> {
        let mut partitions: Vec<Partition> = creates
            .iter()
            .map(|new| new.id)
            .chain(commits.iter().map(|commit| commit.id))
            .map(|id| id.partition())
            .collect();
        partitions.sort_unstable();
        partitions.dedup();
        if partitions.len() > self.keys.at_once(partitions.len()) {
            return Ok(None);
        }
        if partitions.is_empty() {
            // The prelude requires one partition, used or not.
            partitions.push(Partition::default());
        }
        let of_partitions: Vec<&PartitionKeys> = partitions
            .iter()
            .filter_map(|partition| self.keys.partition(*partition))
            .collect();
        let first = of_partitions.first().ok_or_else(reply::unexpected)?;
        let mut keys: Vec<&str> = of_partitions.iter().map(|of| of.prefix()).collect();
        let place = |id: OperationId| -> Result<usize> {
            let found = partitions.binary_search(&id.partition());
            let place = found.map(|at| at + 1);
            place.map_err(|_place: usize| Error::Unfit(format!("{id} belongs to no partition")))
        };
        keys.push(first.changes());
        let mut command = SCRIPTS.transact.call(&keys);
        command
            .arg(self.keys.completions())
            .arg(first.stops_prefix())
            .arg(creates.len())
            .arg(commits.len());
        for new in creates {
            command.arg(place(new.id)?);
            create::add(&mut command, new)?;
        }
        for item in commits {
            command.arg(place(item.id)?);
            commit::add(&mut command, item)?;
        }
        Ok(Some(command))
    }

    async fn read_done(
        &self,
        mut answer: Parts,
        creates: &[NewOperation],
        commits: &[Commit],
    ) -> Result<Transacted> {
        let (mut creates_said, mut commits_said) = (answer.parts()?, answer.parts()?);
        let mut created = Vec::new();
        while creates_said.len() > 0 {
            created.push(create::read(&mut creates_said)?);
        }
        let mut answers = Vec::new();
        for item in commits {
            answers.push((item, self.read_committed(item.id, &mut commits_said)?));
        }
        self.note_new(creates, &created);
        let created = self.with_existing(created).await?;
        let mut committed = Vec::new();
        for answer in self.with_records(answers)? {
            match answer {
                Committed::Done(done) => committed.push(*done),
                Committed::NotHead
                | Committed::Conflict(_)
                | Committed::Fenced
                | Committed::Held(_)
                | Committed::Missing => return Err(reply::unexpected()),
            }
        }
        Ok(Transacted::Done { created, committed })
    }
}

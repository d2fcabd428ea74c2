//! Locks: renewed in batches, watched by partition, and the report that only a
//! holder may write.

use drumline_backend::MemberId;
use drumline_backend::store::{Holding, Lock, Renewal, ReportParts, Result};
use drumline_protocol::{Fence, OperationId, Partition, Report};

use super::RedisStore;
use super::batches::{batches, calls};
use crate::record;
use crate::reply::{self, Packed, Parts};
use crate::scripts::SCRIPTS;

/// The most locks in one script.
const MOST: usize = 500;

impl RedisStore {
    pub(super) async fn renew_all(&self, locks: &[(OperationId, Holding)]) -> Result<Vec<Renewal>> {
        let ids = locks.iter().map(|(id, _)| *id);
        let calls = calls(&self.keys, batches(&self.keys, ids, MOST), MOST);
        let mut commands = redis::pipe();
        for call in &calls {
            let mut command = call.command(&SCRIPTS.renew);
            for (partition, at) in call.items() {
                if let Some((id, holding)) = locks.get(at) {
                    command
                        .arg(partition)
                        .arg(id.as_bytes().as_slice())
                        .arg(record::holding(*holding).as_slice());
                }
            }
            commands.add_command(command);
        }
        let answers = self.link.run_some("renew", &commands).await?;

        let mut renewals = vec![Renewal::Lost; locks.len()];
        for (call, answer) in calls.iter().zip(answers) {
            let letters = answer.map(reply::bytes).transpose()?;
            for (nth, (_, at)) in call.items().enumerate() {
                if let Some(place) = renewals.get_mut(at) {
                    *place = match &letters {
                        None => Renewal::Unanswered,
                        Some(letters) => renewal(*letters.get(nth).ok_or_else(reply::unexpected)?)?,
                    };
                }
            }
        }
        Ok(renewals)
    }

    pub(super) async fn stop_requests_of(
        &self,
        holder: MemberId,
    ) -> Result<Vec<(OperationId, Fence)>> {
        let mut commands = redis::pipe();
        for key in self.keys.stops(holder) {
            commands.cmd("SMEMBERS").arg(key);
        }
        let mut requests = Vec::new();
        // The next look asks for the others.
        let answers = self.link.run_some("stop requests", &commands).await?;
        for answer in answers.into_iter().flatten() {
            for entry in reply::members(answer)? {
                let mut entry = Packed::new(&entry);
                let id = OperationId::from_bytes(*entry.take()?).ok_or_else(reply::unexpected)?;
                requests.push((id, Fence(entry.number()?)));
            }
        }
        Ok(requests)
    }

    pub(super) async fn locks_of(&self, partition: Partition) -> Result<Vec<Lock>> {
        let Some(keys) = self.keys.partition(partition) else {
            return Ok(Vec::new());
        };
        let mut command = redis::cmd("HGETALL");
        command.arg(keys.locks());
        let mut parts = Parts::of(self.link.run_one("locks", command).await?)?;
        let mut locks = Vec::new();
        while parts.len() > 0 {
            let id = reply::sixteen(&parts.bytes()?)?;
            let id = OperationId::from_bytes(id).ok_or_else(reply::unexpected)?;
            locks.push(record::read_lock(id, &parts.bytes()?)?);
        }
        Ok(locks)
    }

    pub(super) async fn lock_of(&self, id: OperationId) -> Result<Option<Lock>> {
        let Some(keys) = self.keys.partition(id.partition()) else {
            return Ok(None);
        };
        let mut command = redis::cmd("HGET");
        command.arg(keys.locks()).arg(id.as_bytes().as_slice());
        let answer = self.link.run_one("lock", command).await?;
        let lock = reply::maybe_bytes(answer)?;
        lock.map(|lock| record::read_lock(id, &lock)).transpose()
    }

    pub(super) async fn write_report(
        &self,
        id: OperationId,
        holding: Holding,
        report: &Report,
        parts: ReportParts,
    ) -> Result<bool> {
        let Some(keys) = self.keys.partition(id.partition()) else {
            return Ok(false);
        };
        let (rest, checkpoint) = record::encode_report(report)?;
        let checkpoint = match parts {
            ReportParts::All => checkpoint,
            ReportParts::AllButCheckpoint => String::new(),
        };
        let bytes = rest.len() + checkpoint.len();
        let mut commands = redis::pipe();
        let mut command = SCRIPTS.report.call(&[keys.prefix()]);
        command
            .arg(id.as_bytes().as_slice())
            .arg(record::holding(holding).as_slice())
            .arg(rest);
        match parts {
            ReportParts::All => command.arg(checkpoint).arg("c"),
            ReportParts::AllButCheckpoint => command.arg(checkpoint).arg("-"),
        };
        commands.add_command(command);
        let answers = self.run_sized("report", &commands, bytes).await?;
        let written = answers.into_iter().next().ok_or_else(reply::unexpected)?;
        Ok(reply::number(written)? == 1)
    }
}

fn renewal(letter: u8) -> Result<Renewal> {
    match letter {
        b'h' => Ok(Renewal::Held {
            asked_to_stop: false,
        }),
        b's' => Ok(Renewal::Held {
            asked_to_stop: true,
        }),
        b'l' => Ok(Renewal::Lost),
        _ => Err(reply::unexpected()),
    }
}

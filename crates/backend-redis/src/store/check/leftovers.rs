//! Parts and idempotency keys of operations that are not there.

use std::time::Duration;

use drumline_backend::Store as _;
use drumline_backend::store::{CheckPage, CheckStep, Fault, FaultKind, Result};
use drumline_protocol::{OperationId, Partition};

use super::{RedisStore, repair_flag};
use crate::record;
use crate::reply;
use crate::scripts::SCRIPTS;

/// An idempotency key is reserved before its operation is created. No create takes that
/// long.
const RESERVED_FOR: Duration = Duration::from_secs(3_600);

impl RedisStore {
    pub(super) async fn check_parts(
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

    pub(super) async fn check_reservations(
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
        let mut old = Vec::new();
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
            let names = vec![name, keys.record(reserved.id), keys.tombstone(reserved.id)];
            old.push((partition, reserved.id, content, names));
        }
        if self.keys.is_spread() {
            old = self.without_operation(old).await?;
        }
        for (partition, id, content, names) in old {
            let mut command = SCRIPTS.check_reservation.call(&names);
            command.arg(repair_flag(step)).arg(content);
            commands.add_command(command);
            asked.push((partition, id));
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

    /// Those of these reservations whose operation is not there and was not removed, with
    /// their own key alone: an operation is created within an hour of its reservation, and
    /// these are older.
    async fn without_operation(&self, old: Vec<Old>) -> Result<Vec<Old>> {
        let mut commands = redis::pipe();
        for (_, _, _, names) in &old {
            commands.cmd("EXISTS").arg(names.get(1..));
        }
        let answers = self.link.run("check", &commands).await?;
        let mut without = Vec::new();
        for ((partition, id, content, mut names), answer) in old.into_iter().zip(answers) {
            if reply::number(answer)? == 0 {
                names.truncate(1);
                without.push((partition, id, content, names));
            }
        }
        Ok(without)
    }
}

/// A reservation: its partition, the operation that it stands for, its content, and the
/// names of the keys: its own, of the record and of the tombstone.
type Old = (Partition, OperationId, Vec<u8>, Vec<Vec<u8>>);

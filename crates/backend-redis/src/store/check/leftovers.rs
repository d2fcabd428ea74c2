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
}

//! Create: one script per partition, all in one round trip.

use drumline_backend::store::{Created, Error, NewOperation, Result, Stamp};
use drumline_protocol::{OperationId, State, codec};
use redis::{Cmd, Value};

use super::RedisStore;
use super::batches::batches;
use crate::keys::PartitionKeys;
use crate::record;
use crate::reply::{self, Parts};
use crate::scripts::SCRIPTS;

/// Operations in one script: it holds the server for about a millisecond.
const MOST: usize = 64;

impl RedisStore {
    pub(super) async fn create_all(&self, operations: &[NewOperation]) -> Result<Vec<Created>> {
        if let Some(stray) = operations.iter().find(|new| self.is_stray(new.id)) {
            return Err(Error::Unfit(format!(
                "{} is of a partition that the store does not have: it has {}",
                stray.id,
                self.partitions.get()
            )));
        }
        let batches = batches(&self.keys, operations.iter().map(|new| new.id), MOST);
        let mut commands = redis::pipe();
        for batch in &batches {
            let items = batch.items.iter().filter_map(|&at| operations.get(at));
            commands.add_command(call(batch.keys, items)?);
        }
        let answers = self.link.run("create", &commands).await?;

        let mut created: Vec<Option<Created>> = vec![None; operations.len()];
        for (batch, answer) in batches.iter().zip(answers) {
            let mut parts = Parts::of(answer)?;
            for &at in &batch.items {
                let (Some(place), Some(new)) = (created.get_mut(at), operations.get(at)) else {
                    continue;
                };
                *place = Some(read(new.id, parts.value()?)?);
            }
        }
        let all: Option<Vec<Created>> = created.into_iter().collect();
        all.ok_or_else(reply::unexpected)
    }

    fn is_stray(&self, id: OperationId) -> bool {
        self.keys.partition(id.partition()).is_none()
    }
}

fn call<'a>(keys: &PartitionKeys, items: impl Iterator<Item = &'a NewOperation>) -> Result<Cmd> {
    let mut command = SCRIPTS.create.call(&keys.all());
    for new in items {
        let header = &new.header;
        command
            .arg(new.id.as_bytes().as_slice())
            .arg(record::start(header))
            .arg(record::rest(header)?)
            .arg(codec::encode(&new.body)?);
        match header.postpone_until {
            Some(until) => command.arg(until.as_millis()),
            None => command.arg(""),
        };
        let offer = match header.status.state() {
            State::Ready => "a",
            State::Suspended | State::Locked | State::Completed => "-",
        };
        command.arg(offer);
    }
    Ok(command)
}

fn read(id: OperationId, answer: Value) -> Result<Created> {
    let mut parts = Parts::of(answer)?;
    if parts.len() == 2 {
        let (sequence, stamp) = (parts.number()?, parts.number()?);
        return Ok(Created::New {
            sequence,
            offer: (stamp != 0).then_some(Stamp(stamp)),
        });
    }
    let (h, b, r) = (parts.bytes()?, parts.bytes()?, parts.bytes()?);
    Ok(Created::Exists(Box::new(record::operation(
        id, &h, &b, &r,
    )?)))
}

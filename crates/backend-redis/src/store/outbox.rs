//! The outbox: operations that ought to be in the broker, and the offered set:
//! those that the broker has confirmed.

use std::collections::BTreeMap;
use std::time::Duration;

use drumline_backend::store::{
    ANSWER_BYTES, Error, FlowEntries, LastOffer, OfferedPlace, OutboxLook, OutboxPage, Promoted,
    Result, Runnable, Stamp,
};
use drumline_protocol::flow::FLOW_BYTES;
use drumline_protocol::{FlowKey, OperationId, Partition, QueueName};

use super::RedisStore;
use super::batches::{batches, calls};
use super::commit::offered;
use crate::record;
use crate::reply::{self, Packed, Parts};
use crate::scripts::SCRIPTS;

/// The most entries in one script.
const MOST: usize = 500;
/// A hundred years: with the time added, Lua can still count in it.
const MOST_US: u64 = 100 * 365 * 24 * 3_600 * 1_000_000;

impl RedisStore {
    pub(super) async fn take_out(&self, entries: &[(OperationId, Stamp)]) -> Result<()> {
        let ids = entries.iter().map(|(id, _)| *id);
        let mut commands = redis::pipe();
        for call in calls(&self.keys, batches(&self.keys, ids, MOST), MOST) {
            let mut command = call.command(&SCRIPTS.remove_from_outbox);
            for (partition, at) in call.items() {
                if let Some((id, stamp)) = entries.get(at) {
                    command.arg(partition).arg(record::entry(*stamp, *id));
                }
            }
            commands.add_command(command);
        }
        self.link.run("dispatched", &commands).await?;
        Ok(())
    }

    pub(super) async fn older_entries(
        &self,
        partition: Partition,
        look: &OutboxLook,
    ) -> Result<OutboxPage> {
        let Some(keys) = self.keys.partition(partition) else {
            return Ok(OutboxPage::default());
        };
        let after = look.after.as_ref();
        let mut command = SCRIPTS.outbox_entries.call(&[keys.prefix()]);
        command
            .arg(micros(look.age))
            .arg(look.limit)
            .arg(after.map_or(&[][..], |flow| flow.as_bytes().as_slice()));
        for (flow, stamp) in &look.behind {
            command
                .arg(flow.as_bytes().as_slice())
                .arg(record::first_after(*stamp));
        }
        let mut commands = redis::pipe();
        commands.add_command(command);
        let answers = self.records.run("undispatched", &commands, ANSWER_BYTES);
        let answer = answers.await?.pop().ok_or_else(reply::unexpected)?;
        let mut answer = Parts::of(answer)?;
        let next = answer.bytes()?;
        let next = next.first_chunk().copied().map(FlowKey::from_bytes);
        let with_more = answer.bytes()?;
        let (with_more, _) = with_more.as_chunks::<FLOW_BYTES>();
        let mut flows: BTreeMap<FlowKey, FlowEntries> = BTreeMap::new();
        while answer.len() > 0 {
            let place = answer.bytes()?;
            let mut place = Packed::new(&place);
            let flow = FlowKey::from_bytes(*place.take()?);
            let (id, stamp) = offered(&mut place)?;
            let of_flow = flows.entry(flow).or_insert_with(|| FlowEntries {
                flow,
                entries: Vec::new(),
                unreadable: 0,
                last: stamp,
                has_more: with_more.contains(flow.as_bytes()),
            });
            of_flow.last = stamp;
            match record::summary(id, &answer.bytes()?) {
                Ok(summary) => of_flow.entries.push(Promoted::new(summary, stamp)),
                // Such entries must not hide the ones behind them.
                Err(error @ Error::Corrupt(_)) => {
                    self.leave_out(&error);
                    of_flow.unreadable += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(OutboxPage {
            flows: flows.into_values().collect(),
            next,
        })
    }

    pub(super) async fn runnable_of(
        &self,
        partition: Partition,
        queue: &QueueName,
        most: usize,
        sample: usize,
    ) -> Result<Runnable> {
        let Some(keys) = self.keys.partition(partition) else {
            return Ok(Runnable::default());
        };
        let mut command = SCRIPTS.runnable.call(&[keys.prefix()]);
        command
            .arg(FlowKey::queue_prefix(queue).as_slice())
            .arg(most)
            .arg(sample);
        let mut answer = Parts::of(self.link.run_one("runnable", command).await?)?;
        Ok(Runnable {
            count: answer.number()?,
            first: record::read_ids(&answer.bytes()?),
        })
    }

    pub(super) async fn offer_of(&self, id: OperationId) -> Result<Option<LastOffer>> {
        let Some(keys) = self.keys.partition(id.partition()) else {
            return Ok(None);
        };
        let mut command = SCRIPTS.last_offer.call(&[keys.prefix()]);
        command.arg(id.as_bytes().as_slice());
        let answer = reply::bytes(self.link.run_one("last_offer", command).await?)?;
        if answer.is_empty() {
            return Ok(None);
        }
        let mut answer = Packed::new(&answer);
        Ok(Some(LastOffer {
            stamp: Stamp(answer.number()?),
            is_in_outbox: answer.letter()? == b'1',
        }))
    }

    pub(super) async fn offered_after(
        &self,
        partition: Partition,
        after: Option<OfferedPlace>,
        limit: usize,
    ) -> Result<(Vec<(OperationId, Stamp)>, Option<OfferedPlace>)> {
        let Some(keys) = self.keys.partition(partition) else {
            return Ok((Vec::new(), None));
        };
        let mut command = SCRIPTS.offered.call(&[keys.prefix()]);
        match after {
            Some(OfferedPlace { flow, id }) => {
                command.arg([b"(".as_slice(), flow_bytes(&flow), id.as_bytes()].concat())
            }
            None => command.arg("-"),
        };
        command.arg(limit);
        let mut answer = Parts::of(self.link.run_one("offered", command).await?)?;
        let entries = answer.bytes()?;
        let (entries, _) = entries.as_chunks::<24>();
        let found = entries.iter().filter_map(entry).collect();
        Ok((found, place(&answer.bytes()?)?))
    }

    pub(super) async fn enter_some(&self, partition: Partition, limit: usize) -> Result<bool> {
        let Some(keys) = self.keys.partition(partition) else {
            return Ok(false);
        };
        let mut command = SCRIPTS.enter_offered.call(&[keys.prefix()]);
        command.arg(limit);
        let has_more = reply::number(self.link.run_one("enter_offered", command).await?)?;
        Ok(has_more == 1)
    }

    pub(super) async fn offer_again(
        &self,
        id: OperationId,
        seen: Stamp,
        delay: Duration,
    ) -> Result<Option<Stamp>> {
        let Some(keys) = self.keys.partition(id.partition()) else {
            return Ok(None);
        };
        let mut command = SCRIPTS.reoffer.call(&[keys.prefix(), keys.changes()]);
        command
            .arg(id.as_bytes().as_slice())
            .arg(seen.0.to_be_bytes().as_slice())
            .arg(micros(delay));
        let stamp = reply::number(self.link.run_one("reoffer", command).await?)?;
        Ok((stamp != 0).then_some(Stamp(stamp)))
    }

    pub(super) async fn fresh_stamp(&self, partition: Partition) -> Result<Stamp> {
        let keys = self
            .keys
            .partition(partition)
            .ok_or_else(reply::unexpected)?;
        let command = SCRIPTS.stamp.call(&[keys.tick()]);
        Ok(Stamp(reply::number(
            self.link.run_one("stamp", command).await?,
        )?))
    }
}

/// An id and a stamp.
fn entry(bytes: &[u8; 24]) -> Option<(OperationId, Stamp)> {
    let (id, stamp) = (bytes.first_chunk::<16>()?, bytes.last_chunk::<8>()?);
    Some((
        OperationId::from_bytes(*id)?,
        Stamp(u64::from_be_bytes(*stamp)),
    ))
}

/// Reads a member of the offered set: a flow, or none, and an id.
fn place(member: &[u8]) -> Result<Option<OfferedPlace>> {
    let Some((flow, id)) = member.split_last_chunk::<16>() else {
        return Ok(None);
    };
    Ok(Some(OfferedPlace {
        flow: match flow {
            [] => FlowKey::NONE,
            flow => FlowKey::from_bytes(flow.try_into().map_err(unreadable)?),
        },
        id: OperationId::from_bytes(*id).ok_or_else(reply::unexpected)?,
    }))
}

fn unreadable(_error: std::array::TryFromSliceError) -> Error {
    reply::unexpected()
}

/// A flow as the entries of its operations begin: with no bytes for no flow.
fn flow_bytes(flow: &FlowKey) -> &[u8] {
    match *flow {
        FlowKey::NONE => &[],
        _ => flow.as_bytes(),
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).map_or(MOST_US, |us| us.min(MOST_US))
}

//! The outbox: operations that ought to be in the broker, and ones to
//! offer again.

use std::time::Duration;

use drumline_backend::store::{LastOffer, Promoted, Result, Stamp};
use drumline_protocol::{OperationId, Partition};

use super::RedisStore;
use super::batches::batches;
use super::commit::promoted;
use crate::reply::{self, Packed, Parts};
use crate::scripts::SCRIPTS;

/// The most entries in one script.
const MOST: usize = 500;
/// The place of the last offer's stamp in a record's preamble (prelude.lua).
const LAST_OFFER: std::ops::Range<usize> = 32..40;
/// A hundred years: with the time added, Lua can still count in it.
const MOST_US: u64 = 100 * 365 * 24 * 3_600 * 1_000_000;

impl RedisStore {
    pub(super) async fn take_out(&self, entries: &[(OperationId, Stamp)]) -> Result<()> {
        let mut commands = redis::pipe();
        for batch in batches(&self.keys, entries.iter().map(|(id, _)| *id), MOST) {
            let mut command = SCRIPTS.remove_from_outbox.call(&[batch.keys.outbox()]);
            for (id, stamp) in batch.items.iter().filter_map(|&at| entries.get(at)) {
                command.arg(id.as_bytes().as_slice()).arg(stamp.0);
            }
            commands.add_command(command);
        }
        self.link.run("dispatched", &commands).await?;
        Ok(())
    }

    pub(super) async fn older_entries(
        &self,
        partition: Partition,
        age: Duration,
        after: Option<Stamp>,
        limit: usize,
    ) -> Result<Vec<Promoted>> {
        let Some(keys) = self.keys.partition(partition) else {
            return Ok(Vec::new());
        };
        let mut command =
            SCRIPTS
                .outbox_entries
                .call(&[keys.outbox(), keys.record_prefix(), keys.tick()]);
        command.arg(micros(age)).arg(limit);
        match after {
            Some(Stamp(after)) => command.arg(format!("({after}")),
            None => command.arg("-inf"),
        };
        let mut entries = Vec::new();
        for entry in reply::array(self.link.run_one("undispatched", command).await?)? {
            entries.push(promoted(&mut Packed::new(&reply::bytes(entry)?))?);
        }
        Ok(entries)
    }

    pub(super) async fn offer_of(&self, id: OperationId) -> Result<Option<LastOffer>> {
        let Some(keys) = self.keys.partition(id.partition()) else {
            return Ok(None);
        };
        let mut commands = redis::pipe();
        commands.cmd("HGET").arg(keys.record(id)).arg("h");
        commands
            .cmd("ZSCORE")
            .arg(keys.outbox())
            .arg(id.as_bytes().as_slice());
        let mut answers = self.link.run("last_offer", &commands).await?.into_iter();
        let mut next = || answers.next().ok_or_else(reply::unexpected);
        let (header, entry) = (reply::maybe_bytes(next()?)?, reply::maybe_bytes(next()?)?);
        let Some(header) = header else {
            return Ok(None);
        };
        let stamp = header.get(LAST_OFFER).ok_or_else(reply::unexpected)?;
        let stamp = stamp.first_chunk().ok_or_else(reply::unexpected)?;
        Ok(Some(LastOffer {
            stamp: Stamp(u64::from_be_bytes(*stamp)),
            is_in_outbox: entry.is_some(),
        }))
    }

    pub(super) async fn offered_after(
        &self,
        partition: Partition,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<(Vec<(OperationId, Stamp)>, Option<OperationId>)> {
        let Some(keys) = self.keys.partition(partition) else {
            return Ok((Vec::new(), None));
        };
        let mut command = SCRIPTS.offered.call(&[keys.prefix()]);
        match after {
            Some(id) => command.arg([b"(".as_slice(), id.as_bytes()].concat()),
            None => command.arg("-"),
        };
        command.arg(limit);
        let mut answer = Parts::of(self.link.run_one("offered", command).await?)?;
        let entries = answer.bytes()?;
        let (entries, _) = entries.as_chunks::<24>();
        let found = entries.iter().filter_map(entry).collect();
        let next = match answer.bytes()?.as_slice() {
            [] => None,
            id => OperationId::from_bytes(reply::sixteen(id)?),
        };
        Ok((found, next))
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
        let mut command = SCRIPTS.reoffer.call(&[keys.prefix()]);
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

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).map_or(MOST_US, |us| us.min(MOST_US))
}

//! Usage: numbers that the scripts have counted, added up over the partitions.

use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::Store;
use drumline_backend::store::{CREATED_WITHIN, Result, Usage, UsageStore};
use drumline_protocol::{ChainKey, Organization, Partition, UsageKey};
use redis::Value;

use super::RedisStore;
use crate::reply::{self, Parts};

/// The letters of the fields of an organization, in the order in which they are read.
const LETTERS: [u8; 4] = *b"ostb";
/// The field of the Completed operations.
const COMPLETED: &str = "c";

#[async_trait]
impl UsageStore for RedisStore {
    async fn usage(&self, organization: &Organization) -> Result<Usage> {
        let key = UsageKey::of(organization);
        let now = u64::try_from(self.now().as_millis()).unwrap_or(0);
        let span = u64::try_from(CREATED_WITHIN.as_millis()).unwrap_or(u64::MAX);
        let (minute, into) = (now / span, Duration::from_millis(now % span));
        let mut commands = redis::pipe();
        for partition in self.partitions().all() {
            let Some(keys) = self.keys.partition(partition) else {
                continue;
            };
            let fields = LETTERS.map(|letter| [key.as_bytes().as_slice(), &[letter]].concat());
            commands.cmd("HMGET").arg(keys.usage()).arg(&fields);
            for minute in [minute, minute.saturating_sub(1)] {
                commands
                    .cmd("HGET")
                    .arg(keys.creates(minute))
                    .arg(key.as_bytes().as_slice());
            }
        }
        let mut answers = self.link.run("usage", &commands).await?.into_iter();
        let mut sums = [0_i64; LETTERS.len()];
        let [mut current, mut before] = [0; 2];
        while let Some(answer) = answers.next() {
            let mut counts = Parts::of(answer)?;
            for sum in &mut sums {
                *sum = sum.saturating_add(number(counts.value()?)?);
            }
            current += number(answers.next().ok_or_else(reply::unexpected)?)?;
            before += number(answers.next().ok_or_else(reply::unexpected)?)?;
        }
        let [open, series, tokens, bytes] = sums.map(counted);
        Ok(Usage {
            open,
            series,
            tokens,
            bytes,
            created: Usage::sliding(counted(current), counted(before), into),
        })
    }

    async fn chain_lengths(&self, chains: &[ChainKey]) -> Result<Vec<u64>> {
        let mut commands = redis::pipe();
        for chain in chains {
            let partition = chain.partition(self.partitions());
            let keys = self.keys.partition(partition);
            let keys = keys.ok_or_else(reply::unexpected)?;
            commands.cmd("ZCARD").arg(keys.chain(*chain));
        }
        if chains.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.link.run("chains", &commands).await?;
        answers.into_iter().map(reply::number).collect()
    }

    async fn completed_bytes(&self, partitions: &[Partition]) -> Result<Vec<u64>> {
        let mut commands = redis::pipe();
        let mut places = Vec::new();
        for (at, partition) in partitions.iter().enumerate() {
            if let Some(keys) = self.keys.partition(*partition) {
                commands.cmd("HGET").arg(keys.usage()).arg(COMPLETED);
                places.push(at);
            }
        }
        let mut bytes = vec![0; partitions.len()];
        if places.is_empty() {
            return Ok(bytes);
        }
        let answers = self.link.run("completed bytes", &commands).await?;
        for (at, answer) in places.into_iter().zip(answers) {
            if let Some(place) = bytes.get_mut(at) {
                *place = counted(number(answer)?);
            }
        }
        Ok(bytes)
    }
}

/// A number of a hash; an absent field is 0.
fn number(answer: Value) -> Result<i64> {
    match reply::maybe_bytes(answer)? {
        None => Ok(0),
        Some(bytes) => {
            let text = std::str::from_utf8(&bytes).ok();
            text.and_then(|text| text.parse().ok())
                .ok_or_else(reply::unexpected)
        }
    }
}

/// A loss of the last writes may leave a count below 0.
fn counted(sum: i64) -> u64 {
    u64::try_from(sum).unwrap_or(0)
}

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
const LETTERS: [u8; 5] = *b"ostbm";
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
        }
        let mut sums = [0_i64; 4];
        let (mut current, mut before) = (0_u64, 0_u64);
        for answer in self.link.run("usage", &commands).await? {
            let mut counts = Parts::of(answer)?;
            for sum in &mut sums {
                *sum = sum.saturating_add(number(counts.value()?)?);
            }
            let written = reply::maybe_bytes(counts.value()?)?;
            let creates = creates_at(minute, &written.unwrap_or_default());
            current = current.saturating_add(creates.0);
            before = before.saturating_add(creates.1);
        }
        let [open, series, tokens, bytes] = sums.map(counted);
        Ok(Usage {
            open,
            series,
            tokens,
            bytes,
            created: Usage::sliding(current, before, into),
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

/// The creates in this minute and in the one before, of what is written: its minute, the
/// creates in it, and those in the minute before.
///
/// The store may have come to the next minute since the caller looked at its clock. All of them
/// are of this minute or later then, and count in full. What is written further ahead is of a
/// clock that was wrong, and what cannot be read is replaced by the next create.
fn creates_at(minute: u64, written: &[u8]) -> (u64, u64) {
    let text = str::from_utf8(written).unwrap_or_default();
    let mut numbers = text.split(':').map(str::parse::<u64>);
    let [Some(Ok(was)), Some(Ok(current)), Some(Ok(before))] =
        [numbers.next(), numbers.next(), numbers.next()]
    else {
        return (0, 0);
    };
    if was == minute {
        (current, before)
    } else if was == minute + 1 {
        (current.saturating_add(before), 0)
    } else if was + 1 == minute {
        (0, current)
    } else {
        (0, 0)
    }
}

/// A loss of the last writes may leave a count below 0.
fn counted(sum: i64) -> u64 {
    u64::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creates_count_in_the_minute_in_which_they_were_made() {
        for (written, expected) in [
            ("100:7:3", (7, 3)),
            // The store has come to the next minute since.
            ("101:7:3", (10, 0)),
            ("99:7:3", (0, 7)),
            ("98:7:3", (0, 0)),
            ("102:7:3", (0, 0)),
            ("", (0, 0)),
            ("100:7", (0, 0)),
            ("100:a:3", (0, 0)),
        ] {
            assert_eq!(creates_at(100, written.as_bytes()), expected, "{written}");
        }
    }
}

//! Listings: the states asked for, merged over all partitions, newest first.
//!
//! ```text
//! partition 0 ─ newest ids per state ─┐
//! partition 1 ─ newest ids per state ─┼─ merged down to the frontier ─ records ─ filter
//! …                                  ─┘
//! ```
//!
//! Each round reads some ids of every index in one round trip. An index with
//! more ids is known down to its last read id only. The youngest of those last
//! ids is the frontier: below it nothing is certain yet, and the next round
//! starts there. One call looks at a bounded number of records, so that a
//! search for a rare value cannot block the server.

use std::time::Duration;

use drumline_backend::store::{Filter, Page, Result};
use drumline_protocol::{OperationId, State, Timestamp};

use super::RedisStore;
use crate::keys::PartitionKeys;
use crate::record::read_ids;
use crate::reply::Parts;
use crate::scripts::SCRIPTS;

/// The most records that one call looks at: some ten milliseconds' worth.
const LOOKS: usize = 2_048;
/// The fewest and most ids that a round reads of each index, and records in one
/// round trip: a filter may drop many, and there are four indexes in each of
/// some dozen partitions.
const FEWEST: usize = 16;
const MOST: usize = 256;
/// The tolerance between an id and `createdOn`: the same clock makes both, a
/// moment apart.
const SLACK: Duration = Duration::from_secs(60);

/// The ids that one round has found.
struct Round {
    /// The ids, newest first.
    ids: Vec<OperationId>,
    /// The id below which there may be more; `None` if there are no more.
    frontier: Option<OperationId>,
}

impl RedisStore {
    pub(super) async fn page(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<Page> {
        let mut page = Page::default();
        let states = filter.states();
        if states.is_empty() || limit == 0 {
            return Ok(page);
        }
        // One more than a full page shows whether there is a next one.
        let of_each = limit.saturating_add(1).clamp(FEWEST, MOST);
        let mut start = before;
        let mut looks = 0_usize;
        loop {
            let round = self.round(filter, &states, start, of_each).await?;
            for chunk in round.ids.chunks(of_each) {
                for (id, found) in chunk.iter().zip(self.get_all(chunk).await?) {
                    if looks == LOOKS || page.operations.len() == limit {
                        page.next = start;
                        return Ok(page);
                    }
                    looks += 1;
                    start = Some(*id);
                    // The operation may have been removed since.
                    page.operations
                        .extend(found.filter(|found| filter.selects(found)));
                }
            }
            match round.frontier {
                Some(frontier) => start = Some(frontier),
                None => return Ok(page),
            }
        }
    }

    /// Reads the newest ids below `start` of every index that matters.
    async fn round(
        &self,
        filter: &Filter,
        states: &[State],
        start: Option<OperationId>,
        of_each: usize,
    ) -> Result<Round> {
        let newest = match (start, filter.latest()) {
            (Some(id), _) => [b"(".as_slice(), id.as_bytes()].concat(),
            (None, Some(time)) => newest(time),
            (None, None) => b"+".to_vec(),
        };
        let oldest = filter.created_after.map_or(b"-".to_vec(), oldest);
        let indexed = states.iter().filter(|state| **state != State::Locked);
        let locks = if states.contains(&State::Locked) {
            "l"
        } else {
            "-"
        };
        let mut commands = redis::pipe();
        for keys in self.partitions_of(filter) {
            let mut from = vec![keys.locks().to_owned()];
            from.extend(indexed.clone().map(|state| keys.index(*state)));
            let mut command = SCRIPTS.newest.call(&from);
            command.arg(&newest).arg(&oldest).arg(of_each).arg(locks);
            commands.add_command(command);
        }
        let mut ids = Vec::new();
        let mut frontier = None;
        for answer in self.link.run("list", &commands).await? {
            let mut parts = Parts::of(answer)?;
            // All locked ids, wherever the page starts: they are few.
            let locked = read_ids(&parts.bytes()?);
            ids.extend(
                locked
                    .into_iter()
                    .filter(|id| start.is_none_or(|start| *id < start)),
            );
            while parts.len() > 0 {
                let found = read_ids(&parts.bytes()?);
                if found.len() == of_each {
                    frontier = frontier.max(found.last().copied());
                }
                ids.extend(found);
            }
        }
        ids.retain(|id| Some(*id) >= frontier);
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
        Ok(Round { ids, frontier })
    }

    /// Returns the partitions of a filter: a chain is in one, all else in any.
    fn partitions_of(&self, filter: &Filter) -> Vec<&PartitionKeys> {
        let only = filter.chain.map(|chain| chain.partition(self.partitions));
        self.partitions
            .all()
            .filter(|partition| only.is_none_or(|only| only == *partition))
            .filter_map(|partition| self.keys.partition(partition))
            .collect()
    }
}

/// The bound below which ids are too old to be created after `time`.
fn oldest(time: Timestamp) -> Vec<u8> {
    let slack_ms = i64::try_from(SLACK.as_millis()).unwrap_or(0);
    let ms = time.as_millis().saturating_sub(slack_ms).max(0);
    let [_, _, bytes @ ..] = ms.to_be_bytes();
    [b"[".as_slice(), &bytes].concat()
}

/// The bound above which ids are too young to be created before `time`.
fn newest(time: Timestamp) -> Vec<u8> {
    let ms = time.saturating_add(SLACK).as_millis().max(0);
    let [_, _, bytes @ ..] = ms.to_be_bytes();
    [b"(".as_slice(), &bytes].concat()
}

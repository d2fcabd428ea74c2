//! Listings: one source, merged over all partitions, newest first.
//!
//! ```text
//! partition 0 ─ newest ids ─┐
//! partition 1 ─ newest ids ─┼─ merged down to the frontier ─ headers ─ records ─ filter
//! …                        ─┘
//! ```
//!
//! The source is the set that holds the fewest of the operations that the
//! filter can select: the indexes of some states, or the further index of one
//! of its values ([`source`]).
//!
//! Each round reads some ids of every partition in one round trip. A set with
//! more ids is known down to its last read id only. The youngest of those last
//! ids is the frontier: below it nothing is certain yet, and the next round
//! starts there. Headers, and the keys in front of them, decide most
//! conditions; a body is read where they leave a doubt. One call looks at a
//! bounded number of headers and reads a bounded number of bytes, so that a
//! search for a rare value cannot block the server.

mod source;

use std::future::Future;
use std::time::Duration;

use drumline_backend::store::{ANSWER_BYTES, Error, Filter, Page, Result, Summary};
use drumline_protocol::{IndexKey, IndexKind, Operation, OperationId, Timestamp};

pub(super) use self::source::Source;
use super::RedisStore;
use super::read::Head;
use crate::keys::PartitionKeys;
use crate::record::{self, read_ids};
use crate::reply::{self, Parts};

/// The most headers that one call looks at: some ten milliseconds' worth.
const LOOKS: usize = 2_048;
/// The bytes of bodies and reports after which a page ends: a caller wants to see
/// a page within a second, over a slow network, too.
const BYTES: usize = 2 * ANSWER_BYTES;
/// The fewest and most ids that a round reads of each set, and headers in one
/// round trip: a filter may drop many, and there are several sets in each of
/// some dozen partitions.
const FEWEST: usize = 16;
const MOST: usize = 256;
/// The tolerance between an id and `createdOn`: the same clock makes both, a
/// moment apart.
const SLACK: Duration = Duration::from_secs(60);

/// The ids that one round has found.
pub(super) struct Round {
    /// The ids, newest first.
    pub(super) ids: Vec<OperationId>,
    /// The id below which there may be more; `None` if there are no more.
    pub(super) frontier: Option<OperationId>,
    /// The indexes that must not be read now.
    unread: Vec<IndexKind>,
}

/// The shape in which a page has its operations.
pub(super) trait Listed: Sized + Send {
    /// The bytes of bodies and reports after which a page ends.
    const MOST_BYTES: usize;

    fn read(
        store: &RedisStore,
        ids: &[OperationId],
    ) -> impl Future<Output = Result<Vec<Option<Self>>>> + Send;

    fn is_selected(&self, filter: &Filter) -> bool;
}

impl Listed for Operation {
    const MOST_BYTES: usize = BYTES;

    async fn read(store: &RedisStore, ids: &[OperationId]) -> Result<Vec<Option<Self>>> {
        store.get_all(ids).await
    }

    fn is_selected(&self, filter: &Filter) -> bool {
        filter.selects(self)
    }
}

impl Listed for Summary {
    const MOST_BYTES: usize = usize::MAX;

    async fn read(store: &RedisStore, ids: &[OperationId]) -> Result<Vec<Option<Self>>> {
        store.all_summaries(ids).await
    }

    fn is_selected(&self, filter: &Filter) -> bool {
        filter.selects_summary(self)
    }
}

/// An operation whose header does not exclude it, with the bytes of the rest.
type Candidate = (OperationId, usize);

impl RedisStore {
    pub(super) async fn page<T: Listed>(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<Page<T>> {
        let mut page = Page::default();
        if filter.statuses().is_empty() || limit == 0 {
            return Ok(page);
        }
        let mut keys = filter.index_keys();
        let mut source = self.source(filter, &keys).await?;
        // One more than a full page shows whether there is a next one.
        let mut width = limit.saturating_add(1).clamp(FEWEST, MOST);
        let mut start = before;
        let (mut looks, mut bytes) = (0_usize, 0_usize);
        loop {
            let round = self.round(filter, source, start, width).await?;
            if source.is_in(&round.unread) {
                keys.retain(|key| !round.unread.contains(&key.kind));
                source = self.source(filter, &keys).await?;
                continue;
            }
            let mut ids = round.ids.as_slice();
            while !ids.is_empty() && looks < LOOKS && page.operations.len() < limit {
                let (chunk, rest) = ids.split_at(ids.len().min(width).min(LOOKS - looks));
                ids = rest;
                looks += chunk.len();
                let mut candidates = self.candidates(filter, &keys, chunk).await?;
                while !candidates.is_empty() {
                    let room = limit - page.operations.len();
                    let most_bytes = T::MOST_BYTES.saturating_sub(bytes);
                    let share = share(&candidates, room, most_bytes);
                    if share == 0 {
                        page.next = start;
                        return Ok(page);
                    }
                    let read: Vec<Candidate> = candidates.drain(..share).collect();
                    let wanted: Vec<OperationId> = read.iter().map(|(id, _)| *id).collect();
                    bytes += read.iter().map(|(_, bytes)| bytes).sum::<usize>();
                    // One may have been removed since.
                    let found = self
                        .read_decodable::<T>(&wanted)
                        .await?
                        .into_iter()
                        .flatten();
                    let selected = found.filter(|found| found.is_selected(filter));
                    page.operations.extend(selected);
                    start = wanted.last().copied();
                }
                start = chunk.last().copied();
                width = MOST;
            }
            let is_over = looks >= LOOKS || page.operations.len() == limit;
            match round.frontier {
                _ if !ids.is_empty() => page.next = start,
                Some(frontier) if is_over => page.next = Some(frontier),
                Some(frontier) => {
                    start = Some(frontier);
                    continue;
                }
                None => {}
            }
            return Ok(page);
        }
    }

    /// Reads operations. Those that cannot be decoded are left out: one record must not
    /// keep all others from being listed.
    async fn read_decodable<T: Listed>(&self, ids: &[OperationId]) -> Result<Vec<Option<T>>> {
        match T::read(self, ids).await {
            Err(Error::Corrupt(_)) => {}
            answered => return answered,
        }
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let one = self.decoded(id, T::read(self, &[*id]).await)?;
            found.extend(one.into_iter().flatten());
        }
        Ok(found)
    }

    /// Returns those operations that may be selected, judged by their headers.
    async fn candidates(
        &self,
        filter: &Filter,
        keys: &[IndexKey],
        ids: &[OperationId],
    ) -> Result<Vec<Candidate>> {
        let (heads, unread) = self.heads(ids).await?;
        let found = ids.iter().zip(heads);
        let candidate = |(id, head): (&OperationId, Option<Head>)| {
            let head = head?;
            let selected = filter.selects_header(&head.header)
                && keys
                    .iter()
                    .filter(|key| !unread.contains(&key.kind))
                    .all(|key| may_have(*id, &head, *key, filter));
            selected.then_some((*id, head.bytes))
        };
        Ok(found.filter_map(candidate).collect())
    }

    /// Reads the newest ids below `start` of every partition that matters.
    pub(super) async fn round(
        &self,
        filter: &Filter,
        source: Source,
        start: Option<OperationId>,
        of_each: usize,
    ) -> Result<Round> {
        let newest = match (start, filter.latest()) {
            (Some(id), _) => id.as_bytes().to_vec(),
            (None, Some(time)) => newest(time),
            (None, None) => Vec::new(),
        };
        let oldest = filter.created_after.map(oldest).unwrap_or_default();
        let mut commands = redis::pipe();
        for keys in self.partitions_of(filter) {
            commands.add_command(source.newest(filter, keys, &newest, &oldest, of_each));
        }
        // After the entries: an index is in this set before it loses one.
        commands.cmd("SMEMBERS").arg(self.keys.unread_indexes());
        let mut ids: Vec<OperationId> = source.own(filter).into_iter().collect();
        let mut frontier = None;
        let mut answers = self.link.run("list", &commands).await?;
        let unread = record::read_kinds(answers.pop().ok_or_else(reply::unexpected)?)?;
        for answer in answers {
            let mut parts = Parts::of(answer)?;
            // All locked ids, wherever the page starts: they are few.
            ids.extend(read_ids(&parts.bytes()?));
            while parts.len() > 0 {
                let found = read_ids(&parts.bytes()?);
                if found.len() == of_each {
                    frontier = frontier.max(found.last().copied());
                }
                ids.extend(found);
            }
        }
        ids.retain(|id| start.is_none_or(|start| *id < start) && Some(*id) >= frontier);
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
        Ok(Round {
            ids,
            frontier,
            unread,
        })
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

/// Returns false if the keys of an operation show that it does not have the
/// value of this one.
fn may_have(id: OperationId, head: &Head, key: IndexKey, filter: &Filter) -> bool {
    if key.kind == IndexKind::Token {
        // The header has been asked.
        return true;
    }
    match head.keys.iter().find(|found| found.kind == key.kind) {
        Some(found) => *found == key,
        None => filter.own_of(key.kind) == Some(id),
    }
}

/// The number of candidates to read at once: at most `most`, and at least one
/// if any bytes are left.
fn share(candidates: &[Candidate], most: usize, bytes: usize) -> usize {
    let mut sum = 0_usize;
    let fits = |(_, size): &&Candidate| {
        let has_room = sum < bytes;
        sum = sum.saturating_add(*size);
        has_room
    };
    candidates.iter().take(most).take_while(fits).count()
}

/// The first bytes of the oldest ids that may be created after `time`.
fn oldest(time: Timestamp) -> Vec<u8> {
    let slack_ms = i64::try_from(SLACK.as_millis()).unwrap_or(0);
    let ms = time.as_millis().saturating_sub(slack_ms).max(0);
    let [_, _, bytes @ ..] = ms.to_be_bytes();
    bytes.to_vec()
}

/// The first bytes of the ids that are too young to be created before `time`.
fn newest(time: Timestamp) -> Vec<u8> {
    let ms = time.saturating_add(SLACK).as_millis().max(0);
    let [_, _, bytes @ ..] = ms.to_be_bytes();
    bytes.to_vec()
}

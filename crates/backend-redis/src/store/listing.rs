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
//! Each round reads some ids of partitions in one round trip, at first of all of
//! them. A set with more ids is known down to its last read id only. The youngest
//! of those last ids is the frontier: below it nothing is certain yet, and the next
//! round reads on in the partitions that have come to their end ([`merge`]). Headers,
//! and the keys in front of them, decide most conditions; a body is read where they
//! leave a doubt, or at once where they could decide nothing. One call looks at a
//! bounded number of headers and reads a bounded number of bytes, so that a
//! search for a rare value cannot block the server.

mod holders;
mod merge;
mod source;

use std::future::Future;
use std::time::Duration;

use drumline_backend::store::{ANSWER_BYTES, Error, Filter, Page, Result, Summary};
use drumline_protocol::{Header, IndexKey, IndexKind, Operation, OperationId, Timestamp};

pub(super) use self::holders::Holders;
use self::merge::Merge;
pub(super) use self::source::Source;
use super::RedisStore;
use super::read::Head;
use crate::keys::PartitionKeys;
use crate::record;
use crate::reply;

/// The most headers that one call looks at: some ten milliseconds' worth.
const LOOKS: usize = 2_048;
/// The bytes of bodies and reports after which a page ends: a caller wants to see
/// a page within a second, over a slow network, too.
const BYTES: usize = 2 * ANSWER_BYTES;
/// The ids that are passed over as settled and cost as much as the look at a header:
/// an id is read with many others, and a header is a command of its own.
const SETTLED_OF_LOOK: usize = 16;
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
}

/// The shape in which a page has its operations.
pub(super) trait Listed: Sized + Send {
    /// The bytes of bodies and reports after which a page ends.
    const MOST_BYTES: usize;
    /// True if an operation in this shape is hardly more to read than its header.
    const IS_SHORT: bool;

    fn read(
        store: &RedisStore,
        ids: &[OperationId],
    ) -> impl Future<Output = Result<Vec<Option<Self>>>> + Send;

    fn is_selected(&self, filter: &Filter) -> bool;

    fn head(&self) -> (OperationId, &Header);
}

impl Listed for Operation {
    const MOST_BYTES: usize = BYTES;
    const IS_SHORT: bool = false;

    async fn read(store: &RedisStore, ids: &[OperationId]) -> Result<Vec<Option<Self>>> {
        store.get_all(ids).await
    }

    fn is_selected(&self, filter: &Filter) -> bool {
        filter.selects(self)
    }

    fn head(&self) -> (OperationId, &Header) {
        (self.id, &self.header)
    }
}

impl Listed for Summary {
    const MOST_BYTES: usize = usize::MAX;
    const IS_SHORT: bool = true;

    async fn read(store: &RedisStore, ids: &[OperationId]) -> Result<Vec<Option<Self>>> {
        store.all_summaries(ids).await
    }

    fn is_selected(&self, filter: &Filter) -> bool {
        filter.selects_summary(self)
    }

    fn head(&self) -> (OperationId, &Header) {
        (self.id, &self.header)
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
        let for_holders = filter.holding == Some(true);
        let (mut looks, mut bytes) = (0_usize, 0_usize);
        let holders = if for_holders {
            self.look_for_holders(filter, before).await?
        } else {
            None
        };
        let are_known = holders.is_some();
        let mut keys = filter.index_keys();
        let mut source = if are_known {
            Source::States
        } else {
            self.source(filter, &keys).await?
        };
        // One more than a full page shows whether there is a next one.
        let mut width = limit.saturating_add(1).clamp(FEWEST, MOST);
        let mut start = before;
        let mut merge = match holders {
            Some(ids) => Merge::of(ids),
            None => self.merge(filter, source, start),
        };
        merge.expect(limit.saturating_add(1));
        loop {
            let unread = self.read_ways(filter, source, &mut merge).await?;
            if source.is_in(&unread) {
                keys.retain(|key| !unread.contains(&key.kind));
                source = self.source(filter, &keys).await?;
                merge = self.merge(filter, source, start);
                continue;
            }
            let frontier = merge.frontier();
            let mut found = merge.take(frontier);
            let passed_over = if for_holders {
                self.holders.remove_settled(&mut found)
            } else {
                0
            };
            let mut ids = found.as_slice();
            while !ids.is_empty() && looks < LOOKS && page.operations.len() < limit {
                let (chunk, rest) = ids.split_at(ids.len().min(width).min(LOOKS - looks));
                ids = rest;
                looks += chunk.len();
                let are_selected = are_known || source.decides(filter, &keys);
                let mut candidates = if T::IS_SHORT && are_selected {
                    chunk.iter().map(|id| (*id, 0)).collect()
                } else {
                    self.candidates(filter, &keys, chunk).await?
                };
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
                    let found = self.read_decodable::<T>(&wanted).await?;
                    let found: Vec<T> = found.into_iter().flatten().collect();
                    if are_known {
                        self.holders.note(found.iter().map(T::head));
                        let is_there = |id| found.iter().any(|one| one.head().0 == id);
                        let gone = wanted.iter().copied().filter(|id| !is_there(*id));
                        self.holders.forget(gone);
                    }
                    let selected = found.into_iter().filter(|one| one.is_selected(filter));
                    page.operations.extend(selected);
                    start = wanted.last().copied();
                }
                start = chunk.last().copied();
                width = MOST;
            }
            looks += passed_over.div_ceil(SETTLED_OF_LOOK);
            let is_over = looks >= LOOKS || page.operations.len() == limit;
            match frontier {
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
        if filter.holding == Some(true) {
            let heads = ids.iter().zip(&heads);
            self.holders
                .note(heads.filter_map(|(id, head)| Some((*id, &head.as_ref()?.header))));
        }
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
        let mut merge = self.merge(filter, source, start);
        merge.expect(of_each);
        self.read_ways(filter, source, &mut merge).await?;
        let frontier = merge.frontier();
        Ok(Round {
            ids: merge.take(frontier),
            frontier,
        })
    }

    /// The partitions that a listing goes through, from an id downwards.
    fn merge(&self, filter: &Filter, source: Source, start: Option<OperationId>) -> Merge<'_> {
        Merge::new(self.partitions_of(filter), start, source.own(filter))
    }

    /// Reads on in those partitions that have come to their end. Returns the indexes that
    /// must not be read now.
    async fn read_ways(
        &self,
        filter: &Filter,
        source: Source,
        merge: &mut Merge<'_>,
    ) -> Result<Vec<IndexKind>> {
        if merge.short().next().is_none() {
            return Ok(Vec::new());
        }
        let newest = filter.latest().map(newest).unwrap_or_default();
        let oldest = filter.created_after.map(oldest).unwrap_or_default();
        let mut commands = redis::pipe();
        for way in merge.short() {
            let from = way
                .floor()
                .map_or_else(|| newest.clone(), |id| id.as_bytes().to_vec());
            commands.add_command(source.newest(filter, way.keys(), &from, &oldest, way.wants()));
        }
        // After the entries: an index is in this set before it loses one.
        commands.cmd("SMEMBERS").arg(self.keys.unread_indexes());
        let mut answers = self.link.run("list", &commands).await?;
        let unread = record::read_kinds(answers.pop().ok_or_else(reply::unexpected)?)?;
        for (way, answer) in merge.short().zip(answers) {
            way.read(answer)?;
        }
        Ok(unread)
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

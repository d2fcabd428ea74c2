//! The store port over a [`State`]: a mutex, a clock, and a broadcast of the
//! operations that are Completed; and on a disk, if it has one, a thread that writes.
//!
//! A verb is done at the first poll, and a cancellation cannot interrupt it halfway: at most
//! its end is not broadcast, and is found by the next look. In memory alone every future is
//! done then. With a disk, an answer that leaves the process
//! waits until the disk has what it tells of. What the process asks for itself waits for
//! nothing: entries of the outbox, due times, renewals. The commit that follows from such an
//! answer waits, and is written after all that it was decided on. The locks of a partition
//! wait: a claim that the disk does not have yet is not known to its worker, which could not
//! renew it, so no watch of it begins before. And an outcome that waits keeps its lease: its
//! worker holds the operation until the disk has the end.

mod actions;
mod audit;
mod check;
mod filled;
mod imports;
mod pauses;
mod queues;
mod rollups;
mod served;
mod usage;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::store::{
    ALONG_BYTES, Backup, ChainPlace, Commit, Committed, Counts, Created, Ended, Filter, Holding,
    LastOffer, Lock, Neighbourhood, NewOperation, Notice, OfferedPlace, OutboxLook, OutboxPage,
    Page, Recorded, Renewal, ReportParts, Reservation, Reserved, Result, Room, Runnable, Stamp,
    Store, Summary, Transacted, Work, WorkFound, check_distinct, check_keys,
};
use drumline_backend::{MemberId, Random};
use drumline_protocol::message::Marker;
use drumline_protocol::transition::EndClass;
use drumline_protocol::{
    Fence, Operation, OperationId, Output, Partition, PartitionCount, QueueName, Report, Timestamp,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::broadcast;

use self::filled::Lacking;
use self::served::{bytes_of, ending, limit, released_by, starts, written, written_commit};
use crate::clock::Clock;
use crate::durable::{Content, Database, Error, Pending, Writer};
use crate::rollups::Rollups;
use crate::roundtrip::through_codec;
use crate::state::State;
#[cfg(test)]
use crate::state::rows::Row;

/// The number of completions that a slow listener may be behind before it
/// misses some.
const COMPLETIONS: usize = 4096;

/// The store of the embedded backend: a [`State`] behind a mutex.
#[derive(Debug)]
pub struct EmbeddedStore {
    clock: Arc<dyn Clock>,
    content: Arc<Content>,
    completions: broadcast::Sender<OperationId>,
    /// The calls that may have given maintenance work.
    changes: AtomicU64,
    incarnation: String,
    /// The thread that writes the content to a disk; none for a store in memory alone.
    writer: Option<Writer>,
}

impl EmbeddedStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new(partitions: PartitionCount, clock: Arc<dyn Clock>) -> Self {
        let incarnation = Random::from_entropy().uuid().to_string();
        Self::named(partitions, clock, incarnation)
    }

    /// Makes an empty store whose life has this name.
    #[must_use]
    pub fn named(partitions: PartitionCount, clock: Arc<dyn Clock>, incarnation: String) -> Self {
        let content = Content {
            state: Mutex::new(State::new(partitions)),
            rollups: Mutex::default(),
        };
        Self {
            clock,
            content: Arc::new(content),
            completions: broadcast::Sender::new(COMPLETIONS),
            changes: AtomicU64::new(0),
            incarnation,
            writer: None,
        }
    }

    /// Opens the store in a folder, and offers all that may run. See
    /// [`Durable::open`](crate::Durable::open).
    pub(crate) fn open(
        folder: &Path,
        partitions: PartitionCount,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let (database, partitions) = Database::open(folder, partitions)?;
        Self::with(database, partitions, clock)
    }

    /// The store in a database.
    pub(crate) fn with(
        database: Database,
        partitions: PartitionCount,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let mut state = State::restore(partitions, &database)?;
        let mut rollups = Rollups::restore(&database)?;
        state.mark_changes();
        state.offer_all(clock.now());
        rollups.mark_changes();
        let content = Arc::new(Content {
            state: Mutex::new(state),
            rollups: Mutex::new(rollups),
        });
        Ok(Self {
            clock,
            writer: Some(Writer::start(database, Arc::clone(&content))?),
            content,
            completions: broadcast::Sender::new(COMPLETIONS),
            changes: AtomicU64::new(0),
            incarnation: Random::from_entropy().uuid().to_string(),
        })
    }

    /// The content, for tests that look into it.
    #[cfg(test)]
    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    /// Gives the disk another row, behind the back of the state.
    #[cfg(test)]
    pub(crate) fn overwrite(&self, row: Row) {
        let writer = self.writer.as_ref().expect("it has a disk");
        writer.overwrite(row);
    }

    /// Returns true if nothing has the file open.
    #[cfg(test)]
    pub(crate) fn database_is_closed(&self) -> bool {
        self.writer.as_ref().is_none_or(Writer::is_closed)
    }

    /// Waits until a write to the disk has failed. Cancel-safe.
    pub(crate) async fn failed(&self) -> Arc<Error> {
        match &self.writer {
            Some(writer) => writer.failed().await,
            None => std::future::pending().await,
        }
    }

    /// Ends the thread that writes, when all is written.
    pub(crate) fn close(&self) {
        if let Some(writer) = &self.writer {
            writer.close();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.content.state.lock()
    }

    /// Calls a verb, or looks at the state. The answer waits for the disk, if there is
    /// one.
    fn answer<T>(&self, verb: impl FnOnce(&mut State, Timestamp) -> T) -> Pending<T> {
        self.answer_to_creates(0, verb)
    }

    /// [`Self::answer`] of a verb that creates operations of so many bytes.
    fn answer_to_creates<T>(
        &self,
        bytes: u64,
        verb: impl FnOnce(&mut State, Timestamp) -> T,
    ) -> Pending<T> {
        let now = self.clock.now();
        let mut state = self.state();
        let answer = verb(&mut state, now);
        match &self.writer {
            Some(writer) => writer.pending(answer, state.is_touched(), bytes),
            None => Pending::settled(answer),
        }
    }

    /// [`Self::answer`] of a verb that may give maintenance work. It is counted behind
    /// the verb: who sees the same number has seen the work.
    fn change<T>(&self, verb: impl FnOnce(&mut State, Timestamp) -> T) -> Pending<T> {
        self.change_with_creates(0, verb)
    }

    /// [`Self::change`] by a verb that creates operations of so many bytes.
    fn change_with_creates<T>(
        &self,
        bytes: u64,
        verb: impl FnOnce(&mut State, Timestamp) -> T,
    ) -> Pending<T> {
        let answer = self.answer_to_creates(bytes, verb);
        self.changes.fetch_add(1, Ordering::Release);
        answer
    }

    /// [`Self::answer`], of the rollups.
    fn answer_rollups<T>(&self, verb: impl FnOnce(&mut Rollups, Timestamp) -> T) -> Pending<T> {
        let now = self.clock.now();
        let mut rollups = self.content.rollups.lock();
        let answer = verb(&mut rollups, now);
        match &self.writer {
            Some(writer) => writer.pending(answer, rollups.is_touched(), 0),
            None => Pending::settled(answer),
        }
    }

    /// Checks that there is room for new operations of so many bytes.
    fn check_room(&self, bytes: u64) -> Result<()> {
        let writer = self.writer.as_ref();
        writer.map_or(Ok(()), |writer| writer.check_room(bytes))
    }

    /// Returns true if there is room for the outcomes of operations that are started.
    fn has_room_for_starts(&self) -> bool {
        let writer = self.writer.as_ref();
        writer.is_none_or(Writer::has_room_for_starts)
    }

    /// Notes a lock that a verb has released, until the disk has the release. The caller has
    /// the state locked.
    fn note_released(&self, lock: Option<(OperationId, Fence)>) {
        if let (Some(writer), Some(lock)) = (&self.writer, lock) {
            writer.note_released(lock);
        }
    }

    /// Returns true if the holder of a lock has released it, and the disk does not have that
    /// yet.
    fn is_being_released(&self, id: OperationId, fence: Fence) -> bool {
        let writer = self.writer.as_ref();
        writer.is_some_and(|writer| writer.is_being_released(&(id, fence)))
    }

    fn tell(&self, id: OperationId) {
        // An error means that there is no listener.
        drop(self.completions.send(id));
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    fn partitions(&self) -> PartitionCount {
        self.state().partitions()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn completions(&self) -> broadcast::Receiver<OperationId> {
        self.completions.subscribe()
    }

    async fn backup(&self) -> Result<Option<Backup>> {
        let begun = self
            .writer
            .as_ref()
            .map(|writer| writer.backup(self.partitions()));
        begun.transpose()
    }

    async fn create(&self, operations: Vec<NewOperation>) -> Result<Vec<Created>> {
        check_keys(&operations, self.partitions())?;
        let bytes = bytes_of(&operations);
        self.check_room(bytes)?;
        let creates: Vec<_> = operations.into_iter().map(written).collect::<Result<_>>()?;
        let answers = self.change_with_creates(bytes, |state, now| {
            let creates = creates.into_iter();
            let answers: Vec<Created> = creates.map(|new| state.create(new, now)).collect();
            Lacking::new(answers, state)
        });
        self.filled(answers).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Committed>> {
        let ends: Vec<_> = commits.iter().map(ending).collect();
        let commits: Vec<_> = commits
            .into_iter()
            .map(written_commit)
            .collect::<Result<_>>()?;
        let has_room = !commits.iter().any(starts) || self.has_room_for_starts();
        let answers = self.change(|state, now| {
            let mut room = Room::new(ALONG_BYTES);
            let mut answers = Vec::new();
            for commit in commits {
                let id = commit.id;
                let released = released_by(&commit);
                let mut answer = if has_room || !starts(&commit) {
                    state.commit(commit, now)
                } else {
                    state.put_back(commit, now)
                };
                if let Committed::Done(done) = &mut answer {
                    limit(id, done, &mut room, state);
                    self.note_released(released);
                }
                answers.push((id, answer));
            }
            Lacking::new(answers, state)
        });
        let answers = self.filled(answers).await?;
        for ((_, answer), ending) in answers.iter().zip(ends) {
            if let Committed::Done(_) = answer {
                ending.into_iter().for_each(|id| self.tell(id));
            }
        }
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    async fn transact(
        &self,
        creates: Vec<NewOperation>,
        commits: Vec<Commit>,
    ) -> Result<Transacted> {
        check_distinct(&creates, &commits)?;
        check_keys(&creates, self.partitions())?;
        let bytes = bytes_of(&creates);
        if !creates.is_empty() {
            self.check_room(bytes)?;
        }
        let creates: Vec<_> = creates.into_iter().map(written).collect::<Result<_>>()?;
        let ending: Vec<OperationId> = commits.iter().filter_map(ending).collect();
        let commits: Vec<_> = commits
            .into_iter()
            .map(written_commit)
            .collect::<Result<_>>()?;
        let answer = self.change_with_creates(bytes, |state, now| {
            let ids: Vec<OperationId> = commits.iter().map(|commit| commit.id).collect();
            let mut answer = state.transact(creates, commits, now);
            if let Transacted::Done { committed, .. } = &mut answer {
                let mut room = Room::new(ALONG_BYTES);
                for (id, done) in ids.iter().zip(committed) {
                    limit(*id, done, &mut room, state);
                }
            }
            Lacking::new((ids, answer), state)
        });
        let (_, answer) = self.filled(answer).await?;
        if let Transacted::Done { .. } = &answer {
            ending.into_iter().for_each(|id| self.tell(id));
        }
        Ok(answer)
    }

    fn shares_writes(&self) -> bool {
        self.writer.is_some()
    }

    async fn get(&self, ids: &[OperationId]) -> Result<Vec<Option<Operation>>> {
        let answer = self.answer(|state, _| {
            let found: Vec<Option<Operation>> = ids.iter().map(|id| state.get(*id)).collect();
            Lacking::new(found, state)
        });
        self.filled(answer).await
    }

    async fn summaries(&self, ids: &[OperationId]) -> Result<Vec<Option<Summary>>> {
        let answer = self.answer(|state, _| ids.iter().map(|id| state.summary(*id)).collect());
        answer.written().await
    }

    async fn history(&self, id: OperationId) -> Result<Option<Recorded>> {
        self.answer(|state, _| state.history(id)).written().await
    }

    async fn outputs(&self, id: OperationId) -> Result<Vec<Output>> {
        self.answer(|state, _| state.outputs(id)).written().await
    }

    async fn report(
        &self,
        id: OperationId,
        holding: Holding,
        report: &Report,
        parts: ReportParts,
    ) -> Result<bool> {
        let report = through_codec(report)?;
        let answer = self.answer(|state, _| state.report(id, holding, report, parts));
        answer.written().await
    }

    async fn renew(&self, locks: &[(OperationId, Holding)]) -> Result<Vec<Renewal>> {
        let mut state = self.state();
        let answers = locks.iter().map(|(id, holding)| {
            let answer = state.renew(*id, *holding);
            let is_written = answer != Renewal::Lost || !self.is_being_released(*id, holding.fence);
            if is_written {
                answer
            } else {
                Renewal::Held {
                    asked_to_stop: false,
                }
            }
        });
        Ok(answers.collect())
    }

    async fn stop_requests(&self, holder: MemberId) -> Result<Vec<(OperationId, Fence)>> {
        Ok(self.state().stop_requests(holder))
    }

    async fn locks(&self, partition: Partition) -> Result<Vec<Lock>> {
        let locks = self.answer(|state, _| state.locks(partition));
        locks.written().await
    }

    async fn lock(&self, id: OperationId) -> Result<Option<Lock>> {
        Ok(self.state().lock(id).map(|held| held.shown(id)))
    }

    async fn remove_from_outbox(&self, entries: &[(OperationId, Stamp)]) -> Result<()> {
        let mut state = self.state();
        for (id, stamp) in entries {
            state.remove_from_outbox(*id, *stamp);
        }
        Ok(())
    }

    async fn outbox_entries(&self, partition: Partition, look: &OutboxLook) -> Result<OutboxPage> {
        if !self.has_room_for_starts() {
            // They would come back.
            return Ok(OutboxPage::default());
        }
        let now = self.clock.now();
        Ok(self.state().outbox_entries(partition, look, now))
    }

    async fn with_work(&self, work: Work, partitions: &[Partition]) -> Result<WorkFound> {
        let (state, now) = (self.state(), self.clock.now());
        let mut found = WorkFound::default();
        for partition in partitions {
            if state.has_work(*partition, work, now) {
                found.partitions.push(*partition);
            } else if let Some(time) = state.next_time(*partition, work) {
                found.note_next(Some(time.since(now)));
            }
        }
        Ok(found)
    }

    async fn changes(&self) -> Result<u64> {
        Ok(self.changes.load(Ordering::Acquire))
    }

    async fn runnable(
        &self,
        partition: Partition,
        queue: &QueueName,
        most: usize,
        sample: usize,
    ) -> Result<Runnable> {
        Ok(self.state().runnable(partition, queue, most, sample))
    }

    async fn last_offer(&self, id: OperationId) -> Result<Option<LastOffer>> {
        Ok(self.state().offer_of(id))
    }

    async fn chain_place(
        &self,
        id: OperationId,
        near: Neighbourhood,
    ) -> Result<Option<ChainPlace>> {
        let place = self.answer(|state, _| state.chain_place(id, near));
        place.written().await
    }

    async fn due(&self, partition: Partition, limit: usize) -> Result<Vec<OperationId>> {
        Ok(self.state().due(partition, limit, self.clock.now()))
    }

    async fn ended(
        &self,
        partition: Partition,
        class: EndClass,
        after: Stamp,
        until: Stamp,
        limit: usize,
    ) -> Result<Vec<(OperationId, Stamp)>> {
        let ended = self.answer(|state, _| state.ended(partition, class, after, until, limit));
        ended.written().await
    }

    async fn ended_since(&self, after: Stamp, limit: usize) -> Result<Ended> {
        let ended = self.answer(|state, _| state.ended_since(after, limit));
        ended.written().await
    }

    async fn notices(&self, partition: Partition, limit: usize) -> Result<Vec<Notice>> {
        Ok(self.state().notices(partition, limit, self.clock.now()))
    }

    async fn notices_owed(&self, ids: &[OperationId]) -> Result<Vec<bool>> {
        let owed = self.answer(|state, _| {
            let owed = ids.iter().map(|id| state.is_notice_owed(*id));
            owed.collect()
        });
        owed.written().await
    }

    async fn notice_done(&self, id: OperationId) -> Result<()> {
        self.answer(|state, _| state.notice_done(id))
            .written()
            .await
    }

    async fn notice_later(&self, id: OperationId, delay: Duration) -> Result<()> {
        let done = self.answer(|state, now| state.notice_later(id, delay, now));
        done.written().await
    }

    async fn notice_put_off(&self, id: OperationId, delay: Duration) -> Result<()> {
        let done = self.answer(|state, now| state.notice_put_off(id, delay, now));
        done.written().await
    }

    async fn offered(
        &self,
        partition: Partition,
        after: Option<OfferedPlace>,
        limit: usize,
    ) -> Result<(Vec<(OperationId, Stamp)>, Option<OfferedPlace>)> {
        Ok(self.state().offered(partition, after, limit))
    }

    async fn reoffer(
        &self,
        id: OperationId,
        seen: Stamp,
        delay: Duration,
    ) -> Result<Option<Stamp>> {
        let stamp = self.state().reoffer(id, seen, delay, self.clock.now());
        self.changes.fetch_add(1, Ordering::Release);
        Ok(stamp)
    }

    async fn stamp(&self, partition: Partition) -> Result<Stamp> {
        self.answer(|state, now| state.stamp(partition, now))
            .written()
            .await
    }

    async fn marker_returned(&self, marker: &Marker) -> Result<()> {
        self.state().marker_returned(marker);
        Ok(())
    }

    async fn markers(&self) -> Result<Vec<Marker>> {
        Ok(self.state().markers())
    }

    async fn list(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<Page> {
        let page = self.answer(|state, _| Lacking::new(state.list(filter, before, limit), state));
        self.filled(page).await
    }

    async fn list_summaries(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<Page<Summary>> {
        let page = self.answer(|state, _| state.list_summaries(filter, before, limit));
        page.written().await
    }

    async fn counts(&self) -> Result<Counts> {
        self.answer(|state, _| state.counts()).written().await
    }

    async fn reserve(&self, keys: &[Reservation]) -> Result<Vec<Reserved>> {
        let now = self.clock.now();
        let held: Vec<Reserved> = {
            let mut state = self.state();
            let keys = keys.iter();
            keys.map(|key| state.reserve(*key, now)).collect()
        };
        if held.iter().eq(keys.iter().map(|wanted| &wanted.reserved)) {
            // It tells of nothing. The create that follows waits, and is written after this
            // or with it.
            return Ok(held);
        }
        self.answer(|_, _| held).written().await
    }

    async fn were_removed(&self, ids: &[OperationId]) -> Result<Vec<bool>> {
        let removed = self.answer(|state, now| {
            let ids = ids.iter();
            ids.map(|id| state.was_removed(*id, now)).collect()
        });
        removed.written().await
    }

    async fn note_minor(&self, minor: u16) -> Result<u16> {
        self.answer(|state, _| state.note_minor(minor))
            .written()
            .await
    }

    async fn check(&self) -> Result<()> {
        let writer = self.writer.as_ref();
        writer.map_or(Ok(()), |writer| writer.check())
    }

    async fn incarnation(&self) -> Result<String> {
        Ok(self.incarnation.clone())
    }
}

//! The store port over a [`State`]: a mutex, a clock, and a broadcast of the
//! operations that are Completed.
//!
//! No verb waits, so every future is done at its first poll, and a cancellation
//! cannot interrupt a verb halfway.

mod actions;
mod audit;
mod check;
mod pauses;
mod queues;
mod rollups;
mod served;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::store::{
    ALONG_BYTES, ChainPlace, Commit, Committed, Counts, Created, Ended, Filter, Holding, LastOffer,
    Lock, Neighbourhood, NewOperation, Notice, OfferedPlace, OutboxLook, OutboxPage, Page,
    Recorded, Renewal, ReportParts, Reservation, Reserved, Result, Room, Runnable, Stamp, Store,
    Summary, Transacted, Work, check_distinct, check_keys,
};
use drumline_backend::{MemberId, Random};
use drumline_protocol::message::Marker;
use drumline_protocol::transition::EndClass;
use drumline_protocol::{
    Fence, Operation, OperationId, Output, Partition, PartitionCount, QueueName, Report, Timestamp,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::broadcast;

use self::served::{limit, written, written_commit};
use crate::clock::Clock;
use crate::rollups::Rollups;
use crate::roundtrip::through_codec;
use crate::state::State;

/// The number of completions that a slow listener may be behind before it
/// misses some.
const COMPLETIONS: usize = 4096;

/// The store of the embedded backend: a [`State`] behind a mutex.
#[derive(Debug)]
pub struct EmbeddedStore {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    rollups: Mutex<Rollups>,
    completions: broadcast::Sender<OperationId>,
    incarnation: String,
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
        Self {
            clock,
            state: Mutex::new(State::new(partitions)),
            rollups: Mutex::default(),
            completions: broadcast::Sender::new(COMPLETIONS),
            incarnation,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
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

    async fn create(&self, operations: Vec<NewOperation>) -> Result<Vec<Created>> {
        check_keys(&operations, self.partitions())?;
        let mut answers = Vec::new();
        for new in operations {
            let new = written(new)?;
            answers.push(self.state().create(new, self.clock.now()));
        }
        Ok(answers)
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Committed>> {
        let mut answers = Vec::new();
        let mut room = Room::new(ALONG_BYTES);
        for commit in commits {
            let (id, ends) = (commit.id, commit.effects.end.is_some());
            let commit = written_commit(commit)?;
            let mut answer = self.state().commit(commit, self.clock.now());
            if ends && matches!(answer, Committed::Done(_)) {
                self.tell(id);
            }
            if let Committed::Done(done) = &mut answer {
                limit(done, &mut room);
            }
            answers.push(answer);
        }
        Ok(answers)
    }

    async fn transact(
        &self,
        creates: Vec<NewOperation>,
        commits: Vec<Commit>,
    ) -> Result<Transacted> {
        check_distinct(&creates, &commits)?;
        check_keys(&creates, self.partitions())?;
        let creates = creates.into_iter().map(written).collect::<Result<_>>()?;
        let ends = commits.iter().filter(|commit| commit.effects.end.is_some());
        let ending: Vec<OperationId> = ends.map(|commit| commit.id).collect();
        let commits = commits
            .into_iter()
            .map(written_commit)
            .collect::<Result<_>>()?;
        let mut answer = self.state().transact(creates, commits, self.clock.now());
        if let Transacted::Done { committed, .. } = &mut answer {
            let mut room = Room::new(ALONG_BYTES);
            committed.iter_mut().for_each(|done| limit(done, &mut room));
            for id in ending {
                self.tell(id);
            }
        }
        Ok(answer)
    }

    async fn get(&self, ids: &[OperationId]) -> Result<Vec<Option<Operation>>> {
        let state = self.state();
        Ok(ids.iter().map(|id| state.get(*id)).collect())
    }

    async fn summaries(&self, ids: &[OperationId]) -> Result<Vec<Option<Summary>>> {
        let state = self.state();
        Ok(ids.iter().map(|id| state.summary(*id)).collect())
    }

    async fn history(&self, id: OperationId) -> Result<Option<Recorded>> {
        Ok(self.state().history(id))
    }

    async fn outputs(&self, id: OperationId) -> Result<Vec<Output>> {
        Ok(self.state().outputs(id))
    }

    async fn report(
        &self,
        id: OperationId,
        holding: Holding,
        report: &Report,
        parts: ReportParts,
    ) -> Result<bool> {
        let report = through_codec(report)?;
        Ok(self.state().report(id, holding, report, parts))
    }

    async fn renew(&self, locks: &[(OperationId, Holding)]) -> Result<Vec<Renewal>> {
        let mut state = self.state();
        let answers = locks.iter().map(|(id, holding)| state.renew(*id, *holding));
        Ok(answers.collect())
    }

    async fn stop_requests(&self, holder: MemberId) -> Result<Vec<(OperationId, Fence)>> {
        Ok(self.state().stop_requests(holder))
    }

    async fn locks(&self, partition: Partition) -> Result<Vec<Lock>> {
        Ok(self.state().locks(partition))
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
        let now = self.clock.now();
        Ok(self.state().outbox_entries(partition, look, now))
    }

    async fn with_work(&self, work: Work, partitions: &[Partition]) -> Result<Vec<Partition>> {
        let (state, now) = (self.state(), self.clock.now());
        let with_work = partitions.iter().copied();
        Ok(with_work
            .filter(|partition| state.has_work(*partition, work, now))
            .collect())
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
        Ok(self.state().chain_place(id, near))
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
        Ok(self.state().ended(partition, class, after, until, limit))
    }

    async fn ended_since(&self, after: Stamp, limit: usize) -> Result<Ended> {
        Ok(self.state().ended_since(after, limit))
    }

    async fn notices(&self, partition: Partition, limit: usize) -> Result<Vec<Notice>> {
        Ok(self.state().notices(partition, limit, self.clock.now()))
    }

    async fn notices_owed(&self, ids: &[OperationId]) -> Result<Vec<bool>> {
        let state = self.state();
        Ok(ids.iter().map(|id| state.is_notice_owed(*id)).collect())
    }

    async fn notice_done(&self, id: OperationId) -> Result<()> {
        self.state().notice_done(id);
        Ok(())
    }

    async fn notice_later(&self, id: OperationId, delay: Duration) -> Result<()> {
        self.state().notice_later(id, delay, self.clock.now());
        Ok(())
    }

    async fn notice_put_off(&self, id: OperationId, delay: Duration) -> Result<()> {
        self.state().notice_put_off(id, delay, self.clock.now());
        Ok(())
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
        Ok(self.state().reoffer(id, seen, delay, self.clock.now()))
    }

    async fn stamp(&self, partition: Partition) -> Result<Stamp> {
        Ok(self.state().stamp(partition, self.clock.now()))
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
        Ok(self.state().list(filter, before, limit))
    }

    async fn list_summaries(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<Page<Summary>> {
        Ok(self.state().list_summaries(filter, before, limit))
    }

    async fn counts(&self) -> Result<Counts> {
        Ok(self.state().counts())
    }

    async fn reserve(&self, keys: &[Reservation]) -> Result<Vec<Reserved>> {
        let now = self.clock.now();
        let mut state = self.state();
        Ok(keys.iter().map(|key| state.reserve(*key, now)).collect())
    }

    async fn were_removed(&self, ids: &[OperationId]) -> Result<Vec<bool>> {
        let now = self.clock.now();
        let state = self.state();
        Ok(ids.iter().map(|id| state.was_removed(*id, now)).collect())
    }

    async fn note_minor(&self, minor: u16) -> Result<u16> {
        Ok(self.state().note_minor(minor))
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn incarnation(&self) -> Result<String> {
        Ok(self.incarnation.clone())
    }
}

//! A store that a test can make unavailable, slow, or faulty.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::store::{
    ActionStore, ActionWrite, AuditEntry, AuditPlace, AuditStore, ChainPlace, CheckPage, CheckStep,
    CheckStore, Commit, Committed, Counts, Created, Ended, Error, FailureBatch, FailureGroup,
    FailureHours, Filter, Holding, IdleFate, IdleQueue, LastOffer, Lock, Neighbourhood,
    NewOperation, Notice, OfferedPlace, OpenAction, OutboxLook, OutboxPage, Page, PauseCopy,
    PauseStore, Pauses, QueueStore, QueueUse, Recorded, Released, Renewal, ReportParts,
    Reservation, Reserved, Resolution, Result, Rollup, RollupBatch, RollupKey, RollupStore,
    Runnable, Stamp, Summary, Transacted, Usage, UsageStore, Work, WorkFound,
};
use drumline_backend::{MemberId, Store};
use drumline_protocol::message::Marker;
use drumline_protocol::transition::{EndClass, LockEffect};
use drumline_protocol::{
    ActionId, BulkAction, ChainKey, CommitId, FailureKey, Fence, Mute, Operation, OperationId,
    Organization, Output, Partition, PartitionCount, Pause, QueueName, Report, ScopeKey, Timestamp,
};
use tokio::sync::{broadcast, watch};

/// Passes everything on, except the calls that it is set to fail.
pub(crate) struct FaultyStore {
    store: Arc<dyn Store>,
    /// Renewals are never answered.
    pub(crate) mute: AtomicBool,
    /// Renewals panic.
    pub(crate) panics: AtomicBool,
    /// Every second renewal and every second look for requests to stop is lost:
    /// neither an answer nor an error comes.
    pub(crate) every_second_is_lost: AtomicBool,
    /// The number of renewals.
    pub(crate) renewals: AtomicU32,
    /// The number of looks for requests to stop.
    pub(crate) looks: AtomicU32,
    /// No commit is made.
    pub(crate) down: AtomicBool,
    /// The store says that calls share writes.
    pub(crate) shares_writes: AtomicBool,
    /// Commits that release a lock are answered while this is true.
    pub(crate) ends: watch::Sender<bool>,
    /// Reads of whole operations are answered while this is true.
    pub(crate) reads: watch::Sender<bool>,
    /// The number of commits that are made, and their answers lost.
    pub(crate) lost_answers: AtomicU32,
    /// The number of creates that are made, and their answers lost.
    pub(crate) lost_creates: AtomicU32,
    /// The number of renewals that fail.
    pub(crate) failed_renewals: AtomicU32,
    /// The number of commits that were refused because the store was down.
    pub(crate) refused: AtomicU32,
    /// The number of markers that cannot be noted.
    pub(crate) lost_markers: AtomicU32,
}

impl FaultyStore {
    pub(crate) fn over(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            mute: AtomicBool::new(false),
            panics: AtomicBool::new(false),
            every_second_is_lost: AtomicBool::new(false),
            renewals: AtomicU32::new(0),
            looks: AtomicU32::new(0),
            down: AtomicBool::new(false),
            shares_writes: AtomicBool::new(false),
            ends: watch::Sender::new(true),
            reads: watch::Sender::new(true),
            lost_answers: AtomicU32::new(0),
            lost_creates: AtomicU32::new(0),
            failed_renewals: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            lost_markers: AtomicU32::new(0),
        })
    }
}

/// The part of a call that is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    /// The store never sees the call.
    Request,
    /// The caller never sees the answer.
    Answer,
}

impl FaultyStore {
    /// Counts a call. Returns the part of it that is lost, if any.
    fn is_every_second(&self, calls: &AtomicU32) -> Option<Lost> {
        let number = calls.fetch_add(1, Ordering::AcqRel);
        let is_lost = self.every_second_is_lost.load(Ordering::Acquire) && number.is_multiple_of(2);
        let part = if number.is_multiple_of(4) {
            Lost::Request
        } else {
            Lost::Answer
        };
        is_lost.then_some(part)
    }
}

/// Returns true if an answer arrives; if not, one fewer is lost from then on.
fn is_kept(lost: &AtomicU32) -> bool {
    lost.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1))
        .is_err()
}

fn unavailable() -> Error {
    Error::Unavailable {
        message: "told so".to_owned(),
        source: None,
    }
}

#[async_trait]
impl Store for FaultyStore {
    fn partitions(&self) -> PartitionCount {
        self.store.partitions()
    }

    fn now(&self) -> Timestamp {
        self.store.now()
    }

    fn completions(&self) -> broadcast::Receiver<OperationId> {
        self.store.completions()
    }

    fn take_lost(&self) -> u64 {
        self.store.take_lost()
    }

    fn take_unreadable(&self) -> u64 {
        self.store.take_unreadable()
    }

    async fn create(&self, operations: Vec<NewOperation>) -> Result<Vec<Created>> {
        let answers = self.store.create(operations).await?;
        is_kept(&self.lost_creates)
            .then_some(answers)
            .ok_or_else(unavailable)
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Committed>> {
        if self.down.load(Ordering::Acquire) {
            self.refused.fetch_add(1, Ordering::AcqRel);
            return Err(unavailable());
        }
        let ends = |commit: &Commit| commit.effects.lock == LockEffect::Release;
        let has_end = commits.iter().any(ends);
        let answers = self.store.commit(commits).await?;
        if has_end {
            let mut answered = self.ends.subscribe();
            drop(answered.wait_for(|answered| *answered).await);
        }
        is_kept(&self.lost_answers)
            .then_some(answers)
            .ok_or_else(unavailable)
    }

    async fn transact(
        &self,
        creates: Vec<NewOperation>,
        commits: Vec<Commit>,
    ) -> Result<Transacted> {
        self.store.transact(creates, commits).await
    }

    fn shares_writes(&self) -> bool {
        self.shares_writes.load(Ordering::Acquire)
    }

    async fn get(&self, ids: &[OperationId]) -> Result<Vec<Option<Operation>>> {
        let mut answered = self.reads.subscribe();
        drop(answered.wait_for(|answered| *answered).await);
        self.store.get(ids).await
    }

    async fn summaries(&self, ids: &[OperationId]) -> Result<Vec<Option<Summary>>> {
        self.store.summaries(ids).await
    }

    async fn history(&self, id: OperationId) -> Result<Option<Recorded>> {
        self.store.history(id).await
    }

    async fn outputs(&self, id: OperationId) -> Result<Vec<Output>> {
        self.store.outputs(id).await
    }

    async fn report(
        &self,
        id: OperationId,
        holding: Holding,
        report: &Report,
        parts: ReportParts,
    ) -> Result<bool> {
        self.store.report(id, holding, report, parts).await
    }

    async fn renew(&self, locks: &[(OperationId, Holding)]) -> Result<Vec<Renewal>> {
        assert!(!self.panics.load(Ordering::Acquire), "told to panic");
        if self.mute.load(Ordering::Acquire) {
            std::future::pending::<()>().await;
        }
        if !is_kept(&self.failed_renewals) {
            return Err(unavailable());
        }
        let is_lost = self.is_every_second(&self.renewals);
        if is_lost == Some(Lost::Request) {
            std::future::pending::<()>().await;
        }
        let answers = self.store.renew(locks).await;
        if is_lost == Some(Lost::Answer) {
            std::future::pending::<()>().await;
        }
        answers
    }

    async fn stop_requests(&self, holder: MemberId) -> Result<Vec<(OperationId, Fence)>> {
        if self.is_every_second(&self.looks).is_some() {
            std::future::pending::<()>().await;
        }
        self.store.stop_requests(holder).await
    }

    async fn locks(&self, partition: Partition) -> Result<Vec<Lock>> {
        self.store.locks(partition).await
    }

    async fn lock(&self, id: OperationId) -> Result<Option<Lock>> {
        self.store.lock(id).await
    }

    async fn remove_from_outbox(&self, entries: &[(OperationId, Stamp)]) -> Result<()> {
        self.store.remove_from_outbox(entries).await
    }

    async fn outbox_entries(&self, partition: Partition, look: &OutboxLook) -> Result<OutboxPage> {
        self.store.outbox_entries(partition, look).await
    }

    async fn changes(&self) -> Result<u64> {
        self.store.changes().await
    }

    async fn with_work(&self, work: Work, partitions: &[Partition]) -> Result<WorkFound> {
        self.store.with_work(work, partitions).await
    }

    async fn runnable(
        &self,
        partition: Partition,
        queue: &QueueName,
        most: usize,
        sample: usize,
    ) -> Result<Runnable> {
        self.store.runnable(partition, queue, most, sample).await
    }

    async fn last_offer(&self, id: OperationId) -> Result<Option<LastOffer>> {
        self.store.last_offer(id).await
    }

    async fn chain_place(
        &self,
        id: OperationId,
        near: Neighbourhood,
    ) -> Result<Option<ChainPlace>> {
        self.store.chain_place(id, near).await
    }

    async fn due(&self, partition: Partition, limit: usize) -> Result<Vec<OperationId>> {
        self.store.due(partition, limit).await
    }

    async fn ended(
        &self,
        partition: Partition,
        class: EndClass,
        after: Stamp,
        until: Stamp,
        limit: usize,
    ) -> Result<Vec<(OperationId, Stamp)>> {
        let store = &self.store;
        store.ended(partition, class, after, until, limit).await
    }

    async fn ended_since(&self, after: Stamp, limit: usize) -> Result<Ended> {
        self.store.ended_since(after, limit).await
    }

    async fn notices(&self, partition: Partition, limit: usize) -> Result<Vec<Notice>> {
        self.store.notices(partition, limit).await
    }

    async fn notices_owed(&self, ids: &[OperationId]) -> Result<Vec<bool>> {
        self.store.notices_owed(ids).await
    }

    async fn notice_done(&self, id: OperationId) -> Result<()> {
        self.store.notice_done(id).await
    }

    async fn notice_later(&self, id: OperationId, delay: Duration) -> Result<()> {
        self.store.notice_later(id, delay).await
    }

    async fn notice_put_off(&self, id: OperationId, delay: Duration) -> Result<()> {
        self.store.notice_put_off(id, delay).await
    }

    async fn offered(
        &self,
        partition: Partition,
        after: Option<OfferedPlace>,
        limit: usize,
    ) -> Result<(Vec<(OperationId, Stamp)>, Option<OfferedPlace>)> {
        self.store.offered(partition, after, limit).await
    }

    async fn enter_offered(&self, partition: Partition, limit: usize) -> Result<bool> {
        self.store.enter_offered(partition, limit).await
    }

    async fn reoffer(
        &self,
        id: OperationId,
        seen: Stamp,
        delay: Duration,
    ) -> Result<Option<Stamp>> {
        self.store.reoffer(id, seen, delay).await
    }

    async fn stamp(&self, partition: Partition) -> Result<Stamp> {
        self.store.stamp(partition).await
    }

    async fn marker_returned(&self, marker: &Marker) -> Result<()> {
        if !is_kept(&self.lost_markers) {
            return Err(unavailable());
        }
        self.store.marker_returned(marker).await
    }

    async fn markers(&self) -> Result<Vec<Marker>> {
        self.store.markers().await
    }

    async fn list(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<Page> {
        self.store.list(filter, before, limit).await
    }

    async fn list_summaries(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<Page<Summary>> {
        self.store.list_summaries(filter, before, limit).await
    }

    async fn counts(&self) -> Result<Counts> {
        self.store.counts().await
    }

    async fn reserve(&self, keys: &[Reservation]) -> Result<Vec<Reserved>> {
        self.store.reserve(keys).await
    }

    async fn were_removed(&self, ids: &[OperationId]) -> Result<Vec<bool>> {
        self.store.were_removed(ids).await
    }

    async fn note_minor(&self, minor: u16) -> Result<u16> {
        self.store.note_minor(minor).await
    }

    async fn check(&self) -> Result<()> {
        self.store.check().await
    }

    async fn incarnation(&self) -> Result<String> {
        self.store.incarnation().await
    }
}

#[async_trait]
impl AuditStore for FaultyStore {
    async fn append_audit(&self, batch: CommitId, entries: &[String]) -> Result<()> {
        self.store.append_audit(batch, entries).await
    }

    async fn audit_before(
        &self,
        place: Option<AuditPlace>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>> {
        self.store.audit_before(place, limit).await
    }
}

#[async_trait]
impl PauseStore for FaultyStore {
    async fn pauses(&self) -> Result<Pauses> {
        self.store.pauses().await
    }

    async fn set_pause(&self, pause: &Pause) -> Result<()> {
        self.store.set_pause(pause).await
    }

    async fn lift_pause(&self, key: ScopeKey) -> Result<bool> {
        self.store.lift_pause(key).await
    }

    async fn lift_ended_pauses(&self) -> Result<usize> {
        self.store.lift_ended_pauses().await
    }

    async fn copy_pauses(&self, pauses: &Pauses, partitions: &[Partition]) -> Result<()> {
        self.store.copy_pauses(pauses, partitions).await
    }

    async fn pause_copies(&self, partitions: &[Partition]) -> Result<Vec<PauseCopy>> {
        self.store.pause_copies(partitions).await
    }

    async fn release_held(
        &self,
        partition: Partition,
        after: Option<ScopeKey>,
        limit: usize,
    ) -> Result<Released> {
        self.store.release_held(partition, after, limit).await
    }
}

#[async_trait]
impl ActionStore for FaultyStore {
    async fn put_action(&self, action: &BulkAction) -> Result<ActionWrite> {
        self.store.put_action(action).await
    }

    async fn action(&self, id: ActionId) -> Result<Option<BulkAction>> {
        self.store.action(id).await
    }

    async fn actions(
        &self,
        organization: &Organization,
        before: Option<ActionId>,
        limit: usize,
    ) -> Result<Vec<BulkAction>> {
        self.store.actions(organization, before, limit).await
    }

    async fn open_actions(&self, limit: usize) -> Result<Vec<OpenAction>> {
        self.store.open_actions(limit).await
    }

    async fn remove_actions(&self, before: Timestamp) -> Result<usize> {
        self.store.remove_actions(before).await
    }
}

#[async_trait]
impl RollupStore for FaultyStore {
    async fn add_rollup(&self, batch: &RollupBatch) -> Result<()> {
        self.store.add_rollup(batch).await
    }

    async fn rollup_keys(&self, since: Timestamp, until: Timestamp) -> Result<Vec<RollupKey>> {
        self.store.rollup_keys(since, until).await
    }

    async fn rollups(
        &self,
        keys: &[RollupKey],
        resolution: Resolution,
        first: u64,
        count: u64,
    ) -> Result<Vec<Vec<Rollup>>> {
        self.store.rollups(keys, resolution, first, count).await
    }

    async fn add_failures(&self, batch: &FailureBatch) -> Result<()> {
        self.store.add_failures(batch).await
    }

    async fn failure_groups(
        &self,
        organization: &Organization,
        limit: usize,
    ) -> Result<Vec<FailureGroup>> {
        self.store.failure_groups(organization, limit).await
    }

    async fn failure_hours(
        &self,
        organization: &Organization,
        keys: &[FailureKey],
        last: u64,
    ) -> Result<Vec<FailureHours>> {
        self.store.failure_hours(organization, keys, last).await
    }

    async fn failure_group(
        &self,
        organization: &Organization,
        key: FailureKey,
    ) -> Result<Option<FailureGroup>> {
        self.store.failure_group(organization, key).await
    }

    async fn mutes(
        &self,
        organization: &Organization,
        keys: &[FailureKey],
    ) -> Result<Vec<Option<Mute>>> {
        self.store.mutes(organization, keys).await
    }

    async fn mute(&self, organization: &Organization, key: FailureKey, mute: &Mute) -> Result<()> {
        self.store.mute(organization, key, mute).await
    }

    async fn unmute(&self, organization: &Organization, key: FailureKey) -> Result<bool> {
        self.store.unmute(organization, key).await
    }
}

#[async_trait]
impl CheckStore for FaultyStore {
    async fn check_step(&self, step: &CheckStep) -> Result<CheckPage> {
        self.store.check_step(step).await
    }
}

#[async_trait]
impl UsageStore for FaultyStore {
    async fn usage(&self, organization: &Organization) -> Result<Usage> {
        self.store.usage(organization).await
    }

    async fn chain_lengths(&self, chains: &[ChainKey]) -> Result<Vec<u64>> {
        self.store.chain_lengths(chains).await
    }

    async fn completed_bytes(&self, partitions: &[Partition]) -> Result<Vec<u64>> {
        self.store.completed_bytes(partitions).await
    }
}

#[async_trait]
impl QueueStore for FaultyStore {
    async fn use_queue(&self, wanted: &QueueUse, limit: Option<usize>) -> Result<bool> {
        self.store.use_queue(wanted, limit).await
    }

    async fn queues(&self, after: Option<&QueueName>, limit: usize) -> Result<Vec<QueueName>> {
        self.store.queues(after, limit).await
    }

    async fn idle_queues(&self, before: Timestamp, limit: usize) -> Result<Vec<IdleQueue>> {
        self.store.idle_queues(before, limit).await
    }

    async fn settle_queue(&self, idle: &QueueUse, before: Timestamp, fate: IdleFate) -> Result<()> {
        self.store.settle_queue(idle, before, fate).await
    }
}

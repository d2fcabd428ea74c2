//! The store of the backend that fails on demand.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::MemberId;
use drumline_backend::store::{
    ActionStore, ActionWrite, AuditEntry, AuditPlace, AuditStore, ChainPlace, CheckPage, CheckStep,
    CheckStore, Commit, Committed, Counts, Created, Ended, FailureBatch, FailureGroup,
    FailureHours, Filter, Holding, IdleFate, IdleQueue, LastOffer, Lock, Neighbourhood,
    NewOperation, Notice, OfferedPlace, OpenAction, OutboxLook, OutboxPage, Page, PauseCopy,
    PauseStore, Pauses, QueueStore, QueueUse, Recorded, Released, Renewal, ReportParts,
    Reservation, Reserved, Resolution, Result, Rollup, RollupBatch, RollupKey, RollupStore,
    Runnable, Stamp, Store, Summary, Transacted, Usage, UsageStore, Work, WorkFound,
};
use drumline_protocol::message::Marker;
use drumline_protocol::transition::EndClass;
use drumline_protocol::{
    ActionId, BulkAction, ChainKey, CommitId, FailureKey, Fence, Mute, Operation, OperationId,
    Organization, Output, Partition, PartitionCount, Pause, QueueName, Report, ScopeKey, Timestamp,
};
use tokio::sync::broadcast;

use super::{Faults, Faulty, LATE, SLOW_LOOK, SLOW_WRITE, STORE_PATIENCE, away};

impl Faulty {
    /// Counts a read of these operations, and fails it on demand.
    fn before_read(&self, ids: &[OperationId]) -> Result<()> {
        self.faults.reads.fetch_add(ids.len(), Ordering::Relaxed);
        if self.faults.reads_fail.load(Ordering::Relaxed) {
            return Err(away());
        }
        if self
            .faults
            .unreadable
            .get()
            .is_some_and(|id| ids.contains(id))
        {
            let later = drumline_protocol::codec::Error::Version {
                what: "header",
                found: 0xff,
                expected: 1,
            };
            return Err(later.into());
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Faulty {
    fn partitions(&self) -> PartitionCount {
        self.inner.store.partitions()
    }

    fn now(&self) -> Timestamp {
        self.inner.store.now()
    }

    fn completions(&self) -> broadcast::Receiver<OperationId> {
        self.inner.store.completions()
    }

    fn take_lost(&self) -> u64 {
        self.inner.store.take_lost()
    }

    fn take_unreadable(&self) -> u64 {
        self.inner.store.take_unreadable()
    }

    async fn create(&self, operations: Vec<NewOperation>) -> Result<Vec<Created>> {
        if self.faults.creates_time_out.load(Ordering::Relaxed) {
            tokio::time::sleep(STORE_PATIENCE).await;
            return Err(away());
        }
        if self.faults.next_create_fails.swap(false, Ordering::Relaxed) {
            return Err(away());
        }
        self.store("create").await?.create(operations).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Committed>> {
        let largest = &self.faults.largest_commit;
        largest.fetch_max(commits.len(), Ordering::Relaxed);
        let count = commits.len();
        let made = self.store("commit").await?.commit(commits).await;
        let left = &self.faults.commits_until_away;
        let before = left.load(Ordering::Relaxed);
        left.store(before.saturating_sub(count), Ordering::Relaxed);
        if (1..=count).contains(&before) {
            Faults::set(&self.faults.store_is_away, true);
        }
        made
    }

    async fn transact(
        &self,
        creates: Vec<NewOperation>,
        commits: Vec<Commit>,
    ) -> Result<Transacted> {
        if self.faults.transactions_are_refused.load(Ordering::Relaxed) {
            return Err(away());
        }
        self.store("transact")
            .await?
            .transact(creates, commits)
            .await
    }

    async fn get(&self, ids: &[OperationId]) -> Result<Vec<Option<Operation>>> {
        self.before_read(ids)?;
        self.store("get").await?.get(ids).await
    }

    async fn summaries(&self, ids: &[OperationId]) -> Result<Vec<Option<Summary>>> {
        self.before_read(ids)?;
        self.store("get").await?.summaries(ids).await
    }

    async fn history(&self, id: OperationId) -> Result<Option<Recorded>> {
        self.store("history").await?.history(id).await
    }

    async fn outputs(&self, id: OperationId) -> Result<Vec<Output>> {
        self.store("outputs").await?.outputs(id).await
    }

    async fn report(
        &self,
        id: OperationId,
        holding: Holding,
        report: &Report,
        parts: ReportParts,
    ) -> Result<bool> {
        let store = self.store("report").await?;
        store.report(id, holding, report, parts).await
    }

    async fn renew(&self, locks: &[(OperationId, Holding)]) -> Result<Vec<Renewal>> {
        self.store("renew").await?.renew(locks).await
    }

    async fn stop_requests(&self, holder: MemberId) -> Result<Vec<(OperationId, Fence)>> {
        self.store("stop_requests")
            .await?
            .stop_requests(holder)
            .await
    }

    async fn locks(&self, partition: Partition) -> Result<Vec<Lock>> {
        self.store("locks").await?.locks(partition).await
    }

    async fn lock(&self, id: OperationId) -> Result<Option<Lock>> {
        self.store("lock").await?.lock(id).await
    }

    async fn remove_from_outbox(&self, entries: &[(OperationId, Stamp)]) -> Result<()> {
        self.store("remove_from_outbox")
            .await?
            .remove_from_outbox(entries)
            .await
    }

    async fn outbox_entries(&self, partition: Partition, look: &OutboxLook) -> Result<OutboxPage> {
        let store = self.store("outbox_entries").await?;
        store.outbox_entries(partition, look).await
    }

    async fn changes(&self) -> Result<u64> {
        self.store("changes").await?.changes().await
    }

    async fn with_work(&self, work: Work, partitions: &[Partition]) -> Result<WorkFound> {
        let call = match work {
            Work::Outbox => "with outbox",
            Work::Offered => "with offered",
            Work::Locks => "with locks",
            Work::Due => "with due",
            Work::Notices => "with notices",
            Work::Ended(..) => "with ended",
        };
        let store = self.store(call).await?;
        let slow = &self.faults.slow_looks;
        let is_slow = work == Work::Due
            && slow
                .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok();
        if is_slow {
            tokio::time::sleep(LATE).await;
        }
        store.with_work(work, partitions).await
    }

    async fn runnable(
        &self,
        partition: Partition,
        queue: &QueueName,
        most: usize,
        sample: usize,
    ) -> Result<Runnable> {
        let store = self.store("runnable").await?;
        store.runnable(partition, queue, most, sample).await
    }

    async fn last_offer(&self, id: OperationId) -> Result<Option<LastOffer>> {
        self.store("last_offer").await?.last_offer(id).await
    }

    async fn chain_place(
        &self,
        id: OperationId,
        near: Neighbourhood,
    ) -> Result<Option<ChainPlace>> {
        self.store("chain_place").await?.chain_place(id, near).await
    }

    async fn due(&self, partition: Partition, limit: usize) -> Result<Vec<OperationId>> {
        self.store("due").await?.due(partition, limit).await
    }

    async fn ended(
        &self,
        partition: Partition,
        class: EndClass,
        after: Stamp,
        until: Stamp,
        limit: usize,
    ) -> Result<Vec<(OperationId, Stamp)>> {
        let store = self.store("ended").await?;
        store.ended(partition, class, after, until, limit).await
    }

    async fn ended_since(&self, after: Stamp, limit: usize) -> Result<Ended> {
        self.faults.ends_asked.fetch_add(1, Ordering::Relaxed);
        self.store("ended_since")
            .await?
            .ended_since(after, limit)
            .await
    }

    async fn notices(&self, partition: Partition, limit: usize) -> Result<Vec<Notice>> {
        self.store("notices").await?.notices(partition, limit).await
    }

    async fn notices_owed(&self, ids: &[OperationId]) -> Result<Vec<bool>> {
        self.store("notices_owed").await?.notices_owed(ids).await
    }

    async fn notice_done(&self, id: OperationId) -> Result<()> {
        self.store("notice_done").await?.notice_done(id).await
    }

    async fn notice_later(&self, id: OperationId, delay: Duration) -> Result<()> {
        self.store("notice_later")
            .await?
            .notice_later(id, delay)
            .await
    }

    async fn notice_put_off(&self, id: OperationId, delay: Duration) -> Result<()> {
        self.store("notice_put_off")
            .await?
            .notice_put_off(id, delay)
            .await
    }

    async fn offered(
        &self,
        partition: Partition,
        after: Option<OfferedPlace>,
        limit: usize,
    ) -> Result<(Vec<(OperationId, Stamp)>, Option<OfferedPlace>)> {
        self.store("offered")
            .await?
            .offered(partition, after, limit)
            .await
    }

    async fn enter_offered(&self, partition: Partition, limit: usize) -> Result<bool> {
        let store = self.store("enter_offered").await?;
        store.enter_offered(partition, limit).await
    }

    async fn reoffer(
        &self,
        id: OperationId,
        seen: Stamp,
        delay: Duration,
    ) -> Result<Option<Stamp>> {
        self.store("reoffer").await?.reoffer(id, seen, delay).await
    }

    async fn stamp(&self, partition: Partition) -> Result<Stamp> {
        self.store("stamp").await?.stamp(partition).await
    }

    async fn marker_returned(&self, marker: &Marker) -> Result<()> {
        self.store("marker_returned")
            .await?
            .marker_returned(marker)
            .await
    }

    async fn markers(&self) -> Result<Vec<Marker>> {
        self.store("markers").await?.markers().await
    }

    async fn list(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<Page> {
        self.store("list").await?.list(filter, before, limit).await
    }

    async fn list_summaries(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<Page<Summary>> {
        let store = self.store("list").await?;
        store.list_summaries(filter, before, limit).await
    }

    async fn counts(&self) -> Result<Counts> {
        self.store("counts").await?.counts().await
    }

    async fn reserve(&self, keys: &[Reservation]) -> Result<Vec<Reserved>> {
        self.store("reserve").await?.reserve(keys).await
    }

    async fn were_removed(&self, ids: &[OperationId]) -> Result<Vec<bool>> {
        self.store("were_removed").await?.were_removed(ids).await
    }

    async fn note_minor(&self, minor: u16) -> Result<u16> {
        self.store("note_minor").await?.note_minor(minor).await
    }

    async fn check(&self) -> Result<()> {
        self.store("check").await?.check().await
    }

    async fn incarnation(&self) -> Result<String> {
        self.store("incarnation").await?.incarnation().await
    }
}

/// The audit stream is written behind the answers, at any time: it is not among the
/// calls that tests count.
#[async_trait]
impl AuditStore for Faulty {
    async fn append_audit(&self, batch: CommitId, entries: &[String]) -> Result<()> {
        self.there()?;
        self.inner.store.append_audit(batch, entries).await
    }

    async fn audit_before(
        &self,
        place: Option<AuditPlace>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>> {
        self.store("audit_before")
            .await?
            .audit_before(place, limit)
            .await
    }
}

#[async_trait]
impl PauseStore for Faulty {
    async fn pauses(&self) -> Result<Pauses> {
        self.store("pauses").await?.pauses().await
    }

    async fn set_pause(&self, pause: &Pause) -> Result<()> {
        self.store("set_pause").await?.set_pause(pause).await
    }

    async fn lift_pause(&self, key: ScopeKey) -> Result<bool> {
        self.store("lift_pause").await?.lift_pause(key).await
    }

    async fn lift_ended_pauses(&self) -> Result<usize> {
        self.store("lift_ended_pauses")
            .await?
            .lift_ended_pauses()
            .await
    }

    async fn copy_pauses(&self, pauses: &Pauses, partitions: &[Partition]) -> Result<()> {
        self.store("copy_pauses")
            .await?
            .copy_pauses(pauses, partitions)
            .await
    }

    async fn pause_copies(&self, partitions: &[Partition]) -> Result<Vec<PauseCopy>> {
        self.store("pause_copies")
            .await?
            .pause_copies(partitions)
            .await
    }

    async fn release_held(
        &self,
        partition: Partition,
        after: Option<ScopeKey>,
        limit: usize,
    ) -> Result<Released> {
        let store = self.store("release_held").await?;
        store.release_held(partition, after, limit).await
    }
}

#[async_trait]
impl ActionStore for Faulty {
    async fn put_action(&self, action: &BulkAction) -> Result<ActionWrite> {
        let failing = &self.faults.failing_action_write;
        let left = failing.load(Ordering::Relaxed);
        failing.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 1 {
            return Err(away());
        }
        let written = self.store("put_action").await?.put_action(action).await;
        if self.faults.actions_are_slow.load(Ordering::Relaxed) {
            // Behind the write: before it, every other write would be a conflict.
            tokio::time::sleep(SLOW_WRITE).await;
        }
        written
    }

    async fn action(&self, id: ActionId) -> Result<Option<BulkAction>> {
        self.store("action").await?.action(id).await
    }

    async fn actions(
        &self,
        organization: &Organization,
        before: Option<ActionId>,
        limit: usize,
    ) -> Result<Vec<BulkAction>> {
        let store = self.store("actions").await?;
        store.actions(organization, before, limit).await
    }

    async fn open_actions(&self, limit: usize) -> Result<Vec<OpenAction>> {
        if self.faults.open_actions_are_slow.load(Ordering::Relaxed) {
            tokio::time::sleep(SLOW_LOOK).await;
        }
        self.store("open_actions").await?.open_actions(limit).await
    }

    async fn remove_actions(&self, before: Timestamp) -> Result<usize> {
        let store = self.store("remove_actions").await?;
        store.remove_actions(before).await
    }
}

#[async_trait]
impl RollupStore for Faulty {
    async fn add_rollup(&self, batch: &RollupBatch) -> Result<()> {
        self.store("add_rollup").await?.add_rollup(batch).await
    }

    async fn rollup_keys(&self, since: Timestamp, until: Timestamp) -> Result<Vec<RollupKey>> {
        self.store("rollup_keys")
            .await?
            .rollup_keys(since, until)
            .await
    }

    async fn rollups(
        &self,
        keys: &[RollupKey],
        resolution: Resolution,
        first: u64,
        count: u64,
    ) -> Result<Vec<Vec<Rollup>>> {
        let store = self.store("rollups").await?;
        store.rollups(keys, resolution, first, count).await
    }

    async fn add_failures(&self, batch: &FailureBatch) -> Result<()> {
        self.store("add_failures").await?.add_failures(batch).await
    }

    async fn failure_groups(
        &self,
        organization: &Organization,
        limit: usize,
    ) -> Result<Vec<FailureGroup>> {
        let store = self.store("failure_groups").await?;
        store.failure_groups(organization, limit).await
    }

    async fn failure_hours(
        &self,
        organization: &Organization,
        keys: &[FailureKey],
        last: u64,
    ) -> Result<Vec<FailureHours>> {
        let store = self.store("failure_hours").await?;
        store.failure_hours(organization, keys, last).await
    }

    async fn failure_group(
        &self,
        organization: &Organization,
        key: FailureKey,
    ) -> Result<Option<FailureGroup>> {
        self.store("failure_group")
            .await?
            .failure_group(organization, key)
            .await
    }

    async fn mutes(
        &self,
        organization: &Organization,
        keys: &[FailureKey],
    ) -> Result<Vec<Option<Mute>>> {
        self.store("mutes").await?.mutes(organization, keys).await
    }

    async fn mute(&self, organization: &Organization, key: FailureKey, mute: &Mute) -> Result<()> {
        self.store("mute")
            .await?
            .mute(organization, key, mute)
            .await
    }

    async fn unmute(&self, organization: &Organization, key: FailureKey) -> Result<bool> {
        self.store("unmute").await?.unmute(organization, key).await
    }
}

#[async_trait]
impl CheckStore for Faulty {
    async fn check_step(&self, step: &CheckStep) -> Result<CheckPage> {
        self.store("check_step").await?.check_step(step).await
    }
}

#[async_trait]
impl UsageStore for Faulty {
    async fn usage(&self, organization: &Organization) -> Result<Usage> {
        self.store("usage").await?.usage(organization).await
    }

    async fn chain_lengths(&self, chains: &[ChainKey]) -> Result<Vec<u64>> {
        let store = self.store("chain_lengths").await?;
        store.chain_lengths(chains).await
    }

    async fn completed_bytes(&self, partitions: &[Partition]) -> Result<Vec<u64>> {
        let store = self.store("completed_bytes").await?;
        store.completed_bytes(partitions).await
    }
}

#[async_trait]
impl QueueStore for Faulty {
    async fn use_queue(&self, wanted: &QueueUse, limit: Option<usize>) -> Result<bool> {
        self.store("use_queue")
            .await?
            .use_queue(wanted, limit)
            .await
    }

    async fn queues(&self, after: Option<&QueueName>, limit: usize) -> Result<Vec<QueueName>> {
        self.store("queues").await?.queues(after, limit).await
    }

    async fn idle_queues(&self, before: Timestamp, limit: usize) -> Result<Vec<IdleQueue>> {
        self.store("idle_queues")
            .await?
            .idle_queues(before, limit)
            .await
    }

    async fn settle_queue(&self, idle: &QueueUse, before: Timestamp, fate: IdleFate) -> Result<()> {
        self.store("settle_queue")
            .await?
            .settle_queue(idle, before, fate)
            .await
    }
}

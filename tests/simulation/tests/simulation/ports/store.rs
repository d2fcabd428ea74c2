//! The store of one process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::store::{
    ActionStore, ActionWrite, AuditEntry, AuditPlace, AuditStore, ChainPlace, CheckPage, CheckStep,
    CheckStore, Commit, Committed, Counts, Created, Ended, FailureBatch, FailureGroup,
    FailureHours, Filter, Holding, IdleFate, IdleQueue, LastOffer, Lock, Neighbourhood,
    NewOperation, Notice, OfferedPlace, OpenAction, OutboxLook, OutboxPage, Page, PauseCopy,
    PauseStore, Pauses, QueueStore, QueueUse, Recorded, Released, Renewal, ReportParts,
    Reservation, Reserved, Resolution, Result, Rollup, RollupBatch, RollupKey, RollupStore,
    Runnable, Stamp, Summary, Transacted, Usage, UsageStore, Work, WorkFound,
};
use drumline_backend::{MemberId, Store};
use drumline_protocol::message::Marker;
use drumline_protocol::transition::EndClass;
use drumline_protocol::{
    ActionId, BulkAction, ChainKey, CommitId, FailureKey, Fence, Mute, Operation, OperationId,
    Organization, Output, Partition, PartitionCount, Pause, QueueName, Report, ScopeKey, Timestamp,
};
use tokio::sync::broadcast;

use super::store_silent;
use crate::link::{Link, Server};

pub(super) struct SimulatedStore {
    pub(super) store: Arc<dyn Store>,
    pub(super) link: Arc<Link>,
}

/// Calls that pass through the link, one as the other.
macro_rules! through_link {
    (
        impl $port:ident { $($known:tt)* }
        $( $name:ident ( $( $argument:ident : $type:ty ),* ) -> $answer:ty; )*
    ) => {
        #[async_trait]
        impl $port for SimulatedStore {
            $($known)*

            $(
                async fn $name(&self, $( $argument: $type ),*) -> Result<$answer> {
                    let call = self.store.$name($( $argument ),*);
                    let answer = self.link.call(Server::Store, stringify!($name), call).await;
                    answer.map_err(store_silent)?
                }
            )*
        }
    };
}

through_link! {
    impl Store {
        fn partitions(&self) -> PartitionCount {
            self.store.partitions()
        }

        fn now(&self) -> Timestamp {
            self.store.now()
        }

        fn completions(&self) -> broadcast::Receiver<OperationId> {
            self.store.completions()
        }
    }
    create(operations: Vec<NewOperation>) -> Vec<Created>;
    commit(commits: Vec<Commit>) -> Vec<Committed>;
    transact(creates: Vec<NewOperation>, commits: Vec<Commit>) -> Transacted;
    get(ids: &[OperationId]) -> Vec<Option<Operation>>;
    summaries(ids: &[OperationId]) -> Vec<Option<Summary>>;
    history(id: OperationId) -> Option<Recorded>;
    outputs(id: OperationId) -> Vec<Output>;
    report(id: OperationId, holding: Holding, report: &Report, parts: ReportParts) -> bool;
    renew(locks: &[(OperationId, Holding)]) -> Vec<Renewal>;
    stop_requests(holder: MemberId) -> Vec<(OperationId, Fence)>;
    locks(partition: Partition) -> Vec<Lock>;
    lock(id: OperationId) -> Option<Lock>;
    remove_from_outbox(entries: &[(OperationId, Stamp)]) -> ();
    outbox_entries(partition: Partition, look: &OutboxLook) -> OutboxPage;
    with_work(work: Work, partitions: &[Partition]) -> WorkFound;
    changes() -> u64;
    runnable(partition: Partition, queue: &QueueName, most: usize, sample: usize) -> Runnable;
    last_offer(id: OperationId) -> Option<LastOffer>;
    chain_place(id: OperationId, near: Neighbourhood) -> Option<ChainPlace>;
    due(partition: Partition, limit: usize) -> Vec<OperationId>;
    ended(partition: Partition, class: EndClass, after: Stamp, until: Stamp, limit: usize)
        -> Vec<(OperationId, Stamp)>;
    ended_since(after: Stamp, limit: usize) -> Ended;
    notices(partition: Partition, limit: usize) -> Vec<Notice>;
    notices_owed(ids: &[OperationId]) -> Vec<bool>;
    notice_done(id: OperationId) -> ();
    notice_later(id: OperationId, delay: Duration) -> ();
    notice_put_off(id: OperationId, delay: Duration) -> ();
    offered(partition: Partition, after: Option<OfferedPlace>, limit: usize)
        -> (Vec<(OperationId, Stamp)>, Option<OfferedPlace>);
    enter_offered(partition: Partition, limit: usize) -> bool;
    reoffer(id: OperationId, seen: Stamp, delay: Duration) -> Option<Stamp>;
    stamp(partition: Partition) -> Stamp;
    marker_returned(marker: &Marker) -> ();
    markers() -> Vec<Marker>;
    list(filter: &Filter, before: Option<OperationId>, limit: usize) -> Page;
    list_summaries(filter: &Filter, before: Option<OperationId>, limit: usize) -> Page<Summary>;
    counts() -> Counts;
    reserve(keys: &[Reservation]) -> Vec<Reserved>;
    were_removed(ids: &[OperationId]) -> Vec<bool>;
    note_minor(minor: u16) -> u16;
    check() -> ();
    incarnation() -> String;
}

through_link! {
    impl PauseStore {}
    pauses() -> Pauses;
    set_pause(pause: &Pause) -> ();
    lift_pause(key: ScopeKey) -> bool;
    lift_ended_pauses() -> usize;
    copy_pauses(pauses: &Pauses, partitions: &[Partition]) -> ();
    pause_copies(partitions: &[Partition]) -> Vec<PauseCopy>;
    release_held(partition: Partition, after: Option<ScopeKey>, limit: usize) -> Released;
}

through_link! {
    impl ActionStore {}
    put_action(action: &BulkAction) -> ActionWrite;
    action(id: ActionId) -> Option<BulkAction>;
    actions(organization: &Organization, before: Option<ActionId>, limit: usize)
        -> Vec<BulkAction>;
    open_actions(limit: usize) -> Vec<OpenAction>;
    remove_actions(before: Timestamp) -> usize;
}

through_link! {
    impl AuditStore {}
    append_audit(batch: CommitId, entries: &[String]) -> ();
    audit_before(place: Option<AuditPlace>, limit: usize) -> Vec<AuditEntry>;
}

through_link! {
    impl RollupStore {}
    add_rollup(batch: &RollupBatch) -> ();
    rollup_keys(since: Timestamp, until: Timestamp) -> Vec<RollupKey>;
    rollups(keys: &[RollupKey], resolution: Resolution, first: u64, count: u64)
        -> Vec<Vec<Rollup>>;
    add_failures(batch: &FailureBatch) -> ();
    failure_groups(organization: &Organization, limit: usize) -> Vec<FailureGroup>;
    failure_hours(organization: &Organization, keys: &[FailureKey], last: u64)
        -> Vec<FailureHours>;
    failure_group(organization: &Organization, key: FailureKey) -> Option<FailureGroup>;
    mutes(organization: &Organization, keys: &[FailureKey]) -> Vec<Option<Mute>>;
    mute(organization: &Organization, key: FailureKey, mute: &Mute) -> ();
    unmute(organization: &Organization, key: FailureKey) -> bool;
}

through_link! {
    impl CheckStore {}
    check_step(step: &CheckStep) -> CheckPage;
}

through_link! {
    impl UsageStore {}
    usage(organization: &Organization) -> Usage;
    chain_lengths(chains: &[ChainKey]) -> Vec<u64>;
    completed_bytes(partitions: &[Partition]) -> Vec<u64>;
}

through_link! {
    impl QueueStore {}
    use_queue(wanted: &QueueUse, limit: Option<usize>) -> bool;
    queues(after: Option<&QueueName>, limit: usize) -> Vec<QueueName>;
    idle_queues(before: Timestamp, limit: usize) -> Vec<IdleQueue>;
    settle_queue(idle: &QueueUse, before: Timestamp, fate: IdleFate) -> ();
}

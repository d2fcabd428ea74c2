//! The store on Redis: each verb is a file in here.

mod actions;
mod audit;
mod batches;
mod chain;
mod check;
mod commit;
mod create;
mod created;
mod due;
mod effect_codes;
mod ends;
mod history;
mod imports;
mod indexes;
mod listing;
mod locks;
mod markers;
mod notices;
mod outbox;
mod outputs;
mod parts;
mod pauses;
mod queues;
mod read;
mod reservations;
mod rollups;
mod transact;
mod unreadable;
mod usage;
mod work;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::store::{
    ChainPlace, Commit, Committed, Counts, Created, Ended, Error, Filter, Holding, LastOffer, Lock,
    Neighbourhood, NewOperation, Notice, OfferedPlace, OutboxLook, OutboxPage, Page, Recorded,
    Renewal, ReportParts, Reservation, Reserved, Result, Runnable, Stamp, Summary, Transacted,
    Work, WorkFound,
};
use drumline_backend::{CriticalTasks, MemberId, Store};
use drumline_protocol::message::Marker;
use drumline_protocol::transition::EndClass;
use drumline_protocol::{
    Fence, Operation, OperationId, Output, Partition, PartitionCount, QueueName, Report, Timestamp,
};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::indexes::{IndexUse, RebuildStep};
use self::listing::Holders;
use self::notices::Tries;
use self::unreadable::Unreadable;
use crate::accepted::{self, Accepted};
use crate::clock::{self, Clock};
use crate::completions::{self, Completions};
use crate::keys::Keys;
use crate::link::{BoundedLink, Link};
use crate::options::Options;
use crate::replicas::Replicas;
use crate::server_info::{self, ServerInfo};
use crate::store_format;

/// A store on Redis, with one connection of its own; a second one for requests and
/// answers that may be large; and a third one for [`Store::completions`]. The
/// further ones are made when they are first needed.
///
/// [`RedisStore::connect`] may be called any number of times with the same
/// options: each store has a connection of its own, so its requests never queue
/// behind those of another store. Renew leases through a store that does
/// nothing else.
///
/// The store's tasks run on the runtime that it was connected on, and end when
/// it is dropped. Use it on that runtime.
#[derive(Debug)]
pub struct RedisStore {
    link: Link,
    records: BoundedLink,
    /// Waits for replicas, if that is wanted.
    replicas: Option<Replicas>,
    keys: Keys,
    partitions: PartitionCount,
    clock: Arc<Clock>,
    accepted: Arc<Accepted>,
    completions: Arc<Completions>,
    runtime: Handle,
    critical: CriticalTasks,
    /// Records that were left out.
    unreadable: Unreadable,
    /// Operations that are known to hold their chain, or not to.
    holders: Holders,
    // The tasks are aborted on drop. The lock is held for a moment, never
    // across an await.
    tasks: Mutex<JoinSet<()>>,
}

impl RedisStore {
    /// Connects; makes the store if there is none in this namespace.
    ///
    /// Dropping the future may leave a made, empty store behind.
    ///
    /// # Errors
    /// [`Unavailable`](drumline_backend::store::Error::Unavailable) when Redis
    /// does not answer within the patience;
    /// [`Unfit`](drumline_backend::store::Error::Unfit) when it must not be
    /// used: it would evict records, is a replica, a sentinel, or a cluster node where one
    /// server is named, refuses the credentials, or holds a store of another format.
    pub async fn connect(options: &Options) -> Result<Self> {
        let namespace = options.checked_namespace()?;
        let link = Link::new(options)?;
        if link.is_cluster() && options.wait_replicas > 0 {
            return Err(Error::Unfit(
                "waiting for replicas (--redis-wait-replicas) is not possible on a Redis Cluster: \
                 min-replicas-to-write 1 on its nodes bounds what a promotion loses"
                    .to_owned(),
            ));
        }
        judge_all(&link).await?;
        let partitions = store_format::settle(&link, namespace, options.partitions).await?;
        let clock = Arc::new(Clock::start(&link).await?);
        let mut tasks = JoinSet::new();
        if let Some(sentinels) = link.sentinels().cloned() {
            let following = async move { sentinels.follow().await };
            tasks.spawn(lasting(
                &options.critical,
                "sentinels of the store",
                following,
            ));
        }
        if link.is_cluster() {
            let (link, clock) = (link.clone(), Arc::clone(&clock));
            let following = async move { link.follow(&clock).await };
            tasks.spawn(lasting(
                &options.critical,
                "cluster of the store",
                following,
            ));
        }
        let keeping = clock::keep(Arc::clone(&clock), link.clone());
        tasks.spawn(lasting(&options.critical, "clock of the store", keeping));
        let keys = || match link.is_cluster() {
            false => Keys::new(namespace, partitions),
            true => Keys::spread(namespace, partitions),
        };
        let (watched, keys) = (keys(), keys());
        let (life, _heard) = link.life().await?;
        let accepted = Arc::new(Accepted::default());
        let watching = accepted::watch(Arc::clone(&accepted), link.clone(), watched, life);
        tasks.spawn(lasting(&options.critical, "accepted operations", watching));
        link.require_growth(Arc::clone(&clock), &keys).await?;
        let replicas = (options.wait_replicas > 0).then(|| {
            let (link, count) = (link.another(), options.wait_replicas);
            let (replicas, waiting) = Replicas::new(link, count, keys.probe());
            tasks.spawn(lasting(&options.critical, "waiting for replicas", waiting));
            replicas
        });
        Ok(Self {
            keys,
            replicas,
            records: BoundedLink::beside(&link),
            link,
            partitions,
            clock,
            accepted,
            completions: Arc::new(Completions::new()),
            runtime: Handle::current(),
            critical: options.critical.clone(),
            unreadable: Unreadable::default(),
            holders: Holders::default(),
            tasks: Mutex::new(tasks),
        })
    }

    /// Returns the facts that the server reports about itself now; in a cluster, the node
    /// that has the keys of the store itself.
    ///
    /// # Errors
    /// When the server is unavailable.
    pub async fn inspect(&self) -> Result<ServerInfo> {
        server_info::read(&self.link).await
    }

    /// Returns the data that its servers may lose, each with the remedy, as
    /// [`ServerInfo::risks`](crate::ServerInfo::risks) does.
    ///
    /// # Errors
    /// When a server is unavailable.
    pub async fn risks(&self) -> Result<BTreeSet<String>> {
        let mut risks = BTreeSet::new();
        for (place, server) in self.link.each().await? {
            match server_info::read(&server).await {
                Ok(info) => risks.extend(info.risks()),
                // The other nodes are used meanwhile.
                Err(error) if place.is_none() => return Err(error),
                Err(error) => tracing::debug!(?place, %error, "a node does not answer"),
            }
        }
        Ok(risks)
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    pub(crate) fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }
}

/// Fails if one of the servers must not be used. The others of a cluster are used while a node
/// is gone.
async fn judge_all(link: &Link) -> Result<()> {
    let (mut is_any, mut failure) = (false, None);
    for (place, server) in link.each().await? {
        match server_info::read(&server).await {
            Ok(info) => {
                info.judge(place.as_ref())?;
                is_any = true;
            }
            Err(error @ Error::Unavailable { .. }) => {
                if let Some(place) = place {
                    tracing::warn!(%place, %error, "a node of the Redis Cluster is gone: what it has waits");
                }
                failure = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match failure {
        Some(failure) if !is_any => Err(failure),
        _ => Ok(()),
    }
}

/// A task that lasts as long as the store, which aborts it when it is dropped.
fn lasting<F: Future<Output = ()>>(
    critical: &CriticalTasks,
    name: &'static str,
    task: F,
) -> impl Future<Output = ()> + use<F> {
    let guarded = critical.guard(name, &CancellationToken::new(), task);
    async move {
        // The failure is reported already.
        let _failed = guarded.await;
    }
}

#[async_trait]
impl Store for RedisStore {
    fn partitions(&self) -> PartitionCount {
        self.partitions
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn completions(&self) -> broadcast::Receiver<OperationId> {
        let (receiver, first) = self.completions.subscribe();
        if first {
            let channel = self.keys.completions();
            let heard = Arc::clone(&self.completions);
            let listening = completions::listen(self.link.clone(), channel, heard);
            let mut tasks = self.tasks.lock();
            tasks.spawn_on(
                lasting(&self.critical, "completions", listening),
                &self.runtime,
            );
        }
        receiver
    }

    fn take_unreadable(&self) -> u64 {
        self.unreadable.take()
    }

    fn unreadable(&self) -> Vec<String> {
        self.unreadable.latest()
    }

    fn take_lost(&self) -> u64 {
        self.accepted.take_lost()
    }

    async fn create(&self, operations: Vec<NewOperation>) -> Result<Vec<Created>> {
        self.create_all(&operations).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> Result<Vec<Committed>> {
        self.commit_all(&commits).await
    }

    async fn transact(
        &self,
        creates: Vec<NewOperation>,
        commits: Vec<Commit>,
    ) -> Result<Transacted> {
        self.transact_all(&creates, &commits).await
    }

    fn spreads_transactions(&self) -> bool {
        !self.link.is_cluster()
    }

    async fn get(&self, ids: &[OperationId]) -> Result<Vec<Option<Operation>>> {
        self.get_all(ids).await
    }

    async fn summaries(&self, ids: &[OperationId]) -> Result<Vec<Option<Summary>>> {
        self.all_summaries(ids).await
    }

    async fn history(&self, id: OperationId) -> Result<Option<Recorded>> {
        self.history_of(id).await
    }

    async fn outputs(&self, id: OperationId) -> Result<Vec<Output>> {
        self.outputs_of(id).await
    }

    async fn report(
        &self,
        id: OperationId,
        holding: Holding,
        report: &Report,
        parts: ReportParts,
    ) -> Result<bool> {
        self.write_report(id, holding, report, parts).await
    }

    async fn renew(&self, locks: &[(OperationId, Holding)]) -> Result<Vec<Renewal>> {
        self.renew_all(locks).await
    }

    async fn stop_requests(&self, holder: MemberId) -> Result<Vec<(OperationId, Fence)>> {
        self.stop_requests_of(holder).await
    }

    async fn locks(&self, partition: Partition) -> Result<Vec<Lock>> {
        self.locks_of(partition).await
    }

    async fn lock(&self, id: OperationId) -> Result<Option<Lock>> {
        self.lock_of(id).await
    }

    async fn remove_from_outbox(&self, entries: &[(OperationId, Stamp)]) -> Result<()> {
        self.take_out(entries).await
    }

    async fn outbox_entries(&self, partition: Partition, look: &OutboxLook) -> Result<OutboxPage> {
        self.older_entries(partition, look).await
    }

    async fn with_work(&self, work: Work, partitions: &[Partition]) -> Result<WorkFound> {
        self.partitions_with(work, partitions).await
    }

    async fn changes(&self) -> Result<u64> {
        self.count_of_changes().await
    }

    async fn runnable(
        &self,
        partition: Partition,
        queue: &QueueName,
        most: usize,
        sample: usize,
    ) -> Result<Runnable> {
        self.runnable_of(partition, queue, most, sample).await
    }

    async fn last_offer(&self, id: OperationId) -> Result<Option<LastOffer>> {
        self.offer_of(id).await
    }

    async fn chain_place(
        &self,
        id: OperationId,
        near: Neighbourhood,
    ) -> Result<Option<ChainPlace>> {
        self.place_in_chain(id, near).await
    }

    async fn due(&self, partition: Partition, limit: usize) -> Result<Vec<OperationId>> {
        self.due_now(partition, limit).await
    }

    async fn ended(
        &self,
        partition: Partition,
        class: EndClass,
        after: Stamp,
        until: Stamp,
        limit: usize,
    ) -> Result<Vec<(OperationId, Stamp)>> {
        self.ended_between(partition, class, (after, until), limit)
            .await
    }

    async fn ended_since(&self, after: Stamp, limit: usize) -> Result<Ended> {
        self.ended_after(after, limit).await
    }

    async fn notices(&self, partition: Partition, limit: usize) -> Result<Vec<Notice>> {
        self.notices_now(partition, limit).await
    }

    async fn notices_owed(&self, ids: &[OperationId]) -> Result<Vec<bool>> {
        self.are_owed(ids).await
    }

    async fn notice_done(&self, id: OperationId) -> Result<()> {
        self.forget_notice(id).await
    }

    async fn notice_later(&self, id: OperationId, delay: Duration) -> Result<()> {
        self.move_notice(id, delay, Tries::One).await
    }

    async fn notice_put_off(&self, id: OperationId, delay: Duration) -> Result<()> {
        self.move_notice(id, delay, Tries::None).await
    }

    async fn offered(
        &self,
        partition: Partition,
        after: Option<OfferedPlace>,
        limit: usize,
    ) -> Result<(Vec<(OperationId, Stamp)>, Option<OfferedPlace>)> {
        self.offered_after(partition, after, limit).await
    }

    async fn enter_offered(&self, partition: Partition, limit: usize) -> Result<bool> {
        self.enter_some(partition, limit).await
    }

    async fn reoffer(
        &self,
        id: OperationId,
        seen: Stamp,
        delay: Duration,
    ) -> Result<Option<Stamp>> {
        self.offer_again(id, seen, delay).await
    }

    async fn stamp(&self, partition: Partition) -> Result<Stamp> {
        self.fresh_stamp(partition).await
    }

    async fn marker_returned(&self, marker: &Marker) -> Result<()> {
        self.note_marker(marker).await
    }

    async fn markers(&self) -> Result<Vec<Marker>> {
        self.latest_markers().await
    }

    async fn list(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<Page> {
        self.page(filter, before, limit).await
    }

    async fn list_summaries(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> Result<Page<Summary>> {
        self.page(filter, before, limit).await
    }

    async fn counts(&self) -> Result<Counts> {
        self.count_all().await
    }

    async fn reserve(&self, keys: &[Reservation]) -> Result<Vec<Reserved>> {
        self.reserve_keys(keys).await
    }

    async fn were_removed(&self, ids: &[OperationId]) -> Result<Vec<bool>> {
        self.have_tombstones(ids).await
    }

    async fn note_minor(&self, minor: u16) -> Result<u16> {
        store_format::note_minor(&self.link, &self.keys, minor).await
    }

    async fn check(&self) -> Result<()> {
        store_format::check(&self.link, &self.keys).await
    }

    async fn incarnation(&self) -> Result<String> {
        server_info::run_id(&self.link).await
    }
}

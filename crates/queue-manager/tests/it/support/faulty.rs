//! A backend that fails on demand.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::broker::{self, Backlog, Broker, Bypassed, Subscription, Trouble};
use drumline_backend::limiter::{Acquired, LimitKey, Limiter, Limits, PermitId, Release};
use drumline_backend::store::{
    self, Commit, Committed, Counts, Created, Ended, Filter, LastOffer, Lock, NewOperation, Notice,
    Page, Promoted, Renewal, Reservation, Stamp, Store, Transacted,
};
use drumline_backend::{Backend, Member, MemberId, Membership};
use drumline_protocol::message::{Marker, Message, Route};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{
    Fence, Operation, OperationId, Partition, PartitionCount, Report, Timestamp,
};
use tokio::sync::broadcast;

/// The time that a store takes before it reports that it is unavailable.
pub(crate) const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// The present faults.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// The store, and with it membership and limiter, does not answer.
    pub(crate) store_is_away: AtomicBool,
    /// The next create is not made.
    pub(crate) next_create_fails: AtomicBool,
    /// A create is not answered for as long as a store may take.
    pub(crate) creates_time_out: AtomicBool,
    /// The broker reports that it takes nothing.
    pub(crate) broker_is_blocked: AtomicBool,
    /// The broker reports that it takes everything, and takes nothing.
    pub(crate) publishes_fail: AtomicBool,
    /// The number of the broker's connection.
    pub(crate) connection: AtomicU64,
    /// These queues take nothing, and report why.
    pub(crate) broken: Mutex<BTreeMap<Route, Trouble>>,
    /// The broker confirms everything, and keeps nothing.
    pub(crate) broker_forgets: AtomicBool,
    /// The store takes operations, and shows none.
    pub(crate) reads_fail: AtomicBool,
    /// The most commits that came in one call, as it was last reset.
    pub(crate) largest_commit: AtomicUsize,
    /// The number of reads of ends, over all partitions.
    pub(crate) ends_asked: AtomicUsize,
    /// Records that were read.
    pub(crate) reads: AtomicUsize,
    /// The record of this operation was written by a later release.
    pub(crate) unreadable: OnceLock<OperationId>,
}

impl Faults {
    pub(crate) fn set(fault: &AtomicBool, on: bool) {
        fault.store(on, Ordering::Relaxed);
    }
}

/// A backend around another, and the switches.
pub(crate) fn faulty(inner: &Backend) -> (Backend, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let wrapped = Arc::new(Faulty {
        inner: inner.clone(),
        faults: Arc::clone(&faults),
    });
    let backend = Backend {
        store: Arc::clone(&wrapped) as Arc<dyn Store>,
        broker: Arc::clone(&wrapped) as Arc<dyn Broker>,
        membership: Arc::clone(&wrapped) as Arc<dyn Membership>,
        limiter: wrapped,
    };
    (backend, faults)
}

fn away() -> store::Error {
    store::Error::Unavailable {
        message: "switched off by the test".to_owned(),
        source: None,
    }
}

struct Faulty {
    inner: Backend,
    faults: Arc<Faults>,
}

impl Faulty {
    /// The store, if it is there. As on a network, other tasks get a turn
    /// before it answers.
    async fn store(&self) -> store::Result<&dyn Store> {
        self.there()?;
        tokio::task::yield_now().await;
        Ok(self.inner.store.as_ref())
    }

    fn there(&self) -> store::Result<()> {
        if self.faults.store_is_away.load(Ordering::Relaxed) {
            return Err(away());
        }
        Ok(())
    }
}

#[async_trait]
impl Broker for Faulty {
    async fn publish(&self, messages: &[(Route, Message)]) -> Vec<broker::Result<()>> {
        if self.faults.publishes_fail.load(Ordering::Relaxed) {
            let refuse = |_message| Err(broker::Error::Refused);
            return messages.iter().map(refuse).collect();
        }
        if self.faults.broker_forgets.load(Ordering::Relaxed) {
            return messages.iter().map(|_message| Ok(())).collect();
        }
        let broken = self.faults.broken.lock().expect("not poisoned").clone();
        let mut answers = Vec::new();
        for message in messages {
            let (route, _) = message;
            if let Some(trouble) = broken.get(route) {
                answers.push(Err(broker::Error::Queue {
                    route: route.clone(),
                    trouble: trouble.clone(),
                }));
                continue;
            }
            answers.extend(
                self.inner
                    .broker
                    .publish(std::slice::from_ref(message))
                    .await,
            );
        }
        answers
    }

    fn connection_number(&self) -> u64 {
        self.faults.connection.load(Ordering::Relaxed)
    }

    fn bypassed(&self) -> Vec<Bypassed> {
        let broken = self.faults.broken.lock().expect("not poisoned").clone();
        let bypassed = broken.into_iter();
        bypassed
            .map(|(route, trouble)| Bypassed { route, trouble })
            .collect()
    }

    async fn subscribe(
        &self,
        route: &Route,
        prefetch: NonZeroU16,
    ) -> broker::Result<Box<dyn Subscription>> {
        self.inner.broker.subscribe(route, prefetch).await
    }

    async fn backlog(&self, route: &Route) -> broker::Result<Option<Backlog>> {
        self.inner.broker.backlog(route).await
    }

    fn check(&self) -> broker::Result<()> {
        if self.faults.broker_is_blocked.load(Ordering::Relaxed) {
            return Err(broker::Error::Blocked {
                reason: "switched off by the test".to_owned(),
            });
        }
        self.inner.broker.check()
    }
}

#[async_trait]
impl Membership for Faulty {
    async fn beat(&self, member: &Member) -> store::Result<Vec<Member>> {
        self.there()?;
        self.inner.membership.beat(member).await
    }

    async fn leave(&self, id: MemberId) -> store::Result<()> {
        self.there()?;
        self.inner.membership.leave(id).await
    }

    async fn members(&self) -> store::Result<Vec<Member>> {
        self.there()?;
        self.inner.membership.members().await
    }
}

#[async_trait]
impl Limiter for Faulty {
    async fn acquire(
        &self,
        key: LimitKey,
        permit: Option<PermitId>,
        limits: &Limits,
    ) -> store::Result<Acquired> {
        self.there()?;
        self.inner.limiter.acquire(key, permit, limits).await
    }

    async fn renew(
        &self,
        inside: &[(LimitKey, PermitId)],
        lease: Duration,
    ) -> store::Result<Vec<bool>> {
        self.there()?;
        self.inner.limiter.renew(inside, lease).await
    }

    async fn release(&self, releases: &[Release]) -> store::Result<()> {
        self.there()?;
        self.inner.limiter.release(releases).await
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

    async fn create(&self, operations: Vec<NewOperation>) -> store::Result<Vec<Created>> {
        if self.faults.creates_time_out.load(Ordering::Relaxed) {
            tokio::time::sleep(STORE_PATIENCE).await;
            return Err(away());
        }
        if self.faults.next_create_fails.swap(false, Ordering::Relaxed) {
            return Err(away());
        }
        self.store().await?.create(operations).await
    }

    async fn commit(&self, commits: Vec<Commit>) -> store::Result<Vec<Committed>> {
        let largest = &self.faults.largest_commit;
        largest.fetch_max(commits.len(), Ordering::Relaxed);
        self.store().await?.commit(commits).await
    }

    async fn transact(
        &self,
        creates: Vec<NewOperation>,
        commits: Vec<Commit>,
    ) -> store::Result<Transacted> {
        self.store().await?.transact(creates, commits).await
    }

    async fn get(&self, ids: &[OperationId]) -> store::Result<Vec<Option<Operation>>> {
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
        self.store().await?.get(ids).await
    }

    async fn report(&self, id: OperationId, fence: Fence, report: &Report) -> store::Result<bool> {
        self.store().await?.report(id, fence, report).await
    }

    async fn renew(&self, locks: &[(OperationId, Fence)]) -> store::Result<Vec<Renewal>> {
        self.store().await?.renew(locks).await
    }

    async fn locks(&self, partition: Partition) -> store::Result<Vec<Lock>> {
        self.store().await?.locks(partition).await
    }

    async fn remove_from_outbox(&self, entries: &[(OperationId, Stamp)]) -> store::Result<()> {
        self.store().await?.remove_from_outbox(entries).await
    }

    async fn outbox_entries(
        &self,
        partition: Partition,
        age: Duration,
        after: Option<Stamp>,
        limit: usize,
    ) -> store::Result<Vec<Promoted>> {
        let store = self.store().await?;
        store.outbox_entries(partition, age, after, limit).await
    }

    async fn last_offer(&self, id: OperationId) -> store::Result<Option<LastOffer>> {
        self.store().await?.last_offer(id).await
    }

    async fn due(&self, partition: Partition, limit: usize) -> store::Result<Vec<OperationId>> {
        self.store().await?.due(partition, limit).await
    }

    async fn ended(
        &self,
        partition: Partition,
        class: EndClass,
        after: Stamp,
        until: Stamp,
        limit: usize,
    ) -> store::Result<Vec<(OperationId, Stamp)>> {
        let store = self.store().await?;
        store.ended(partition, class, after, until, limit).await
    }

    async fn ended_since(&self, after: Stamp, limit: usize) -> store::Result<Ended> {
        self.faults.ends_asked.fetch_add(1, Ordering::Relaxed);
        self.store().await?.ended_since(after, limit).await
    }

    async fn notices(&self, partition: Partition, limit: usize) -> store::Result<Vec<Notice>> {
        self.store().await?.notices(partition, limit).await
    }

    async fn notice_done(&self, id: OperationId) -> store::Result<()> {
        self.store().await?.notice_done(id).await
    }

    async fn notice_later(&self, id: OperationId, delay: Duration) -> store::Result<()> {
        self.store().await?.notice_later(id, delay).await
    }

    async fn notice_put_off(&self, id: OperationId, delay: Duration) -> store::Result<()> {
        self.store().await?.notice_put_off(id, delay).await
    }

    async fn offered(
        &self,
        partition: Partition,
        after: Option<OperationId>,
        limit: usize,
    ) -> store::Result<(Vec<(OperationId, Stamp)>, Option<OperationId>)> {
        self.store().await?.offered(partition, after, limit).await
    }

    async fn reoffer(
        &self,
        id: OperationId,
        seen: Stamp,
        delay: Duration,
    ) -> store::Result<Option<Stamp>> {
        self.store().await?.reoffer(id, seen, delay).await
    }

    async fn stamp(&self, partition: Partition) -> store::Result<Stamp> {
        self.store().await?.stamp(partition).await
    }

    async fn marker_returned(&self, marker: &Marker) -> store::Result<()> {
        self.store().await?.marker_returned(marker).await
    }

    async fn markers(&self) -> store::Result<Vec<Marker>> {
        self.store().await?.markers().await
    }

    async fn list(
        &self,
        filter: &Filter,
        before: Option<OperationId>,
        limit: usize,
    ) -> store::Result<Page> {
        self.store().await?.list(filter, before, limit).await
    }

    async fn counts(&self) -> store::Result<Counts> {
        self.store().await?.counts().await
    }

    async fn reserve(
        &self,
        key: [u8; 16],
        reservation: Reservation,
        keep: Duration,
    ) -> store::Result<Reservation> {
        self.store().await?.reserve(key, reservation, keep).await
    }

    async fn incarnation(&self) -> store::Result<String> {
        self.store().await?.incarnation().await
    }
}

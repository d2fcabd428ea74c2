//! A backend that fails on demand, and counts what it is asked.

mod store;

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::broker::{self, Backlog, Broker, Bypassed, Subscription, Trouble};
use drumline_backend::limiter::{Acquired, LimitKey, Limiter, Limits, PermitId, Release};
use drumline_backend::membership::{MemberPage, MemberPlace};
use drumline_backend::store::{Error, Result, Store};
use drumline_backend::{Backend, Member, MemberId, Membership, Roster};
use drumline_protocol::message::{Message, Route};
use drumline_protocol::{OperationId, PartitionCount, QueueName};

/// The time that a store takes before it reports that it is unavailable.
pub(crate) const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// The time that a slow write takes.
pub(crate) const SLOW_WRITE: Duration = Duration::from_millis(100);

/// The time that a slow look takes.
pub(crate) const SLOW_LOOK: Duration = Duration::from_secs(60);

/// The time by which a look reaches the store late.
pub(crate) const LATE: Duration = Duration::from_millis(15);

/// The present faults.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// The store, and with it membership and limiter, does not answer.
    pub(crate) store_is_away: AtomicBool,
    /// The next create is not made.
    pub(crate) next_create_fails: AtomicBool,
    /// Transactions are refused, as on a disk that is nearly full.
    pub(crate) transactions_are_refused: AtomicBool,
    /// A create is not answered for as long as a store may take.
    pub(crate) creates_time_out: AtomicBool,
    /// An action on many operations is written slowly, so that a test sees it between
    /// its pages.
    pub(crate) actions_are_slow: AtomicBool,
    /// The heads of the open actions are answered after a minute.
    pub(crate) open_actions_are_slow: AtomicBool,
    /// So many looks for what is due reach the store late.
    pub(crate) slow_looks: AtomicUsize,
    /// The number of commits after which the store does not answer any more; 0: it
    /// always does.
    pub(crate) commits_until_away: AtomicUsize,
    /// The number of the write of an action, from now on, that fails; 0: none.
    pub(crate) failing_action_write: AtomicUsize,
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
    /// The next call of this name is not answered.
    pub(crate) fails_at: Mutex<Option<&'static str>>,
    /// A call of this name panics.
    pub(crate) panics_at: Mutex<Option<&'static str>>,
    /// The calls of the store and of the broker's publish, in their order.
    calls: Mutex<Vec<&'static str>>,
}

impl Faults {
    pub(crate) fn set(fault: &AtomicBool, on: bool) {
        fault.store(on, Ordering::Relaxed);
    }

    /// Returns the calls since the last time that this was asked.
    pub(crate) fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.calls.lock().expect("not poisoned"))
    }

    fn fails_now(&self, call: &'static str) -> bool {
        let mut fails_at = self.fails_at.lock().expect("not poisoned");
        fails_at.take_if(|name| *name == call).is_some()
    }

    fn note(&self, call: &'static str) {
        let panics_at = *self.panics_at.lock().expect("not poisoned");
        assert_ne!(panics_at, Some(call), "told to panic");
        self.calls.lock().expect("not poisoned").push(call);
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
        critical: inner.critical.clone(),
    };
    (backend, faults)
}

fn away() -> Error {
    Error::Unavailable {
        message: "switched off by the test".to_owned(),
        source: None,
    }
}

struct Faulty {
    inner: Backend,
    faults: Arc<Faults>,
}

impl Faulty {
    /// The store, if it is there, for one call. As on a network, other tasks get
    /// a turn before it answers.
    async fn store(&self, call: &'static str) -> Result<&dyn Store> {
        self.faults.note(call);
        self.there()?;
        if self.faults.fails_now(call) {
            return Err(away());
        }
        tokio::task::yield_now().await;
        Ok(self.inner.store.as_ref())
    }

    fn there(&self) -> Result<()> {
        if self.faults.store_is_away.load(Ordering::Relaxed) {
            return Err(away());
        }
        Ok(())
    }
}

#[async_trait]
impl Broker for Faulty {
    async fn publish(&self, messages: &[(Route, Message)]) -> Vec<broker::Result<()>> {
        self.faults.note("publish");
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

    async fn remove_queue(
        &self,
        queue: &QueueName,
        partitions: PartitionCount,
    ) -> broker::Result<bool> {
        self.inner.broker.remove_queue(queue, partitions).await
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
    async fn beat(&self, member: &Member) -> Result<Arc<Roster>> {
        self.faults.note("beat");
        self.there()?;
        self.inner.membership.beat(member).await
    }

    async fn leave(&self, id: MemberId) -> Result<()> {
        self.there()?;
        self.inner.membership.leave(id).await
    }

    async fn ask_to_drain(&self, id: MemberId) -> Result<bool> {
        self.there()?;
        self.inner.membership.ask_to_drain(id).await
    }

    fn is_asked_to_drain(&self, id: MemberId) -> bool {
        self.inner.membership.is_asked_to_drain(id)
    }

    async fn roster(&self) -> Result<Arc<Roster>> {
        self.there()?;
        self.inner.membership.roster().await
    }

    async fn members(&self, after: Option<MemberPlace>, limit: usize) -> Result<MemberPage> {
        self.there()?;
        self.inner.membership.members(after, limit).await
    }
}

#[async_trait]
impl Limiter for Faulty {
    async fn acquire(
        &self,
        key: LimitKey,
        permit: Option<PermitId>,
        limits: &Limits,
    ) -> Result<Acquired> {
        self.there()?;
        self.inner.limiter.acquire(key, permit, limits).await
    }

    async fn renew(&self, inside: &[(LimitKey, PermitId)], lease: Duration) -> Result<Vec<bool>> {
        self.there()?;
        self.inner.limiter.renew(inside, lease).await
    }

    async fn release(&self, releases: &[Release]) -> Result<()> {
        self.there()?;
        self.inner.limiter.release(releases).await
    }
}

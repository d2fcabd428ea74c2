//! The ports of one process: those of the embedded backend, behind its link.

mod store;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::broker::{self, Backlog, Broker, Delivery, Receipt, Subscription};
use drumline_backend::limiter::{Acquired, LimitKey, Limits, PermitId, Release};
use drumline_backend::membership::{Member, MemberId, MemberPage, MemberPlace, Membership};
use drumline_backend::store as port;
use drumline_backend::{Backend, CriticalTasks, Limiter, Roster};
use drumline_backend_embedded::EmbeddedBroker;
use drumline_protocol::message::{Message, Route};
use drumline_protocol::{PartitionCount, QueueName};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::store::SimulatedStore;
use crate::link::{Link, NoAnswer, Server};

/// The servers, as the world has them.
#[derive(Clone)]
pub(crate) struct Servers {
    pub(crate) backend: Backend,
    pub(crate) broker: Arc<LosingBroker>,
}

impl Servers {
    pub(crate) fn new(backend: Backend) -> Self {
        Self {
            backend,
            broker: Arc::default(),
        }
    }

    /// The ports of a process.
    pub(crate) fn through(&self, link: &Arc<Link>) -> Backend {
        Backend {
            store: Arc::new(SimulatedStore {
                store: Arc::clone(&self.backend.store),
                link: Arc::clone(link),
            }),
            broker: Arc::new(SimulatedBroker {
                server: Arc::clone(&self.broker),
                link: Arc::clone(link),
            }),
            membership: Arc::new(SimulatedMembership {
                membership: Arc::clone(&self.backend.membership),
                link: Arc::clone(link),
            }),
            limiter: Arc::new(SimulatedLimiter {
                limiter: Arc::clone(&self.backend.limiter),
                link: Arc::clone(link),
            }),
            critical: CriticalTasks::default(),
        }
    }
}

/// A broker that can lose everything that is in it.
pub(crate) struct LosingBroker {
    now: Mutex<Arc<EmbeddedBroker>>,
    losses: watch::Sender<u64>,
}

impl Default for LosingBroker {
    fn default() -> Self {
        Self {
            now: Mutex::new(Arc::new(EmbeddedBroker::new())),
            losses: watch::Sender::new(0),
        }
    }
}

impl LosingBroker {
    fn now(&self) -> Arc<EmbeddedBroker> {
        Arc::clone(&self.now.lock())
    }

    /// Loses all messages and all connections.
    pub(crate) fn lose_everything(&self) {
        *self.now.lock() = Arc::new(EmbeddedBroker::new());
        self.losses.send_modify(|losses| *losses += 1);
    }
}

pub(crate) fn store_silent(_no_answer: NoAnswer) -> port::Error {
    port::Error::Unavailable {
        message: "no answer".to_owned(),
        source: None,
    }
}

fn broker_silent(_no_answer: NoAnswer) -> broker::Error {
    broker::Error::Unavailable {
        message: "no answer".to_owned(),
        source: None,
    }
}

struct SimulatedBroker {
    server: Arc<LosingBroker>,
    link: Arc<Link>,
}

#[async_trait]
impl Broker for SimulatedBroker {
    async fn publish(&self, messages: &[(Route, Message)]) -> Vec<broker::Result<()>> {
        let connection = self.connection();
        let server = self.server.now();
        let publishing = server.publish(messages);
        let answers = self.link.call(Server::Broker, "publish", publishing).await;
        match answers {
            Ok(answers) if connection.is_whole() => answers,
            Ok(_) | Err(NoAnswer) => {
                let none = messages.iter().map(|_| Err(broker_silent(NoAnswer)));
                none.collect()
            }
        }
    }

    async fn subscribe(
        &self,
        route: &Route,
        prefetch: NonZeroU16,
    ) -> broker::Result<Box<dyn Subscription>> {
        let connection = self.connection();
        let server = self.server.now();
        let subscribing = server.subscribe(route, prefetch);
        let subscribed = self
            .link
            .call(Server::Broker, "subscribe", subscribing)
            .await;
        let inner = subscribed.map_err(broker_silent)??;
        let (give, take) = mpsc::channel(1);
        let close = CancellationToken::new();
        let pump = Pump {
            connection,
            link: Arc::clone(&self.link),
            close: close.clone(),
        };
        let tasks = TaskTracker::new();
        tasks.spawn(pump.run(inner, give));
        tasks.close();
        Ok(Box::new(Taking { take, close, tasks }))
    }

    async fn backlog(&self, route: &Route) -> broker::Result<Option<Backlog>> {
        let server = self.server.now();
        let asking = server.backlog(route);
        let answer = self.link.call(Server::Broker, "backlog", asking).await;
        answer.map_err(broker_silent)?
    }

    async fn remove_queue(
        &self,
        queue: &QueueName,
        partitions: PartitionCount,
    ) -> broker::Result<bool> {
        let server = self.server.now();
        let removing = server.remove_queue(queue, partitions);
        let answer = self
            .link
            .call(Server::Broker, "remove_queue", removing)
            .await;
        answer.map_err(broker_silent)?
    }

    fn check(&self) -> broker::Result<()> {
        if self.link.is_cut(Server::Broker) {
            return Err(broker_silent(NoAnswer));
        }
        Ok(())
    }

    fn connection_number(&self) -> u64 {
        *self.server.losses.borrow() + self.link.breaks()
    }
}

/// The connection that a call began on.
struct Connection {
    losses: watch::Receiver<u64>,
    breaks: watch::Receiver<u64>,
}

impl SimulatedBroker {
    fn connection(&self) -> Connection {
        Connection {
            losses: self.server.losses.subscribe(),
            breaks: self.link.breaking(),
        }
    }
}

impl Connection {
    fn is_whole(&self) -> bool {
        let is_new = |seen: &watch::Receiver<u64>| seen.has_changed().unwrap_or(true);
        !is_new(&self.losses) && !is_new(&self.breaks)
    }

    /// Waits until the connection is gone, since the call began.
    async fn gone(mut self) {
        tokio::select! {
            biased;
            _ = self.losses.changed() => {}
            _ = self.breaks.changed() => {}
        }
    }
}

/// Moves deliveries from the broker to a process, until the connection breaks, or
/// the process dies: then the broker has back what was not acknowledged.
struct Pump {
    connection: Connection,
    link: Arc<Link>,
    close: CancellationToken,
}

impl Pump {
    async fn run(self, mut inner: Box<dyn Subscription>, give: mpsc::Sender<Delivery>) {
        let Self {
            connection,
            link,
            close,
        } = self;
        let moving = async {
            while let Ok(room) = give.reserve().await {
                let Some(delivery) = inner.next().await else {
                    return;
                };
                link.gate().await;
                room.send(Delivery {
                    message: delivery.message,
                    receipt: Box::new(SimulatedReceipt {
                        receipt: delivery.receipt,
                        link: Arc::clone(&link),
                    }),
                });
            }
        };
        tokio::select! {
            biased;
            () = link.dead() => {}
            () = connection.gone() => {}
            () = close.cancelled() => {}
            () = moving => {}
        }
    }
}

struct Taking {
    take: mpsc::Receiver<Delivery>,
    close: CancellationToken,
    tasks: TaskTracker,
}

#[async_trait]
impl Subscription for Taking {
    async fn next(&mut self) -> Option<Delivery> {
        self.take.recv().await
    }

    async fn close(mut self: Box<Self>) {
        self.close.cancel();
        self.take.close();
        self.tasks.wait().await;
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.close.cancel();
    }
}

struct SimulatedReceipt {
    receipt: Box<dyn Receipt>,
    link: Arc<Link>,
}

#[async_trait]
impl Receipt for SimulatedReceipt {
    async fn acknowledge(self: Box<Self>) -> broker::Result<()> {
        let acknowledging = self.receipt.acknowledge();
        let answer = self
            .link
            .call(Server::Broker, "acknowledge", acknowledging)
            .await;
        answer.map_err(broker_silent)?
    }
}

struct SimulatedMembership {
    membership: Arc<dyn Membership>,
    link: Arc<Link>,
}

#[async_trait]
impl Membership for SimulatedMembership {
    async fn beat(&self, member: &Member) -> port::Result<Arc<Roster>> {
        let call = self.membership.beat(member);
        let answer = self.link.call(Server::Store, "beat", call).await;
        answer.map_err(store_silent)?
    }

    async fn leave(&self, id: MemberId) -> port::Result<()> {
        let call = self.membership.leave(id);
        let answer = self.link.call(Server::Store, "leave", call).await;
        answer.map_err(store_silent)?
    }

    async fn ask_to_drain(&self, id: MemberId) -> port::Result<bool> {
        let call = self.membership.ask_to_drain(id);
        let answer = self.link.call(Server::Store, "ask_to_drain", call).await;
        answer.map_err(store_silent)?
    }

    fn is_asked_to_drain(&self, id: MemberId) -> bool {
        self.membership.is_asked_to_drain(id)
    }

    async fn roster(&self) -> port::Result<Arc<Roster>> {
        let call = self.membership.roster();
        let answer = self.link.call(Server::Store, "roster", call).await;
        answer.map_err(store_silent)?
    }

    async fn members(&self, after: Option<MemberPlace>, limit: usize) -> port::Result<MemberPage> {
        let call = self.membership.members(after, limit);
        let answer = self.link.call(Server::Store, "members", call).await;
        answer.map_err(store_silent)?
    }
}

struct SimulatedLimiter {
    limiter: Arc<dyn Limiter>,
    link: Arc<Link>,
}

#[async_trait]
impl Limiter for SimulatedLimiter {
    async fn acquire(
        &self,
        key: LimitKey,
        permit: Option<PermitId>,
        limits: &Limits,
    ) -> port::Result<Acquired> {
        let call = self.limiter.acquire(key, permit, limits);
        let answer = self.link.call(Server::Store, "acquire", call).await;
        answer.map_err(store_silent)?
    }

    async fn renew(
        &self,
        held: &[(LimitKey, PermitId)],
        lease: Duration,
    ) -> port::Result<Vec<bool>> {
        let call = self.limiter.renew(held, lease);
        let answer = self.link.call(Server::Store, "renew permits", call).await;
        answer.map_err(store_silent)?
    }

    async fn release(&self, releases: &[Release]) -> port::Result<()> {
        let call = self.limiter.release(releases);
        let answer = self.link.call(Server::Store, "release", call).await;
        answer.map_err(store_silent)?
    }
}

//! A consumer of one queue, on a channel of its own.
//!
//! Any end of the consumer's stream is the end of the subscription: a queue
//! that was deleted under it ends it without an error, a lost connection with
//! one, and in both cases there is nothing to do but to subscribe again. A queue that
//! was deleted by force ends nothing: [`backlog`](crate::backlog) finds that out.
//!
//! A queue without a leader does not answer a consumer, and ends its connection
//! after a minute, with all other consumers on it. So a queue is consumed when
//! it has confirmed a message: one that has confirmed none yet is sent a
//! message that offers nothing, which no subscription hands out.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use drumline_backend::broker::{self, Delivery, Error, Result, Trouble};
use drumline_protocol::codec;
use drumline_protocol::message::Message;
use futures_util::StreamExt as _;
use lapin::Consumer;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acker::{AckMode, Acker, Close};
use crate::backlog::Watch;
use crate::connection::Connection;
use crate::connection_supervisor::ConnectionSupervisor;
use crate::error::{failed, is_not_found, is_refusal, reason, silent};
use crate::options::Options;
use crate::publisher::Publisher;
use crate::quarantine::Quarantine;
use crate::receipt::TagReceipt;
use crate::repair::nothing;
use crate::topology::Target;
use crate::unresponsive_queues::{UnresponsiveQueues, refusal};

/// The parts that a subscription is made with.
#[derive(Clone, Debug)]
pub(crate) struct Subscriber {
    pub(crate) options: Arc<Options>,
    pub(crate) supervisor: ConnectionSupervisor,
    pub(crate) quarantine: Quarantine,
    pub(crate) publisher: Publisher,
    pub(crate) unresponsive: Arc<UnresponsiveQueues>,
    pub(crate) ack_mode: AckMode,
    pub(crate) tasks: TaskTracker,
}

/// The time that a queue may take to answer a consumer before it becomes a
/// unresponsive. Many lanes are consumed at the same time after a reconnection.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

impl Subscriber {
    /// Starts to consume. Dropping the future leaves no consumer behind.
    ///
    /// # Errors
    /// When the broker is unavailable, or the queue does not work.
    pub(crate) async fn subscribe(
        &self,
        target: &Target,
        prefetch: NonZeroU16,
    ) -> Result<Subscription> {
        if let Some(refusal) = self.unresponsive.refusal(target) {
            return Err(refusal);
        }
        self.prove(target).await?;
        let deadline = Instant::now() + self.options.patience;
        let connection = self.supervisor.connection(deadline).await?;
        let patience = ANSWERED_WITHIN.min(self.options.patience);
        let started = self.start_in_background(&connection, target, prefetch);
        match timeout(patience, started).await {
            Ok(Ok(started)) => started,
            Ok(Err(_ended)) => Err(silent("subscribing", patience)),
            // A silent queue must not cost the other lanes their consumers.
            Err(_elapsed) if connection.is_responsive().await => {
                self.unresponsive.add(target, Trouble::Unconsumable);
                Err(refusal(target, Trouble::Unconsumable))
            }
            Err(_elapsed) => Err(silent("subscribing", patience)),
        }
    }

    /// Has a queue confirm a message, unless it has done so already.
    async fn prove(&self, target: &Target) -> Result<()> {
        let is_route = matches!(target, Target::Route(_));
        if !is_route || self.publisher.is_proven(target) {
            return Ok(());
        }
        let answers = self.publisher.publish(vec![nothing(target)?]).await;
        match answers.into_iter().next() {
            // Nothing can be published during an alarm, and consumers are what
            // ends it.
            Some(Err(Error::Blocked { .. })) | None => Ok(()),
            Some(answer) => answer,
        }
    }

    /// Starts to consume on a task of its own, because a caller may go away while
    /// the broker is about to answer. lapin keeps a consumer whose future was
    /// dropped, and its channel, for as long as the connection lives. It would
    /// be the active consumer of its lane, take as many messages as its prefetch
    /// allows, and hand out none. A task receives every answer: a subscription
    /// that comes too late is dropped, hence closed.
    fn start_in_background(
        &self,
        connection: &Arc<Connection>,
        target: &Target,
        prefetch: NonZeroU16,
    ) -> oneshot::Receiver<Result<Subscription>> {
        let (answer, answered) = oneshot::channel();
        let (subscriber, connection, target) =
            (self.clone(), Arc::clone(connection), target.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                // With the connection go its channels and their consumers.
                () = connection.ended() => {}
                started = subscriber.start(&connection, &target, prefetch) => {
                    let works = started.is_ok();
                    if answer.send(started).is_err() && works {
                        subscriber
                            .unresponsive
                            .clear_if(&target, |trouble| *trouble == Trouble::Unconsumable);
                    }
                }
            }
        });
        answered
    }

    /// Judges why a queue is not consumed. One that refuses consumers for another
    /// reason than that it is gone goes on refusing them; anything but a refusal
    /// is a reason to doubt the connection.
    fn not_consumed(&self, connection: &Connection, target: &Target, error: Error) -> Error {
        connection.doubt_after(&error);
        let is_route = matches!(target, Target::Route(_));
        if !is_route || !is_refusal(&error) || is_not_found(&error) {
            return error;
        }
        let trouble = Trouble::ConsumerRefused(reason(&error));
        self.unresponsive.add(target, trouble.clone());
        refusal(target, trouble)
    }

    async fn start(
        &self,
        connection: &Arc<Connection>,
        target: &Target,
        prefetch: NonZeroU16,
    ) -> Result<Subscription> {
        let queue = target.name(&self.options.namespace);
        let undeclared = connection.undeclared(std::iter::once(target));
        let patience = self.options.patience;
        let undeclarable = connection.declare_each(&undeclared, patience).await;
        let undeclarable = undeclarable.inspect_err(|error| connection.doubt_after(error))?;
        if let Some(trouble) = undeclarable.get(target) {
            self.unresponsive.add(target, trouble.clone());
            return Err(refusal(target, trouble.clone()));
        }
        // A channel of its own: closing it hands the queue over.
        let failing = |error| self.not_consumed(connection, target, error);
        let channel = connection.channel().await.map_err(failing)?;
        // Without a prefetch the broker sends the whole queue. Quorum queues know
        // it per consumer only.
        let qos = BasicQosOptions { global: false };
        channel
            .basic_qos(prefetch.get(), qos)
            .await
            .map_err(|error| failing(failed("setting the prefetch", error)))?;
        let consumer = channel
            .basic_consume(
                queue.clone(),
                // The broker makes a tag up.
                ShortString::default(),
                consume_options(),
                FieldTable::default(),
            )
            .await
            // It may have been deleted since.
            .inspect_err(|_| connection.forget(target))
            .map_err(|error| failing(failed(&format!("consuming {queue}"), error)))?;
        let (settled, tags) = mpsc::unbounded_channel();
        let (close, closing) = oneshot::channel();
        let acker = Acker {
            queue: queue.to_string(),
            connection: Arc::clone(connection),
            channel,
            tags,
            close: closing,
            ack_mode: self.ack_mode,
            prefetch,
            patience: self.options.patience,
        };
        let critical = &self.options.critical;
        self.tasks
            .spawn(critical.contain("acknowledgements of a queue", acker.run()));
        let heard = Arc::new(AtomicU64::new(0));
        let over = CancellationToken::new();
        let watch = Watch {
            connection: Arc::clone(connection),
            target: target.clone(),
            options: Arc::clone(&self.options),
            heard: Arc::clone(&heard),
            over: over.clone(),
        };
        self.tasks
            .spawn(critical.contain("watch of a queue", watch.run()));
        Ok(Subscription {
            target: target.clone(),
            open: Some(Open { consumer, close }),
            heard,
            over,
            connection: Arc::clone(connection),
            settled,
            quarantine: self.quarantine.clone(),
        })
    }
}

/// Acknowledged by us, and shared with the consumers of other workers: the queue
/// decides if it has one active consumer. The answer is waited for.
fn consume_options() -> BasicConsumeOptions {
    BasicConsumeOptions {
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
    }
}

/// A consumer and its channel.
#[derive(Debug)]
pub(crate) struct Subscription {
    target: Target,
    /// `None` when it has ended.
    open: Option<Open>,
    /// The deliveries so far.
    heard: Arc<AtomicU64>,
    /// Cancelled when it has ended, or the broker has forgotten it.
    over: CancellationToken,
    connection: Arc<Connection>,
    settled: mpsc::UnboundedSender<u64>,
    quarantine: Quarantine,
}

#[derive(Debug)]
struct Open {
    consumer: Consumer,
    close: oneshot::Sender<Close>,
}

impl Subscription {
    /// Ends after the consumer did. The queue may be gone, or have lost its leader:
    /// it is to prove that it works before it is consumed again.
    fn end_by_itself(&mut self) {
        self.quarantine.publisher.forget_proof(&self.target);
        self.end();
    }

    /// Has the channel closed; `Some` to wait for it.
    fn end(&mut self) -> Option<oneshot::Receiver<()>> {
        self.over.cancel();
        let Open { consumer, close } = self.open.take()?;
        let (closed, done) = oneshot::channel();
        // If the task has ended, then so has the channel.
        close.send(Close { consumer, closed }).ok()?;
        Some(done)
    }

    /// The next delivery as it comes, and the right to acknowledge it.
    /// Cancel-safe.
    pub(crate) async fn next_delivery(&mut self) -> Option<(lapin::message::Delivery, TagReceipt)> {
        // Nothing is awaited after this, so that dropping the future loses
        // nothing.
        let consumer = &mut self.open.as_mut()?.consumer;
        let next = tokio::select! {
            biased;
            next = consumer.next() => next,
            () = self.over.cancelled() => {
                self.connection.forget(&self.target);
                None
            }
        };
        let delivery = match next {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => {
                tracing::debug!(queue = %self.target, %error, "the subscription has ended");
                self.end_by_itself();
                return None;
            }
            None => {
                tracing::debug!(queue = %self.target, "the subscription has ended");
                self.end_by_itself();
                return None;
            }
        };
        self.heard.fetch_add(1, Ordering::Relaxed);
        let receipt = TagReceipt::new(delivery.delivery_tag, self.settled.clone());
        Some((delivery, receipt))
    }
}

#[async_trait]
impl broker::Subscription for Subscription {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            // Nothing is awaited after this.
            let (delivery, receipt) = self.next_delivery().await?;
            match codec::decode::<Message>(&delivery.data) {
                // It has proved that the queue works.
                Ok(Message::Offers(offers)) if offers.is_empty() => {
                    receipt.settle();
                }
                Ok(message) => {
                    let receipt = Box::new(receipt);
                    return Some(Delivery { message, receipt });
                }
                Err(error) => self
                    .quarantine
                    .take(&self.target, delivery, &error, receipt),
            }
        }
    }

    async fn close(mut self: Box<Self>) {
        if let Some(done) = self.end() {
            // An error means that the task, and with it the channel, is gone.
            drop(done.await);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.end();
    }
}

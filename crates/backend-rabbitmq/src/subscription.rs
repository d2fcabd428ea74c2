//! A consumer of one queue, on a channel of its own or a shared one.
//!
//! Any end of the consumer's stream is the end of the subscription: a queue
//! that was deleted under it ends it without an error, a lost connection with
//! one, and in both cases there is nothing to do but to subscribe again. A queue that
//! was deleted by force ends nothing: [`backlog`](crate::backlog) finds that out.
//!
//! A queue without a leader does not answer a consumer, and ends its connection
//! after a minute, with all other consumers on it. So a queue is consumed when
//! it has confirmed a message: one that has confirmed none yet, or that comes on the channel
//! of others, is sent a message that offers nothing, which no subscription hands out.

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

use crate::acker::{AckMode, Acker, Leave, Leaver};
use crate::backlog::Watch;
use crate::connection::Connection;
use crate::connection_supervisor::ConnectionSupervisor;
use crate::consumer_channels::{OpenChannel, Parting, Seat};
use crate::error::{failed, is_not_found, is_refusal, reason, silent, was_closed};
use crate::options::Options;
use crate::publisher::Publisher;
use crate::quarantine::Quarantine;
use crate::receipt::{InHand, TagReceipt};
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

/// The channels that may be closed by others under a consumer that is about to start.
const CHANNELS_TRIED: usize = 5;

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
        let is_asked = CancellationToken::new();
        let mut started = self.start_in_background(&connection, target, prefetch, &is_asked);
        let ended = |_| Err(silent("subscribing", self.options.patience));
        // Until then it waits for its declaration and its confirm, each for no longer than
        // the patience of a caller, and for other queues on its channel.
        let until_asked = timeout(self.options.patience * 2, is_asked.cancelled());
        let is_asked = tokio::select! {
            started = &mut started => return started.unwrap_or_else(ended),
            asked = until_asked => asked.is_ok(),
        };
        let patience = ANSWERED_WITHIN.min(self.options.patience);
        match timeout(patience, started).await {
            Ok(started) => started.unwrap_or_else(ended),
            // A silent queue must not cost the other lanes their consumers. A queue that was
            // not asked is not to blame, but its connection may be dead.
            Err(_elapsed) if connection.is_responsive().await && is_asked => {
                self.unresponsive.add(target, Trouble::Unconsumable);
                connection.consumers().isolate(target);
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
        self.prove_now(target).await
    }

    /// Has a queue confirm a message.
    async fn prove_now(&self, target: &Target) -> Result<()> {
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
        is_asked: &CancellationToken,
    ) -> oneshot::Receiver<Result<Subscription>> {
        let (answer, answered) = oneshot::channel();
        let (subscriber, connection, target) =
            (self.clone(), Arc::clone(connection), target.clone());
        let is_asked = is_asked.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                // With the connection go its channels and their consumers.
                () = connection.ended() => {}
                started = subscriber.start(&connection, &target, prefetch, &is_asked) => {
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
        is_asked: &CancellationToken,
    ) -> Result<Subscription> {
        let undeclared = connection.undeclared(std::iter::once(target));
        let patience = self.options.patience;
        let undeclarable = connection.declare_each(&undeclared, patience).await;
        let undeclarable = undeclarable.inspect_err(|error| connection.doubt_after(error))?;
        if let Some(trouble) = undeclarable.get(target) {
            self.unresponsive.add(target, trouble.clone());
            return Err(refusal(target, trouble.clone()));
        }
        let consuming = self.consume(connection, target, prefetch, is_asked);
        let (consumer, seat, settled) = match consuming.await {
            Ok(consumed) => consumed,
            Err(NotConsumed::Unproven(error)) => return Err(error),
            Err(NotConsumed::Failed(error)) => {
                return Err(self.not_consumed(connection, target, error));
            }
        };
        connection.consumers().trust(target);
        let critical = &self.options.critical;
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
            open: Some(Open { consumer, seat }),
            in_hand: Arc::new(InHand::new()),
            heard,
            over,
            connection: Arc::clone(connection),
            settled,
            quarantine: self.quarantine.clone(),
            unresponsive: Arc::clone(&self.unresponsive),
        })
    }

    /// Has a queue consumed on a channel that lives, and cancels `is_asked` when the queue is
    /// asked.
    async fn consume(
        &self,
        connection: &Arc<Connection>,
        target: &Target,
        prefetch: NonZeroU16,
        is_asked: &CancellationToken,
    ) -> Result<(Consumer, Seat, mpsc::UnboundedSender<u64>), NotConsumed> {
        let queue = target.name(&self.options.namespace);
        let doing = format!("consuming {queue}");
        for _ in 0..CHANNELS_TRIED {
            let seat = connection.consumers().seat(target, prefetch);
            // RabbitMQ does nothing for the neighbours while it waits for a queue.
            if seat.has_neighbours() {
                let proved = self.prove_now(target).await;
                proved.map_err(NotConsumed::Unproven)?;
            }
            let opened = seat.channel(self.open(connection, prefetch)).await;
            let open = opened.map_err(NotConsumed::Failed)?;
            let settled = open.settled.clone();
            let Some(turn) = open.turn().await else {
                continue;
            };
            is_asked.cancel();
            let consumed = open.channel.basic_consume(
                queue.clone(),
                // The broker makes a tag up.
                ShortString::default(),
                consume_options(),
                FieldTable::default(),
            );
            match consumed.await {
                Ok(consumer) => {
                    drop(turn);
                    return Ok((consumer, seat, settled));
                }
                // Another queue's doing.
                Err(error) if was_closed(&error) => {}
                Err(error) => {
                    // It may have been deleted since.
                    connection.forget(target);
                    let error = failed(&doing, error);
                    if !is_not_found(&error) {
                        connection.consumers().isolate(target);
                    }
                    return Err(NotConsumed::Failed(error));
                }
            }
        }
        Err(NotConsumed::Unproven(Error::Unavailable {
            message: format!(
                "{doing}: its channel was closed by other queues, {CHANNELS_TRIED} times"
            ),
            source: None,
        }))
    }

    /// Opens a channel for consumers, and starts its task.
    async fn open(
        &self,
        connection: &Arc<Connection>,
        prefetch: NonZeroU16,
    ) -> Result<OpenChannel> {
        let channel = connection.channel().await?;
        // Without a prefetch the broker sends the whole queue. Quorum queues know
        // it per consumer only, and each consumer has what was set before it.
        let qos = BasicQosOptions { global: false };
        channel
            .basic_qos(prefetch.get(), qos)
            .await
            .map_err(|error| failed("setting the prefetch", error))?;
        let (settled, tags) = mpsc::unbounded_channel();
        let (leaving, left) = mpsc::unbounded_channel();
        let acker = Acker {
            connection: Arc::clone(connection),
            channel: channel.clone(),
            tags,
            leaving: left,
            ack_mode: self.ack_mode,
            prefetch,
            patience: self.options.patience,
        };
        let critical = &self.options.critical;
        self.tasks
            .spawn(critical.contain("acknowledgements of a channel", acker.run()));
        Ok(OpenChannel::new(channel, settled, leaving))
    }
}

/// The reason for which a queue is not consumed.
enum NotConsumed {
    /// It was not asked, which says nothing about the connection.
    Unproven(Error),
    /// The connection, or the queue, has failed.
    Failed(Error),
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

/// A consumer and its place on a channel.
#[derive(Debug)]
pub(crate) struct Subscription {
    target: Target,
    /// `None` when it has ended.
    open: Option<Open>,
    in_hand: Arc<InHand>,
    /// The deliveries so far.
    heard: Arc<AtomicU64>,
    /// Cancelled when it has ended, or the broker has forgotten it.
    over: CancellationToken,
    connection: Arc<Connection>,
    settled: mpsc::UnboundedSender<u64>,
    quarantine: Quarantine,
    unresponsive: Arc<UnresponsiveQueues>,
}

#[derive(Debug)]
struct Open {
    consumer: Consumer,
    seat: Seat,
}

impl Subscription {
    /// Ends after the consumer did. The queue may be gone, or have lost its leader:
    /// it is to prove that it works before it is consumed again.
    fn end_by_itself(&mut self) {
        self.quarantine.publisher.forget_proof(&self.target);
        self.end(true, self.parting());
    }

    fn parting(&self) -> Parting {
        match self.unresponsive.trouble(&self.target) {
            Some(_) => Parting::Closing,
            None => Parting::Orderly,
        }
    }

    /// Has the consumer leave its channel; `Some` to wait for it.
    fn end(&mut self, has_ended: bool, parting: Parting) -> Option<oneshot::Receiver<()>> {
        self.over.cancel();
        let Open { consumer, mut seat } = self.open.take()?;
        let (closed, done) = oneshot::channel();
        let leaver = Leaver {
            consumer,
            in_hand: Arc::clone(&self.in_hand),
            has_ended,
        };
        // If the task has ended, then so has the channel.
        seat.leave(parting, |is_over| Leave::new(leaver, is_over, closed))
            .then_some(done)
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
                tracing::debug!(queue = %self.target, "the subscription was forgotten");
                self.connection.forget(&self.target);
                self.quarantine.publisher.forget_proof(&self.target);
                // RabbitMQ has no such consumer, and perhaps no such queue.
                self.end(false, Parting::Closing);
                return None;
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
        let receipt = TagReceipt::new(delivery.delivery_tag, &self.in_hand, self.settled.clone());
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
        if let Some(done) = self.end(false, self.parting()) {
            // An error means that the task, and with it the channel, is gone.
            drop(done.await);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.end(false, self.parting());
    }
}

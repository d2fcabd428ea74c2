//! A consumer of one queue, on a channel of its own.
//!
//! Any end of the consumer's stream is the end of the subscription: a queue
//! that was deleted under it ends it without an error, a lost connection with
//! one, and in both cases there is nothing to do but to subscribe again.

use std::num::NonZeroU16;
use std::sync::Arc;

use async_trait::async_trait;
use drumline_backend::broker::{self, Delivery, Receipt, Result};
use drumline_protocol::codec;
use drumline_protocol::message::Message;
use futures_util::StreamExt as _;
use lapin::Consumer;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use crate::acker::{Acker, Close, Manner};
use crate::error::{failed, silent};
use crate::link::Link;
use crate::live::Live;
use crate::options::Options;
use crate::quarantine::Quarantine;
use crate::topology::Target;

/// What a subscription is made with.
#[derive(Clone, Debug)]
pub(crate) struct Subscriber {
    pub(crate) options: Arc<Options>,
    pub(crate) link: Link,
    pub(crate) quarantine: Quarantine,
    pub(crate) manner: Manner,
    pub(crate) tasks: TaskTracker,
}

impl Subscriber {
    /// Starts to consume. Dropping the future leaves no consumer behind.
    pub(crate) async fn subscribe(
        &self,
        target: &Target,
        prefetch: NonZeroU16,
    ) -> Result<Subscription> {
        let patience = self.options.patience;
        let deadline = Instant::now() + patience;
        let live = self.link.live(deadline).await?;
        let started = self.start_in_background(&live, target, prefetch);
        match timeout_at(deadline, started).await {
            Ok(Ok(started)) => started.inspect_err(|error| live.doubt_after(error)),
            Ok(Err(_ended)) => Err(silent("subscribing", patience)),
            Err(_elapsed) => {
                // One silent queue must not cost the other lanes their consumers.
                self.tasks.spawn(async move { live.answers().await });
                Err(silent("subscribing", patience))
            }
        }
    }

    /// A task of its own, for a caller may go away while the broker is about
    /// to answer: lapin keeps a consumer that nobody has waited for, and its
    /// channel, for as long as the connection lives. It would be the active
    /// consumer of its lane, take as many messages as its prefetch allows, and
    /// give none to anybody. In a task somebody is there for every answer: one
    /// that comes too late is a subscription that is dropped, hence closed.
    fn start_in_background(
        &self,
        live: &Arc<Live>,
        target: &Target,
        prefetch: NonZeroU16,
    ) -> oneshot::Receiver<Result<Subscription>> {
        let (answer, answered) = oneshot::channel();
        let (subscriber, live, target) = (self.clone(), Arc::clone(live), target.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                // With the connection go its channels and their consumers.
                () = live.ended() => {}
                started = subscriber.start(&live, &target, prefetch) => drop(answer.send(started)),
            }
        });
        answered
    }

    async fn start(
        &self,
        live: &Arc<Live>,
        target: &Target,
        prefetch: NonZeroU16,
    ) -> Result<Subscription> {
        let queue = target.name(&self.options.namespace);
        live.declare(&live.undeclared(std::iter::once(target)))
            .await?;
        // Of its own: closing it is what hands the queue over.
        let channel = live.channel().await?;
        // Always: without it the broker sends the whole queue. Per consumer,
        // which is all that quorum queues know.
        let qos = BasicQosOptions { global: false };
        channel
            .basic_qos(prefetch.get(), qos)
            .await
            .map_err(|error| failed("setting the prefetch", error))?;
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
            .inspect_err(|_| live.forget(target))
            .map_err(|error| failed(&format!("consuming {queue}"), error))?;
        let (settled, tags) = mpsc::unbounded_channel();
        let (close, closing) = oneshot::channel();
        let acker = Acker {
            queue: queue.to_string(),
            live: Arc::clone(live),
            channel,
            tags,
            close: closing,
            manner: self.manner,
            prefetch,
            patience: self.options.patience,
        };
        self.tasks.spawn(acker.run());
        Ok(Subscription {
            queue: queue.to_string(),
            open: Some(Open { consumer, close }),
            settled,
            quarantine: self.quarantine.clone(),
        })
    }
}

/// Acknowledged by us, and shared with the other workers' consumers; whether
/// one at a time consumes is the queue's business. The answer is waited for.
fn consume_options() -> BasicConsumeOptions {
    BasicConsumeOptions {
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Subscription {
    queue: String,
    /// `None` when it has ended.
    open: Option<Open>,
    settled: mpsc::UnboundedSender<u64>,
    quarantine: Quarantine,
}

#[derive(Debug)]
struct Open {
    consumer: Consumer,
    close: oneshot::Sender<Close>,
}

impl Subscription {
    /// Has the channel closed; `Some` to wait for it.
    fn end(&mut self) -> Option<oneshot::Receiver<()>> {
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
        let delivery = match self.open.as_mut()?.consumer.next().await {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => {
                tracing::debug!(queue = %self.queue, %error, "the subscription has ended");
                self.end();
                return None;
            }
            None => {
                tracing::debug!(queue = %self.queue, "the subscription has ended");
                self.end();
                return None;
            }
        };
        let receipt = TagReceipt {
            tag: delivery.delivery_tag,
            settled: self.settled.clone(),
        };
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
                Ok(message) => {
                    let receipt = Box::new(receipt);
                    return Some(Delivery { message, receipt });
                }
                Err(error) => self
                    .quarantine
                    .take(&self.queue, delivery.data, &error, receipt),
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

/// The right to acknowledge one delivery of a channel.
#[derive(Debug)]
pub(crate) struct TagReceipt {
    tag: u64,
    settled: mpsc::UnboundedSender<u64>,
}

impl TagReceipt {
    /// Hands the tag to the task that acknowledges; `false` when that is gone.
    pub(crate) fn settle(&self) -> bool {
        self.settled.send(self.tag).is_ok()
    }
}

#[async_trait]
impl Receipt for TagReceipt {
    async fn acknowledge(self: Box<Self>) -> Result<()> {
        if self.settle() {
            Ok(())
        } else {
            Err(broker::Error::Unavailable {
                message: "the subscription has ended, and the message will come again".to_owned(),
                source: None,
            })
        }
    }
}

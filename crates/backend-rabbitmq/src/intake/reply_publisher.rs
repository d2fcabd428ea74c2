//! Answers on their way to producers: one task, one confirm channel.
//!
//! Answers do not go through the [`publisher`](crate::publisher): it declares the
//! queues that it publishes to, and replaces silent ones. The queue of an answer
//! belongs to the producer, and may be gone.
//!
//! Answers are published in order and confirmed in any order: a silent queue of
//! one producer does not hold up the answers to others.

use std::sync::Arc;
use std::time::Duration;

use drumline_backend::CriticalTasks;
use drumline_backend::broker::{Error, Result};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::connection::Connection;
use crate::connection_supervisor::ConnectionSupervisor;
use crate::error::{failed, is_refusal, silent, stopped};

/// Answers that may wait for the task. Beyond it, the callers wait.
const WAITING: usize = 256;

const DOING: &str = "answering a producer";

/// One answer.
#[derive(Debug)]
pub(super) struct OutgoingReply {
    pub(super) queue: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) payload: Vec<u8>,
}

/// A reply, and the caller that waits for its confirm.
type QueuedReply = (OutgoingReply, oneshot::Sender<Result<()>>);

/// A handle to the task, which ends when the handle is gone.
#[derive(Debug)]
pub(super) struct ReplyPublisher {
    replies: mpsc::Sender<QueuedReply>,
    supervisor: ConnectionSupervisor,
}

impl ReplyPublisher {
    pub(super) fn start(
        supervisor: ConnectionSupervisor,
        patience: Duration,
        critical: &CriticalTasks,
        tasks: &TaskTracker,
    ) -> Self {
        let (replies, incoming) = mpsc::channel(WAITING);
        let task = Task {
            incoming,
            supervisor: supervisor.clone(),
            patience,
            channel: None,
            confirms: FuturesUnordered::new(),
        };
        tasks.spawn(critical.contain("replies", task.run()));
        Self {
            replies,
            supervisor,
        }
    }

    /// Sends a reply. Returns `Ok` when the broker has it, or has no queue for it.
    /// Bounded in time.
    pub(super) async fn send(&self, reply: OutgoingReply) -> Result<()> {
        // During an alarm a publish would wait for its end.
        self.supervisor.check()?;
        let (answer, answered) = oneshot::channel();
        let sent = self.replies.send((reply, answer)).await;
        sent.map_err(|_ended| stopped())?;
        answered.await.unwrap_or_else(|_ended| Err(stopped()))
    }
}

/// The task.
struct Task {
    incoming: mpsc::Receiver<QueuedReply>,
    supervisor: ConnectionSupervisor,
    patience: Duration,
    channel: Option<(Arc<Connection>, Channel)>,
    confirms: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Task {
    async fn run(mut self) {
        loop {
            tokio::select! {
                queued = self.incoming.recv() => match queued {
                    Some((reply, answer)) => self.publish_queued(reply, answer).await,
                    None => break,
                },
                Some(()) = self.confirms.next() => {}
            }
        }
        while self.confirms.next().await.is_some() {}
    }

    async fn publish_queued(&mut self, reply: OutgoingReply, answer: oneshot::Sender<Result<()>>) {
        if answer.is_closed() {
            return;
        }
        let patience = self.patience;
        match self.publish(reply).await {
            Ok((connection, confirm)) => self.confirms.push(Box::pin(async move {
                drop(answer.send(confirmed(confirm, &connection, patience).await));
            })),
            Err(error) => {
                self.channel = None;
                drop(answer.send(Err(error)));
            }
        }
    }

    async fn publish(
        &mut self,
        reply: OutgoingReply,
    ) -> Result<(Arc<Connection>, PublisherConfirm)> {
        let patience = self.patience;
        let connection = self
            .supervisor
            .connection(Instant::now() + patience)
            .await?;
        let published = async {
            let channel = self.channel(&connection).await?;
            let options = BasicPublishOptions {
                // A producer that has gone away is no error.
                mandatory: false,
                immediate: false,
            };
            let OutgoingReply {
                queue,
                properties,
                payload,
            } = reply;
            channel
                .basic_publish(ShortString::default(), queue, options, &payload, properties)
                .await
                .map_err(|error| failed(DOING, error))
        };
        match timeout(patience, published).await {
            Ok(Ok(confirm)) => Ok((connection, confirm)),
            Ok(Err(error)) => {
                connection.doubt_after(&error);
                Err(error)
            }
            Err(_elapsed) => {
                connection.is_responsive().await;
                Err(silent(DOING, patience))
            }
        }
    }

    /// The channel, if it is of this connection and open; else a new one.
    async fn channel(&mut self, connection: &Arc<Connection>) -> Result<Channel> {
        if let Some((of, channel)) = &self.channel
            && Arc::ptr_eq(of, connection)
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        let channel = connection.confirm_channel().await?;
        self.channel = Some((Arc::clone(connection), channel.clone()));
        Ok(channel)
    }
}

/// Waits for the confirm of a reply.
async fn confirmed(
    confirm: PublisherConfirm,
    connection: &Connection,
    patience: Duration,
) -> Result<()> {
    match timeout(patience, confirm).await {
        Ok(Ok(Confirmation::Ack(_))) => Ok(()),
        // The producer's queue takes no more.
        Ok(Ok(Confirmation::Nack(_) | Confirmation::NotRequested)) => Err(Error::Refused),
        Ok(Err(error)) => {
            let error = failed(DOING, error);
            // Publishing there is not allowed, and that will not change soon.
            // RabbitMQ does not say which reply has closed the channel.
            if is_refusal(&error) {
                tracing::warn!(%error, "RabbitMQ refused an answer");
                return Err(Error::Refused);
            }
            Err(error)
        }
        // The broker answers, and the producer's queue does not.
        Err(_elapsed) if connection.is_responsive().await => Err(Error::Refused),
        Err(_elapsed) => Err(silent(DOING, patience)),
    }
}

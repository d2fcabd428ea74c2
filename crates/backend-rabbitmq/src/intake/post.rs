//! Answers on their way to producers: one task, one confirm channel.
//!
//! Not through the [`publisher`](crate::publisher): that one declares the
//! queues that it publishes to, and makes those anew that are silent. The queue
//! of an answer belongs to somebody else, and may be gone.
//!
//! Answers are published in order and confirmed in any: a producer whose queue
//! is silent holds up nobody else's.

use std::sync::Arc;
use std::time::Duration;

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

use crate::error::{failed, is_refusal, silent, stopped};
use crate::link::Link;
use crate::live::Live;

/// Answers that may wait for the task. Over it, those who answer wait.
const WAITING: usize = 256;

const DOING: &str = "answering a producer";

/// One answer.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) queue: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) payload: Vec<u8>,
}

/// A letter, and who waits for what becomes of it.
type Mailed = (Letter, oneshot::Sender<Result<()>>);

/// A handle to the task, which ends when the handle is gone.
#[derive(Debug)]
pub(super) struct Post {
    letters: mpsc::Sender<Mailed>,
    link: Link,
}

impl Post {
    pub(super) fn start(link: Link, patience: Duration, tasks: &TaskTracker) -> Self {
        let (letters, incoming) = mpsc::channel(WAITING);
        let task = Task {
            incoming,
            link: link.clone(),
            patience,
            channel: None,
            confirms: FuturesUnordered::new(),
        };
        tasks.spawn(task.run());
        Self { letters, link }
    }

    /// Sends a letter: `Ok` when the broker has it, or has nobody to give it
    /// to. Bounded in time.
    pub(super) async fn send(&self, letter: Letter) -> Result<()> {
        // During an alarm a publish would wait for its end.
        self.link.check()?;
        let (answer, answered) = oneshot::channel();
        let sent = self.letters.send((letter, answer)).await;
        sent.map_err(|_ended| stopped())?;
        answered.await.unwrap_or_else(|_ended| Err(stopped()))
    }
}

/// The task.
struct Task {
    incoming: mpsc::Receiver<Mailed>,
    link: Link,
    patience: Duration,
    channel: Option<(Arc<Live>, Channel)>,
    confirms: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Task {
    async fn run(mut self) {
        loop {
            tokio::select! {
                mailed = self.incoming.recv() => match mailed {
                    Some((letter, answer)) => self.mail(letter, answer).await,
                    None => break,
                },
                Some(()) = self.confirms.next() => {}
            }
        }
        while self.confirms.next().await.is_some() {}
    }

    async fn mail(&mut self, letter: Letter, answer: oneshot::Sender<Result<()>>) {
        if answer.is_closed() {
            return;
        }
        let patience = self.patience;
        match self.publish(letter).await {
            Ok((live, confirm)) => self.confirms.push(Box::pin(async move {
                drop(answer.send(confirmed(confirm, &live, patience).await));
            })),
            Err(error) => {
                self.channel = None;
                drop(answer.send(Err(error)));
            }
        }
    }

    async fn publish(&mut self, letter: Letter) -> Result<(Arc<Live>, PublisherConfirm)> {
        let patience = self.patience;
        let live = self.link.live(Instant::now() + patience).await?;
        let published = async {
            let channel = self.channel(&live).await?;
            let options = BasicPublishOptions {
                // A producer that has gone away is no error.
                mandatory: false,
                immediate: false,
            };
            let Letter {
                queue,
                properties,
                payload,
            } = letter;
            channel
                .basic_publish(ShortString::default(), queue, options, &payload, properties)
                .await
                .map_err(|error| failed(DOING, error))
        };
        match timeout(patience, published).await {
            Ok(Ok(confirm)) => Ok((live, confirm)),
            Ok(Err(error)) => {
                live.doubt_after(&error);
                Err(error)
            }
            Err(_elapsed) => {
                live.answers().await;
                Err(silent(DOING, patience))
            }
        }
    }

    /// The channel, if it is of this connection and open; else a new one.
    async fn channel(&mut self, live: &Arc<Live>) -> Result<Channel> {
        if let Some((of, channel)) = &self.channel
            && Arc::ptr_eq(of, live)
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        let channel = live.confirm_channel().await?;
        self.channel = Some((Arc::clone(live), channel.clone()));
        Ok(channel)
    }
}

/// What becomes of a letter that is published.
async fn confirmed(confirm: PublisherConfirm, live: &Live, patience: Duration) -> Result<()> {
    match timeout(patience, confirm).await {
        Ok(Ok(Confirmation::Ack(_))) => Ok(()),
        // His queue takes no more.
        Ok(Ok(Confirmation::Nack(_) | Confirmation::NotRequested)) => Err(Error::Refused),
        Ok(Err(error)) => {
            let error = failed(DOING, error);
            // We may not publish there, and that will not change soon. Whose
            // letter it was that closed the channel is not told.
            if is_refusal(&error) {
                tracing::warn!(%error, "RabbitMQ has refused to take an answer");
                return Err(Error::Refused);
            }
            Err(error)
        }
        // The broker is there, his queue is not.
        Err(_elapsed) if live.answers().await => Err(Error::Refused),
        Err(_elapsed) => Err(silent(DOING, patience)),
    }
}

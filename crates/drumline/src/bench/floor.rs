//! The floor: the speed of the bare libraries on this machine and these
//! servers.
//!
//! ```text
//! feeders ─ Redis: create ─ publish + confirm ─▶ quorum queue ─▶ consume
//!    ▲                                                              │
//!    └── room ◀── Redis: complete ◀── acknowledge ◀── Redis: claim ─┘
//! ```
//!
//! Per operation one persistent, mandatory message of 512 bytes and three
//! scripts that do about the work of a create, a claim and a completion,
//! without a line of Drumline. Everything is batched as a reasonable client
//! batches: a batch is everything that has come together while the last one was
//! on its way.
//!
//! This file names lapin and redis, which is otherwise for the adapters alone:
//! a floor measured through them would be a measure of themselves.

mod gentle;
mod scripts;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, PublisherConfirm,
};
use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cli::service::Servers;
use scripts::Scripts;

/// Bytes of a message, about what a message with one offer has.
const MESSAGE: usize = 512;
/// Operations in a batch at most.
const BATCH: usize = 256;
/// Feeders, each with one batch on its way: enough to keep the servers busy
/// during a round trip.
const FEEDERS: usize = 4;
/// Batches that the consuming side works on at the same time.
const WORKERS: usize = 4;
/// Operations between create and completion at most.
const OUTSTANDING: usize = 4096;
/// Deliveries that one worker may have in hand: two batches.
const PREFETCH: u16 = 512;
/// Persistent.
const DELIVERY_MODE: u8 = 2;

/// Both servers, and a queue and keys of the bench on them.
pub(super) struct Floor {
    publishing: Connection,
    consuming: Connection,
    redis: MultiplexedConnection,
    scripts: Arc<Scripts>,
    queue: ShortString,
    /// The next operation's number; a later round goes on behind the first.
    next: Arc<AtomicU64>,
}

/// The shared state of one round's tasks.
struct Round {
    end: Instant,
    next: Arc<AtomicU64>,
    completed: AtomicU64,
    room: Semaphore,
    /// Notified at each completion, for the task that waits for the last.
    progress: Notify,
}

impl Floor {
    /// Connects, and declares the queue.
    pub(super) async fn open(servers: &Servers, namespace: &str) -> anyhow::Result<Self> {
        let connect = || Connection::connect(&servers.amqp_url, ConnectionProperties::default());
        let publishing = connect().await.context("RabbitMQ")?;
        let consuming = connect().await.context("RabbitMQ")?;
        // The usual half second is over soon on a busy machine, and the floor
        // is measured, not defended.
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let redis = redis::Client::open(servers.redis_url.as_str())
            .context("Redis")?
            .get_multiplexed_async_connection_with_config(&patient)
            .await
            .context("Redis")?;
        let queue: ShortString = format!("{namespace}.floor").into();
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        publishing
            .create_channel()
            .await?
            .queue_declare(queue.clone(), QueueDeclareOptions::durable(), arguments)
            .await?;
        let scripts = Arc::new(Scripts::new(namespace));
        scripts.load(&mut redis.clone()).await?;
        Ok(Self {
            publishing,
            consuming,
            redis,
            scripts,
            queue,
            next: Arc::default(),
        })
    }

    /// Operations per second, over one round of this length and its tail.
    pub(super) async fn round(&self, length: Duration) -> anyhow::Result<f64> {
        let start = Instant::now();
        let round = Arc::new(Round {
            end: start + length,
            next: Arc::clone(&self.next),
            completed: AtomicU64::new(0),
            room: Semaphore::new(OUTSTANDING),
            progress: Notify::new(),
        });
        let mut feeders = JoinSet::new();
        for _ in 0..FEEDERS {
            let feeder = Feeder {
                channel: self.confirming().await?,
                redis: self.redis.clone(),
                scripts: Arc::clone(&self.scripts),
                queue: self.queue.clone(),
                round: Arc::clone(&round),
            };
            feeders.spawn(feeder.run());
        }
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            workers.spawn(work(
                self.consume().await?,
                self.redis.clone(),
                Arc::clone(&self.scripts),
                Arc::clone(&round),
            ));
        }
        let mut fed = 0;
        while let Some(feeder) = feeders.join_next().await {
            fed += feeder??;
        }
        let all = async {
            loop {
                let progress = round.progress.notified();
                if round.completed.load(Ordering::Acquire) >= fed {
                    return;
                }
                progress.await;
            }
        };
        tokio::select! {
            () = all => {}
            Some(worker) = workers.join_next() => worker??,
        }
        let took = start.elapsed();
        workers.shutdown().await;
        Ok(super::rate(fed, took))
    }

    /// A channel on which every message is confirmed.
    async fn confirming(&self) -> anyhow::Result<Channel> {
        let channel = self.publishing.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(channel)
    }

    async fn consume(&self) -> anyhow::Result<Consumer> {
        let channel = self.consuming.create_channel().await?;
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let consumer = channel
            .basic_consume(
                self.queue.clone(),
                ShortString::default(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok(consumer)
    }

    /// Removes queue and keys.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        let channel = self.publishing.create_channel().await?;
        channel
            .queue_delete(self.queue, QueueDeleteOptions::default())
            .await?;
        for connection in [self.publishing, self.consuming] {
            // lapin complains where a channel is being closed at the same time.
            drop(connection.close(200, "done".into()).await);
        }
        Ok(())
    }
}

/// Creates and publishes; one confirm channel belongs to one feeder.
struct Feeder {
    channel: Channel,
    redis: MultiplexedConnection,
    scripts: Arc<Scripts>,
    queue: ShortString,
    round: Arc<Round>,
}

impl Feeder {
    async fn run(mut self) -> anyhow::Result<u64> {
        let mut fed = 0;
        while Instant::now() < self.round.end {
            let batch = self.room().await?;
            let first = self.round.next.fetch_add(batch, Ordering::Relaxed);
            let ids: Vec<u64> = (first..first + batch).collect();
            self.scripts.create(&mut self.redis, &ids).await?;
            self.publish(&ids).await?;
            fed += batch;
        }
        Ok(fed)
    }

    /// Takes the room that there is; waits for the first place only.
    async fn room(&self) -> anyhow::Result<u64> {
        self.round.room.acquire().await?.forget();
        let mut taken = 1;
        while taken < BATCH as u64
            && let Ok(permit) = self.round.room.try_acquire()
        {
            permit.forget();
            taken += 1;
        }
        Ok(taken)
    }

    async fn publish(&self, ids: &[u64]) -> anyhow::Result<()> {
        // All at once: waiting for each frame to be written would cost two
        // changes of thread per message.
        let published = ids
            .iter()
            .map(|id| publish(&self.channel, &self.queue, *id));
        let published = try_join_all(published).await?;
        for confirm in published {
            let confirmation = confirm.await?;
            ensure!(confirmation.is_ack(), "RabbitMQ refused a message");
        }
        Ok(())
    }
}

/// Publishes one message; the confirm is still to come.
async fn publish(
    channel: &Channel,
    queue: &ShortString,
    id: u64,
) -> lapin::Result<PublisherConfirm> {
    let mut payload = [0; MESSAGE];
    payload[..8].copy_from_slice(&id.to_be_bytes());
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let properties = BasicProperties::default().with_delivery_mode(DELIVERY_MODE);
    channel
        .basic_publish(
            ShortString::default(),
            queue.clone(),
            options,
            &payload,
            properties,
        )
        .await
}

/// Claims, acknowledges and completes deliveries.
async fn work(
    mut consumer: Consumer,
    mut redis: MultiplexedConnection,
    scripts: Arc<Scripts>,
    round: Arc<Round>,
) -> anyhow::Result<()> {
    while let Some(batch) = next_batch(&mut consumer).await? {
        let ids = batch.iter().map(id).collect::<anyhow::Result<Vec<_>>>()?;
        scripts.claim(&mut redis, &ids).await?;
        acknowledge(&batch).await?;
        scripts.complete(&mut redis, &ids).await?;
        round.room.add_permits(batch.len());
        let completed = batch.len() as u64;
        round.completed.fetch_add(completed, Ordering::AcqRel);
        round.progress.notify_one();
    }
    anyhow::bail!("RabbitMQ ended the consumer")
}

/// The deliveries at hand, as soon as there is one; `None` when none will come
/// any more.
async fn next_batch(consumer: &mut Consumer) -> lapin::Result<Option<Vec<Delivery>>> {
    let Some(first) = consumer.next().await else {
        return Ok(None);
    };
    let mut batch = vec![first?];
    while batch.len() < BATCH
        && let Some(Some(next)) = consumer.next().now_or_never()
    {
        batch.push(next?);
    }
    Ok(Some(batch))
}

/// Acknowledges all: they came one after the other on one channel, so that one
/// frame is enough.
async fn acknowledge(batch: &[Delivery]) -> lapin::Result<()> {
    if let Some(last) = batch.last() {
        last.ack(BasicAckOptions { multiple: true }).await?;
    }
    Ok(())
}

fn id(delivery: &Delivery) -> anyhow::Result<u64> {
    let bytes = delivery
        .data
        .first_chunk()
        .context("a message without an id")?;
    Ok(u64::from_be_bytes(*bytes))
}

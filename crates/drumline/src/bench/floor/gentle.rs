//! The floor of the latency: what a lone message waits for with the bare
//! libraries, at the same gentle rate as [`latency`](crate::bench::latency).
//!
//! ```text
//! tick ─ Redis: create ─ publish + confirm ─▶ consume ─ Redis: claim ─ started
//! ```

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::StreamExt as _;
use lapin::options::BasicAckOptions;
use lapin::types::ShortString;
use lapin::{Channel, Consumer};
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::scripts::Scripts;
use super::{Floor, id, publish};
use crate::bench::latency::{EVERY, TAIL};

/// When each was submitted, by number.
type Submitted = Arc<Mutex<HashMap<u64, Instant>>>;

impl Floor {
    /// The spans of one round, in milliseconds, sorted.
    pub(in crate::bench) async fn gentle_round(
        &self,
        length: Duration,
    ) -> anyhow::Result<Vec<f64>> {
        let submitted = Submitted::default();
        let (spans, mut started) = mpsc::unbounded_channel();
        let mut starting = JoinSet::new();
        let starter = Starter {
            consumer: self.consume().await?,
            redis: self.redis.clone(),
            scripts: Arc::clone(&self.scripts),
            submitted: Arc::clone(&submitted),
            spans,
        };
        starting.spawn(starter.run());
        let channel = self.confirming().await?;
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = Instant::now() + length;
        let mut submitting = JoinSet::new();
        let mut count = 0;
        while Instant::now() < end {
            ticks.tick().await;
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let submit = Submit {
                number,
                channel: channel.clone(),
                queue: self.queue.clone(),
                redis: self.redis.clone(),
                scripts: Arc::clone(&self.scripts),
            };
            lock(&submitted).insert(number, Instant::now());
            submitting.spawn(submit.run());
            count += 1;
        }
        while let Some(submitted) = submitting.join_next().await {
            submitted??;
        }
        let mut all = Vec::new();
        while (all.len() as u64) < count {
            tokio::select! {
                span = timeout(TAIL, started.recv()) => {
                    let span = span.context("not all messages came back")?;
                    all.push(span.context("the consumer has ended")?);
                }
                Some(ended) = starting.join_next() => ended??,
            }
        }
        starting.shutdown().await;
        all.sort_by(f64::total_cmp);
        Ok(all)
    }
}

/// One message on its way.
struct Submit {
    number: u64,
    channel: Channel,
    queue: ShortString,
    redis: MultiplexedConnection,
    scripts: Arc<Scripts>,
}

impl Submit {
    async fn run(mut self) -> anyhow::Result<()> {
        self.scripts.create(&mut self.redis, &[self.number]).await?;
        let confirm = publish(&self.channel, &self.queue, self.number).await?;
        ensure!(confirm.await?.is_ack(), "RabbitMQ refused a message");
        Ok(())
    }
}

/// Claims what comes, and tells how long it has taken.
struct Starter {
    consumer: Consumer,
    redis: MultiplexedConnection,
    scripts: Arc<Scripts>,
    submitted: Submitted,
    spans: mpsc::UnboundedSender<f64>,
}

impl Starter {
    async fn run(mut self) -> anyhow::Result<()> {
        while let Some(delivery) = self.consumer.next().await {
            let delivery = delivery?;
            let number = id(&delivery)?;
            self.scripts.claim(&mut self.redis, &[number]).await?;
            let submitted = lock(&self.submitted).remove(&number);
            let span = submitted.context("never submitted")?.elapsed();
            let sent = self.spans.send(span.as_secs_f64() * 1000.0);
            ensure!(sent.is_ok(), "nobody measures any more");
            delivery.ack(BasicAckOptions::default()).await?;
            self.scripts.complete(&mut self.redis, &[number]).await?;
        }
        bail!("RabbitMQ ended the consumer")
    }
}

fn lock(submitted: &Submitted) -> std::sync::MutexGuard<'_, HashMap<u64, Instant>> {
    submitted.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The floor of the latency: the time that a lone message waits with the bare
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
use lapin::types::ShortString;
use lapin::{Channel, Consumer};
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::scripts::Scripts;
use super::{Floor, acknowledge, id, next_batch, publish};
use crate::bench::latency::{EVERY, TAIL};

/// The time at which each was submitted, by number.
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

/// Claims deliveries, and reports the time that each has taken.
struct Starter {
    consumer: Consumer,
    redis: MultiplexedConnection,
    scripts: Arc<Scripts>,
    submitted: Submitted,
    spans: mpsc::UnboundedSender<f64>,
}

impl Starter {
    async fn run(mut self) -> anyhow::Result<()> {
        // The work after the start delays no other start.
        let mut completing = JoinSet::new();
        while let Some(batch) = next_batch(&mut self.consumer).await? {
            let ids = batch.iter().map(id).collect::<anyhow::Result<Vec<_>>>()?;
            self.scripts.claim(&mut self.redis, &ids).await?;
            for number in &ids {
                // A message of an earlier round comes again if its
                // acknowledgement was lost with the round's channel.
                let Some(submitted) = lock(&self.submitted).remove(number) else {
                    continue;
                };
                let span = submitted.elapsed().as_secs_f64() * 1000.0;
                ensure!(self.spans.send(span).is_ok(), "the measurement has ended");
            }
            let (scripts, mut redis) = (Arc::clone(&self.scripts), self.redis.clone());
            completing.spawn(async move {
                acknowledge(&batch).await?;
                scripts.complete(&mut redis, &ids).await
            });
            while let Some(completed) = completing.try_join_next() {
                completed??;
            }
        }
        bail!("RabbitMQ ended the consumer")
    }
}

fn lock(submitted: &Submitted) -> std::sync::MutexGuard<'_, HashMap<u64, Instant>> {
    submitted.lock().unwrap_or_else(PoisonError::into_inner)
}

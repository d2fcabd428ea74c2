//! The baseline of the latency: the time that a lone message waits with the bare
//! libraries, at the same gentle rate as [`latency`](crate::latency).
//!
//! ```text
//! tick ─ store: create ─ publish + confirm ─▶ consume ─ store: claim ─ started
//! ```

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use drumline_backend::baseline::{
    BaselineBatch, BaselineConsumer, BaselinePublisher, BaselineStore,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::baseline::{BATCH, Baseline};
use crate::latency::{EVERY, TAIL};

/// The time at which each was submitted, by number.
type Submitted = Arc<Mutex<HashMap<u64, Instant>>>;

impl Baseline {
    /// The spans of one round, in milliseconds, sorted.
    pub(crate) async fn latency_round(&self, length: Duration) -> anyhow::Result<Vec<f64>> {
        let submitted = Submitted::default();
        let (spans, mut started) = mpsc::unbounded_channel();
        let mut starting = JoinSet::new();
        let starter = Starter {
            consumer: self.broker.consumer().await?,
            store: Arc::clone(&self.store),
            submitted: Arc::clone(&submitted),
            spans,
        };
        starting.spawn(starter.run());
        let publisher: Arc<dyn BaselinePublisher> = self.broker.publisher().await?.into();
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = Instant::now() + length;
        let mut submitting = JoinSet::new();
        let mut count = 0;
        while Instant::now() < end {
            ticks.tick().await;
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let (store, publisher) = (Arc::clone(&self.store), Arc::clone(&publisher));
            lock(&submitted).insert(number, Instant::now());
            submitting.spawn(submit(number, store, publisher));
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
                Some(ended) = starting.join_next() => match ended?? {},
            }
        }
        starting.shutdown().await;
        all.sort_by(f64::total_cmp);
        Ok(all)
    }
}

/// Sends one message on its way.
async fn submit(
    number: u64,
    store: Arc<dyn BaselineStore>,
    publisher: Arc<dyn BaselinePublisher>,
) -> anyhow::Result<()> {
    store.create(&[number]).await?;
    publisher.publish(&[number]).await?;
    Ok(())
}

/// Claims deliveries, and reports the time that each has taken.
struct Starter {
    consumer: Box<dyn BaselineConsumer>,
    store: Arc<dyn BaselineStore>,
    submitted: Submitted,
    spans: mpsc::UnboundedSender<f64>,
}

impl Starter {
    async fn run(mut self) -> anyhow::Result<Infallible> {
        // The work after the start delays no other start.
        let (claimed, batches) = mpsc::unbounded_channel();
        let mut completing = JoinSet::new();
        completing.spawn(complete(batches, Arc::clone(&self.store)));
        loop {
            let batch = self.consumer.next(BATCH).await?;
            self.store.claim(&batch.numbers).await?;
            for number in &batch.numbers {
                // A message of an earlier round comes again if its
                // acknowledgement was lost with the round's channel.
                let Some(submitted) = lock(&self.submitted).remove(number) else {
                    continue;
                };
                let span = submitted.elapsed().as_secs_f64() * 1000.0;
                ensure!(self.spans.send(span).is_ok(), "the measurement has ended");
            }
            if claimed.send(batch).is_err() {
                let completed = completing.join_next().await.context("no completions")?;
                completed??;
            }
        }
    }
}

/// Acknowledges and completes, one batch after the other: a receipt stands for
/// all deliveries up to its own, and none may be acknowledged twice.
async fn complete(
    mut batches: mpsc::UnboundedReceiver<BaselineBatch>,
    store: Arc<dyn BaselineStore>,
) -> anyhow::Result<()> {
    while let Some(batch) = batches.recv().await {
        batch.receipt.acknowledge().await?;
        store.complete(&batch.numbers).await?;
    }
    Ok(())
}

fn lock(submitted: &Submitted) -> std::sync::MutexGuard<'_, HashMap<u64, Instant>> {
    submitted.lock().unwrap_or_else(PoisonError::into_inner)
}
